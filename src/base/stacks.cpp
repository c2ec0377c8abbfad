#include "src/base/stacks.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "src/base/signals.hpp"
#include "src/base/symbols.hpp"

namespace banyan {
namespace {

/// So many threads that do not answer, and the others are not waited for.
constexpr int kPatienceWithThreads = 4;

std::string first_line(const std::string& path) {
  std::string line;
  std::ifstream file(path);
  std::getline(file, line);
  return line;
}

const Symbols& symbols() {
  static const Symbols all;
  return all;
}

/// Numbers of all threads, ascending; the main one's is that of the process and the first.
std::vector<int> threads() {
  std::vector<int> list;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task", error)) {
    const std::string name = entry.path().filename().string();
    int tid = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), tid).ec == std::errc()) list.push_back(tid);
  }
  const int main = ::getpid();
  std::sort(list.begin(), list.end(), [&](int a, int b) { return std::pair(a != main, a) < std::pair(b != main, b); });
  return list;
}

}  // namespace

ThreadStack stack_of(int tid, Seconds limit) {
  ThreadStack s;
  s.tid = tid;
  const std::string folder = fmt::format("/proc/self/task/{}/", tid);
  s.name = first_line(folder + "comm");
  // "4711 (name that may hold anything) S ..."
  const std::string stat = first_line(folder + "stat");
  if (const std::size_t at = stat.rfind(") "); at != std::string::npos && at + 2 < stat.size()) s.state = stat[at + 2];
  s.kernel = first_line(folder + "wchan");
  if (s.kernel == "0") s.kernel.clear();
  signals::Whereabouts where;
  s.answered = signals::where_is(tid, limit, where);
  s.sections = where.sections;
  for (std::size_t i = 0; i < where.frames.size(); ++i) {
    // A return address lies behind the call; what is interrupted is the instruction itself.
    const auto* at = static_cast<const char*>(where.frames[i]) - (i > 0);
    s.frames += fmt::format("  #{} {} {}\n", i, fmt::ptr(where.frames[i]), symbols().describe(at));
  }
  return s;
}

std::string text_of(const ThreadStack& s) {
  std::string text = fmt::format("thread {} {}, state {}{}{}\n", s.tid, s.name, s.state,
                                 s.kernel.empty() ? "" : " in " + s.kernel, s.answered ? "" : ", does not answer");
  if (!s.sections.empty()) text += "  section: " + s.sections + "\n";
  return text + s.frames;
}

std::string stacks_of_all_threads(Seconds limit) {
  std::string text;
  int silent = 0;
  for (const int tid : threads()) {
    const ThreadStack s = stack_of(tid, silent < kPatienceWithThreads ? limit : Seconds::zero());
    silent = s.answered ? 0 : silent + 1;
    text += text_of(s) + "\n";
  }
  return text;
}

}  // namespace banyan
