#include "src/job/run_dir.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>

#include "io/atomic_file.hpp"
#include "src/base/log.hpp"
#include "src/base/signals.hpp"
#include "src/job/causes.hpp"
#include "src/job/metrics.hpp"

namespace banyan::job {
namespace {

namespace fs = std::filesystem;

/// "2026-11-25T02:10:00Z"; for people only, nothing is ordered by it.
std::string utc_now() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm tm{};
  ::gmtime_r(&now, &tm);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
  return text;
}

constexpr std::int64_t kMostAttempts = std::int64_t{1} << 40;

/// Largest attempt number with a record in causes/.
std::int64_t last_attempt(const fs::path& causes) {
  std::int64_t last = 0;
  std::error_code error;
  for (const fs::directory_entry& e : fs::directory_iterator(causes, error)) {
    const std::string name = e.path().filename().string();
    std::int64_t n = 0;
    // No run starts so often; the name of a file that somebody put there must not overflow.
    if (std::from_chars(name.data(), name.data() + name.size(), n).ec == std::errc() && n < kMostAttempts)
      last = std::max(last, n);
  }
  return last;
}

/// The first number nobody has: creating its record exclusively makes it ours, also when two jobs start at once.
std::int64_t claim_attempt(const Job& job) {
  const fs::path causes = job.run_dir / "causes";
  for (std::int64_t n = last_attempt(causes) + 1;; ++n) {
    const fs::path path = causes / fmt::format("{}.json", n);
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0 && errno == EEXIST) continue;
    if (fd < 0)
      throw IoError("cannot write into the run directory {}: {}; check run.dir, its owner and the free space",
                    job.run_dir.string(), std::strerror(errno));
    io::File file(fd, path);
    const char* launch = std::getenv("BANYAN_LAUNCH");
    file.write(json_line({{"attempt", n},
                          {"launch", std::string(launch ? launch : "")},
                          {"command", job.command},
                          {"ranks", std::int64_t{job.world.size()}},
                          {"host", job.world.host(0)},
                          {"pid", std::int64_t{::getpid()}},
                          {"started", utc_now()}}) +
               "\n");
    file.close();
    return n;
  }
}

/// A crash of this process leaves a cause record too; only the name of the signal is put in later.
void arm_crash_record(const Job& job) {
  const int rank = job.world.rank();
  const std::string path = (job.run_dir / "causes" / fmt::format("{}.{}.json", job.attempt, rank)).string();
  Cause cause;
  cause.attempt = job.attempt;
  cause.rank = rank;
  cause.host = job.world.host(rank);
  cause.code = ExitCode::kBug;
  cause.message = "died of @";
  const std::string text = cause_json(cause);
  const std::size_t at = text.find('@');
  signals::set_crash_record(path, text.substr(0, at), text.substr(at + 1));
}

}  // namespace

void log_to(const comm::World& world, const config::Config& config, const std::string& file) {
  log::Setup setup;
  setup.level = log::level_named(config.log.level);
  setup.file = file;
  setup.rank = world.rank();
  setup.ranks = world.size();
  log::setup(setup);
}

void open_run_dir(Job& job) {
  std::int64_t attempt = 0;
  if (job.root()) {
    for (const char* folder : {"", "causes"}) io::make_directories(job.run_dir / folder);
    attempt = claim_attempt(job);
  }
  job.attempt =
      comm::all_reduce_value(*job.everyone, attempt, comm::ReduceOp::kMax, "rank 0 to open the run directory");
  arm_crash_record(job);
  job.watchdog.start(Seconds(job.config.run.watchdog), job.run_dir, job.attempt);
}

void write_run_files(const Job& job, const std::string& tokenizer) {
  if (!job.root()) return;
  log_to(job.world, job.config, (job.run_dir / "log.txt").string());
  io::write_atomic(job.run_dir / "config.ini", job.config_text);
  io::write_atomic(job.run_dir / "tokenizer.json", tokenizer);
}

void note_attempt(const Job& job, const std::string& mesh, std::int64_t epoch, std::int64_t from_step,
                  bool rolled_back) {
  if (!job.root()) return;
  try {
    LineFile(job.run_dir / "attempts.jsonl")
        .append(json_line({{"attempt", job.attempt},
                           {"epoch", epoch},
                           {"from_step", from_step},
                           {"rolled_back", std::int64_t{rolled_back}},
                           {"ranks", std::int64_t{job.world.size()}},
                           {"mesh", mesh},
                           {"isa", job.arithmetic()},
                           {"threads", std::int64_t{job.threads}},
                           {"transport", job.world.transport_name()},
                           {"started", utc_now()}}));
  } catch (const Error& e) {
    log::warning("{}", e.what());
  }
}

}  // namespace banyan::job
