#include "src/job/save_times.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "io/atomic_file.hpp"
#include "src/base/json.hpp"
#include "src/base/log.hpp"

namespace banyan::job {
namespace {

constexpr std::size_t kRemembered = 100;
constexpr std::int64_t kTail = 64 * 1024;  // bytes of the file that hold so many lines, and more

std::filesystem::path path_in(const std::filesystem::path& run_dir) { return run_dir / "saves.jsonl"; }

/// The end of the file, from the first whole line.
std::string tail(const std::filesystem::path& path) {
  const io::File file = io::File::open_for_reading(path);
  const std::int64_t size = file.size(), from = std::max<std::int64_t>(0, size - kTail);
  std::string text(static_cast<std::size_t>(size - from), '\0');
  file.read_at(from, text.data(), text.size());
  if (from > 0) text.erase(0, text.find('\n') + 1);
  return text;
}

void remember(std::deque<double>& times, double seconds) {
  times.push_back(seconds);
  if (times.size() > kRemembered) times.pop_front();
}

/// What the newest lines say under `key`; lines that are damaged or without sense are passed over.
std::deque<double> times_in(const std::string& text, const char* key) {
  std::deque<double> times;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    try {
      const Json line = parse_json(std::string_view(text).substr(at, end - at), "saves.jsonl");
      const auto seconds = line.find(key);
      if (seconds != line.end() && seconds->is_number() && seconds->get<double>() >= 0)
        remember(times, seconds->get<double>());
    } catch (const DataError&) {  // the others still tell enough
    }
    at = end + 1;
  }
  return times;
}

Seconds p99_of(const std::deque<double>& times, Seconds otherwise) {
  if (times.empty()) return otherwise;
  std::vector<double> sorted(times.begin(), times.end());
  std::sort(sorted.begin(), sorted.end());
  const auto rank = static_cast<std::size_t>(std::ceil(0.99 * static_cast<double>(sorted.size())));
  return Seconds(sorted[rank - 1]);
}

}  // namespace

SaveTimes::SaveTimes(const std::filesystem::path& run_dir) : file_(path_in(run_dir)) {
  const std::string text = tail(path_in(run_dir));
  seconds_ = times_in(text, "seconds");
  waited_ = times_in(text, "waited");
}

void SaveTimes::add(std::int64_t attempt, std::int64_t step, std::int64_t bytes, Seconds seconds,
                    std::optional<Seconds> waited) {
  remember(seconds_, seconds.count());
  Metrics line{{"attempt", attempt}, {"step", step}, {"bytes", bytes}, {"seconds", seconds.count()}};
  if (waited) {
    remember(waited_, waited->count());
    line.push_back({"waited", waited->count()});
  }
  try {
    file_.append(json_line(line));
  } catch (const IoError& e) {
    log::warning("the save after step {} is not in saves.jsonl yet: {}", step, e.what());
  }
}

Seconds SaveTimes::p99(Seconds otherwise) const { return p99_of(seconds_, otherwise); }
Seconds SaveTimes::waited_p99(Seconds otherwise) const { return p99_of(waited_, otherwise); }

Seconds save_time_so_far(const std::filesystem::path& run_dir) {
  if (!std::filesystem::exists(path_in(run_dir))) return Seconds(0);
  return p99_of(times_in(tail(path_in(run_dir)), "seconds"), Seconds(0));
}

Seconds storage_limit(Seconds save) { return std::max(Seconds(1800), 10 * save); }

Seconds silence_limit(Seconds least, std::int64_t bytes) { return least + Seconds(static_cast<double>(bytes) / 100e6); }

Seconds assumed_save_time(std::int64_t bytes_per_rank) {
  return Seconds(5 + static_cast<double>(bytes_per_rank) / 50e6);
}

Seconds assumed_copy_time(std::int64_t bytes_per_rank) {
  return Seconds(0.1 + static_cast<double>(bytes_per_rank) / 1e9);
}

}  // namespace banyan::job
