#include "src/base/log.hpp"

#include <fcntl.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>

#include "src/base/error.hpp"
#include "src/base/host.hpp"
#include "src/base/terminal.hpp"

namespace banyan::log {
namespace {

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::kDebug:
      return spdlog::level::debug;
    case Level::kInfo:
      return spdlog::level::info;
    case Level::kWarning:
      return spdlog::level::warn;
    case Level::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

/// The first `columns` characters of a UTF-8 text.
std::string_view cut(std::string_view text, int columns) {
  std::size_t i = 0;
  for (int n = 0; i < text.size() && n < columns; ++n) {
    ++i;
    while (i < text.size() && (static_cast<unsigned char>(text[i]) & 0xC0) == 0x80) ++i;
  }
  return text.substr(0, i);
}

/// Ordinary lines above, one live line below.  Warnings and errors go to standard error, the rest to standard output.
class ConsoleSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  void configure(bool live_allowed, bool every_rank_info, std::string warning_prefix) {
    const std::lock_guard<std::mutex> lock(mutex_);
    wipe();
    terminal_ = live_allowed && terminal::shows(STDOUT_FILENO);
    colours_ = terminal::shows(STDERR_FILENO) && !std::getenv("NO_COLOR");
    info_ = every_rank_info;
    prefix_ = std::move(warning_prefix);
  }
  bool terminal() const { return terminal_; }
  bool shows_info() const { return info_; }

  void live(std::string_view text) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!terminal_) return;
    live_ = std::string(cut(text, terminal_width() - 1));
    draw();
  }
  void end_live(bool keep) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (live_.empty()) return;
    if (keep) {
      std::fputc('\n', stdout);
      std::fflush(stdout);
    } else {
      wipe();
    }
    live_.clear();
  }

 protected:
  void sink_it_(const spdlog::details::log_msg& m) override {
    const bool severe = m.level >= spdlog::level::warn;
    if (!severe && !info_) return;
    wipe();
    std::string line = severe ? prefix_ : std::string();
    if (severe) {
      const bool error = m.level >= spdlog::level::err;
      const char* label = error ? "error: " : "warning: ";
      line += colours_ ? fmt::format("\x1b[{}m{}\x1b[0m", error ? 31 : 33, label) : label;
    }
    line.append(m.payload.data(), m.payload.size());
    line += '\n';
    // One write per line, so that lines of many ranks do not mix inside a line.
    std::FILE* out = severe ? stderr : stdout;
    std::fwrite(line.data(), 1, line.size(), out);
    std::fflush(out);
    draw();
  }
  void flush_() override { std::fflush(stdout); }

 private:
  void wipe() {
    if (!live_.empty()) std::fputs("\r\x1b[2K", stdout), std::fflush(stdout);
  }
  void draw() {
    if (live_.empty()) return;
    std::fputs("\r\x1b[2K", stdout);
    std::fwrite(live_.data(), 1, live_.size(), stdout);
    std::fflush(stdout);
  }

  // Written by configure() only.
  bool terminal_ = false, colours_ = false, info_ = true;
  std::string prefix_;
  // The line on display; empty: none.
  std::string live_;
};

struct State {
  std::shared_ptr<ConsoleSink> console = std::make_shared<ConsoleSink>();
  spdlog::logger logger{"banyan", console};
  int rank = 0;
  State() {
    console->configure(true, true, "");
    logger.set_level(spdlog::level::info);
  }
};

/// Lines at the end of a regular file (mode 0640): neither a link is followed nor a pipe waited for.
class FileSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit FileSink(const std::string& path)
      : fd_(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0640)) {
    struct stat s {};
    if (fd_ < 0 || ::fstat(fd_, &s) != 0) refuse(path, errno == ELOOP ? "it is a symbolic link" : std::strerror(errno));
    if (!S_ISREG(s.st_mode)) refuse(path, "it is not a regular file");
  }
  ~FileSink() override { ::close(fd_); }

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    for (const char* at = line.data(); at < line.data() + line.size();) {
      const ssize_t n = ::write(fd_, at, static_cast<std::size_t>(line.data() + line.size() - at));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) throw spdlog::spdlog_ex("the log file cannot be written", errno);
      at += n;
    }
  }
  void flush_() override {}

 private:
  [[noreturn]] void refuse(const std::string& path, const std::string& why) {
    if (fd_ >= 0) ::close(fd_);
    throw IoError("cannot open the log file {}: {}", path, why);
  }
  int fd_;
};

State& state() {
  static State* s = new State;  // outlives every destructor that may still log
  return *s;
}

}  // namespace

void setup(const Setup& setup) {
  State& s = state();
  s.rank = setup.rank;
  s.console->configure(setup.allow_terminal && setup.rank == 0, setup.rank == 0,
                       setup.ranks > 1 ? fmt::format("rank {} {}: ", setup.rank, host_name()) : std::string());
  s.logger.set_level(to_spdlog(setup.level));
  s.logger.sinks().assign(1, s.console);
  if (setup.rank == 0 && !setup.file.empty()) {
    auto file = std::make_shared<FileSink>(setup.file);
    file->set_pattern("%Y-%m-%d %H:%M:%S %l: %v");
    s.logger.sinks().push_back(std::move(file));
  }
  s.logger.flush_on(spdlog::level::info);
  // A full disk must not end the job through its log; the reason goes to standard error.
  s.logger.set_error_handler([](const std::string& what) { std::fprintf(stderr, "log: %s\n", what.c_str()); });
}

Level level_named(std::string_view name) {
  if (name == "debug") return Level::kDebug;
  if (name == "warning") return Level::kWarning;
  if (name == "error") return Level::kError;
  return Level::kInfo;
}

bool on_terminal() { return state().console->terminal(); }

int terminal_width() { return terminal::columns(); }

void live_line(std::string_view text) { state().console->live(text); }
void end_live_line(bool keep) { state().console->end_live(keep); }

void step_line(std::string_view text) {
  if (!enabled(Level::kInfo)) return;
  if (!on_terminal()) return write(Level::kInfo, text);
  State& s = state();
  const spdlog::details::log_msg line(s.logger.name(), spdlog::level::info,
                                      spdlog::string_view_t(text.data(), text.size()));
  for (std::size_t i = 1; i < s.logger.sinks().size(); ++i) {
    s.logger.sinks()[i]->log(line);
    s.logger.sinks()[i]->flush();
  }
}

void write(Level level, std::string_view text) {
  state().logger.log(to_spdlog(level), spdlog::string_view_t(text.data(), text.size()));
}

bool enabled(Level level) {
  State& s = state();
  if (!s.logger.should_log(to_spdlog(level))) return false;
  return level >= Level::kWarning || s.rank == 0;
}

void flush() { state().logger.flush(); }

}  // namespace banyan::log
