#include "src/job/fruitless.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <optional>
#include <sstream>

#include "io/atomic_file.hpp"
#include "src/base/error.hpp"
#include "src/base/json.hpp"

namespace banyan::job {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLargestList = 64 << 20, kLargestRecord = 1 << 20, kLongestWords = 300;

/// Numbers of attempts before `attempt` that started a process at `from_step`, in a row up to the newest; ascending.
std::vector<std::int64_t> starts_there(const fs::path& run_dir, std::int64_t attempt, std::int64_t from_step) {
  std::map<std::int64_t, std::int64_t> from;  // of every attempt; the last line of one counts
  std::string text;
  try {
    text = io::read_limited(run_dir / "attempts.jsonl", kLargestList);
  } catch (const Error&) {  // the first attempt
  }
  std::istringstream lines(text);
  const std::string name = "attempts.jsonl";
  for (std::string line; std::getline(lines, line);) try {
      const Json entry = parse_json(line, name);
      const auto number = get<std::int64_t>(entry, "attempt", name);
      if (number < attempt && get_or<int>(entry, "rolled_back", 0, name) == 0)
        from[number] = get<std::int64_t>(entry, "from_step", name);
    } catch (const DataError&) {  // torn
    }
  std::vector<std::int64_t> there;
  for (auto i = from.rbegin(); i != from.rend() && i->second == from_step; ++i) there.push_back(i->first);
  std::reverse(there.begin(), there.end());
  return there;
}

/// How an attempt ended.
struct End {
  bool wanted = false;
  std::string words = "its ranks left without a word: they were killed, or their nodes were lost";
  bool own = false;  ///< the words are of a rank that failed, not of one that lost another
};

bool is_wanted(int code) {
  switch (static_cast<ExitCode>(code)) {
    case ExitCode::kFinished:
    case ExitCode::kStopped:
    case ExitCode::kUsage:
    case ExitCode::kConfig:
    case ExitCode::kRunHeld:
      return true;
    default:
      return false;
  }
}

/// Of every attempt with a record of a rank.
std::map<std::int64_t, End> ends(const fs::path& run_dir, const std::vector<std::int64_t>& attempts) {
  std::vector<fs::path> records;
  std::error_code error;
  for (fs::directory_iterator i(run_dir / "causes", error), end; !error && i != end; i.increment(error))
    records.push_back(i->path());
  std::sort(records.begin(), records.end());  // the order of a directory must not choose the words
  std::map<std::int64_t, End> all;
  for (const fs::path& path : records) try {
      const std::string name = path.filename().string();
      const std::int64_t number = std::strtoll(name.c_str(), nullptr, 10);
      if (path.extension() != ".json" || !std::binary_search(attempts.begin(), attempts.end(), number)) continue;
      const Json cause = parse_json(io::read_limited(path, kLargestRecord), name);
      if (!cause.is_object() || !cause.contains("code")) continue;  // of the attempt, not of a rank
      const int code = get<int>(cause, "code", name);
      const bool own = !cause.contains("peer");
      End& e = all[number];
      e.wanted |= is_wanted(code);
      if (is_wanted(code) || e.own) continue;
      const std::string message = get_or<std::string>(cause, "message", "", name);
      e.own = own;
      e.words =
          fmt::format("rank {} on {} ended with {}{}: {}", get<std::int64_t>(cause, "rank", name),
                      get_or<std::string>(cause, "host", "?", name), code,
                      cause.contains("step") ? fmt::format(" in step {}", get<std::int64_t>(cause, "step", name)) : "",
                      message.substr(0, kLongestWords));
    } catch (const Error&) {  // a torn record says nothing
    }
  return all;
}

}  // namespace

Fruitless fruitless_attempts(const fs::path& run_dir, std::int64_t attempt, std::int64_t from_step,
                             std::int64_t limit) {
  Fruitless result;
  const std::vector<std::int64_t> there = starts_there(run_dir, attempt, from_step);
  if (std::ssize(there) < limit) return result;  // the directory of causes may be long
  const std::map<std::int64_t, End> ended = ends(run_dir, there);
  for (auto i = there.rbegin(); i != there.rend() && std::ssize(result.attempts) < limit; ++i) {
    const auto at = ended.find(*i);
    const End end = at == ended.end() ? End{} : at->second;
    if (end.wanted) continue;
    if (result.attempts.empty()) result.last_words = end.words;
    result.attempts.push_back(*i);
  }
  std::reverse(result.attempts.begin(), result.attempts.end());
  return result;
}

void require_progress(const Job& job, std::int64_t from_step) {
  const std::int64_t limit = job.config.run.attempts;
  if (limit == 0) return;
  std::string refusal;
  if (job.root()) {
    const Fruitless f = fruitless_attempts(job.run_dir, job.attempt, from_step, limit);
    if (std::ssize(f.attempts) >= limit)
      refusal = fmt::format(
          "the last {} attempts ({}) began at step {} and saved nothing newer; of the last one, {}. Find out why "
          "({}/causes/{}.*.json, log.txt, stacks/) and mend it; then start with --run.attempts={} for {} more "
          "attempts, or with 0 for any number",
          limit, fmt::join(f.attempts, ", "), from_step, f.last_words, job.run_dir.string(), f.attempts.back(),
          2 * limit, limit);
  }
  refusal = comm::broadcast_string(*job.everyone, refusal, 0, "what earlier attempts came to, from rank 0");
  if (!refusal.empty()) throw Error(ExitCode::kNoProgress, refusal);
}

}  // namespace banyan::job
