// Lines for people.  Terminal: info and debug come from rank 0 only; warnings and errors come from every rank and say
// which ("rank 3 n17: ...").  Log file: rank 0 appends plain lines with a time stamp; other ranks append nothing.
// Colours and the live line exist only when standard output is a terminal.  Thread-safe; not async-signal-safe.
#pragma once

#include <fmt/core.h>

#include <string>
#include <string_view>
#include <utility>

namespace banyan::log {

enum class Level { kDebug, kInfo, kWarning, kError };

struct Setup {
  Level level = Level::kInfo;
  std::string file{};  ///< appended to by rank 0; empty: no file
  int rank = 0;
  int ranks = 1;               ///< with one rank, messages carry no "rank N host" prefix
  bool allow_terminal = true;  ///< false: plain lines also on a terminal
};

/// May be called again (the file is known only after the run directory is).  Before the first call everything goes to
/// the console as from a single rank.  IoError if the file cannot be opened.
void setup(const Setup& setup);
/// ConfigError-free lookup of "debug", "info", "warning", "error"; info for anything else.
Level level_named(std::string_view name);
/// True when standard output of this rank is a terminal on which a live line may be drawn.
bool on_terminal();
/// Columns of the terminal; 80 when unknown.
int terminal_width();

/// Draws `text` (one line, cut to the width) in place of the last live line.  Nothing happens unless on_terminal() and
/// rank 0.  Any other line clears it first and draws it again below.
void live_line(std::string_view text);
/// Ends the live line: with keep it stays as ordinary text, otherwise it is wiped.
void end_live_line(bool keep = false);
/// An info line that a live line stands for: on a terminal it goes to the log file only.
void step_line(std::string_view text);

/// One finished line.
void write(Level level, std::string_view text);
/// True when a line of this level would go anywhere; for messages that are costly to make.
bool enabled(Level level);
void flush();

template <class... A>
void debug(fmt::format_string<A...> f, A&&... a) {
  if (enabled(Level::kDebug)) write(Level::kDebug, fmt::format(f, std::forward<A>(a)...));
}
template <class... A>
void info(fmt::format_string<A...> f, A&&... a) {
  if (enabled(Level::kInfo)) write(Level::kInfo, fmt::format(f, std::forward<A>(a)...));
}
template <class... A>
void warning(fmt::format_string<A...> f, A&&... a) {
  write(Level::kWarning, fmt::format(f, std::forward<A>(a)...));
}
template <class... A>
void error(fmt::format_string<A...> f, A&&... a) {
  write(Level::kError, fmt::format(f, std::forward<A>(a)...));
}

}  // namespace banyan::log
