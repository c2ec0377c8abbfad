#include "src/job/save_interval.hpp"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <set>
#include <sstream>
#include <string>

#include "io/atomic_file.hpp"
#include "src/base/exit_code.hpp"
#include "src/base/json.hpp"

namespace banyan::job {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLargestList = 64 << 20, kLargestRecord = 1 << 20;

/// Seconds since 1970 of "2026-01-31T12:00:00Z"; -1 for anything else.
double unix_time(const std::string& text) {
  std::tm t{};
  const char* end = strptime(text.c_str(), "%Y-%m-%dT%H:%M:%SZ", &t);
  return end && *end == '\0' ? static_cast<double>(timegm(&t)) : -1;
}

/// Attempts that left as they should: with a record of having finished or stopped.
std::set<std::int64_t> ended_well(const fs::path& run_dir) {
  std::set<std::int64_t> attempts;
  std::error_code error;
  for (fs::directory_iterator i(run_dir / "causes", error), end; !error && i != end; i.increment(error)) {
    if (i->path().extension() != ".json") continue;
    try {
      const std::string name = i->path().filename().string();
      const Json cause = parse_json(io::read_limited(i->path(), kLargestRecord), name);
      const int code = get<int>(cause, "code", name);
      if (code == static_cast<int>(ExitCode::kFinished) || code == static_cast<int>(ExitCode::kStopped))
        attempts.insert(get<std::int64_t>(cause, "attempt", name));
    } catch (const Error&) {  // a torn record says nothing
    }
  }
  return attempts;
}

}  // namespace

Seconds time_between_failures(const FailureHistory& history, int nodes) {
  const double before_any = kNodeHoursBetweenFailures * 3600 / std::max(1, nodes);
  return (history.time + Seconds(before_any)) / static_cast<double>(history.failures + 1);
}

Seconds save_interval(Seconds save, Seconds between_failures, double overhead) {
  const double c = std::max(1e-3, save.count()), m = std::max(1e-3, between_failures.count());
  const double least = std::max(1.0, overhead > 0 ? c * (1 - overhead) / overhead : 0);
  if (c >= 2 * m) return Seconds(std::max(least, m));
  const double x = c / (2 * m);
  return Seconds(std::max(least, std::sqrt(2 * c * m) * (1 + std::sqrt(x) / 3 + x / 9) - c));
}

FailureHistory read_history(const fs::path& run_dir, std::int64_t attempt, double unix_now) {
  FailureHistory history;
  const std::set<std::int64_t> well = ended_well(run_dir);
  std::set<std::int64_t> seen;
  double first = -1;
  std::string text;
  try {
    text = io::read_limited(run_dir / "attempts.jsonl", kLargestList);
  } catch (const Error&) {  // the first attempt
  }
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) try {
      const Json entry = parse_json(line, "attempts.jsonl");
      const auto number = get<std::int64_t>(entry, "attempt", "attempts.jsonl");
      const double when = unix_time(get<std::string>(entry, "started", "attempts.jsonl"));
      if (number >= attempt || when < 0) continue;
      if (first < 0 || when < first) first = when;
      if (seen.insert(number).second && !well.count(number)) ++history.failures;
    } catch (const DataError&) {
    }
  if (first >= 0) history.time = Seconds(std::max(0.0, unix_now - first));
  return history;
}

}  // namespace banyan::job
