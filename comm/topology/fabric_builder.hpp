// Puts a fabric together from what a source says line by line, in any order.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "comm/topology/fabric.hpp"

namespace banyan::comm {

class FabricBuilder {
 public:
  /// `source` goes in front of messages: a file's name.
  explicit FabricBuilder(std::string source) { fabric_.source = std::move(source); }

  /// A switch that the source defines, at that line (0: sources without lines).  DataError when it was defined before.
  int define_switch(std::string_view name, int line);
  /// A switch by name, defined already or to be defined later.
  int any_switch(std::string_view name, int line);
  int host(std::string_view name);
  bool has_above(int host) const { return above_[static_cast<std::size_t>(host)]; }
  void link(Link link);
  /// Hangs a host from way.upper.  DataError when it hangs from another switch already.
  void link_host(std::string_view name, Link way, int line);
  /// A host list (comm/topology/host_list.hpp) of that line.  DataError when all lists together have more names than
  /// every level of the tallest tree could list.
  std::vector<std::string> expand(std::string_view list, int line);
  /// Something that the reader of the fabric should be told.
  void note(std::string text) { fabric_.notes.push_back(std::move(text)); }
  [[noreturn]] void fail(int line, const std::string& what) const;

  /// The fabric, settled.  DataError when a switch was spoken of that nobody defined.
  Fabric finish();

 private:
  Fabric fabric_;
  std::unordered_map<std::string, int> switches_, hosts_;
  std::vector<int> defined_, mentioned_;  // by switch: line, -1: not yet
  std::vector<char> above_;               // by host: a link leads up from it
  std::size_t names_ = 0;                 // that lists had, all together
};

/// A line cut into words at blanks, comments ('#') dropped; `word` is KEY=VALUE or a bare word.
struct Word {
  std::string_view key, value;  ///< value empty and has_value false for a bare word
  bool has_value = false;
};
std::vector<Word> words_of(std::string_view line);

/// A description of a fabric is no longer.
inline constexpr std::size_t kLargestText = 256 << 20;

/// DataError for more than `most` bytes and for a zero byte, which no text has.
void check_text(std::string_view text, const std::string& source, std::size_t most = kLargestText);

/// Calls `take(line, number)` for every line that is not empty, lines that end in a backslash joined with the next.
/// DataError as check_text has it.
template <class Take>
void for_each_line(std::string_view text, const std::string& source, Take&& take, std::size_t most = kLargestText) {
  check_text(text, source, most);
  std::string joined;
  int number = 0, first = 0;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    ++number;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (joined.empty()) first = number;
    if (!line.empty() && line.back() == '\\') {
      joined += line.substr(0, line.size() - 1);
      joined += ' ';
      continue;
    }
    if (!joined.empty()) {
      joined += line;
      take(std::string_view(joined), first);
      joined.clear();
    } else if (!line.empty()) {
      take(line, number);
    }
  }
  if (!joined.empty()) take(std::string_view(joined), first);
}

}  // namespace banyan::comm
