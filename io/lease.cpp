#include "io/lease.hpp"

#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "io/atomic_file.hpp"
#include "io/checksum.hpp"
#include "src/base/error.hpp"

namespace banyan::io {
namespace {

using nlohmann::json;

constexpr std::size_t kSmallFile = 64 << 10;
constexpr int kMaxAttempts = 100;
constexpr Seconds kGrace{5};

std::filesystem::path lease_dir(const std::filesystem::path& run_dir) { return run_dir / "lease"; }
std::filesystem::path epoch_dir(const std::filesystem::path& run_dir, std::int64_t epoch) {
  return lease_dir(run_dir) / ("e" + std::to_string(epoch));
}

std::string first_line(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

/// Start time of a process in ticks since boot; nullopt when it is gone or only waits to be reaped.
std::optional<std::uint64_t> start_time_of(std::int64_t pid) {
  const std::string stat = first_line("/proc/" + std::to_string(pid) + "/stat");
  // The name in parentheses may hold anything; state is the first field behind it, the start time the twentieth.
  const std::size_t paren = stat.rfind(')');
  if (paren == std::string::npos) return std::nullopt;
  std::istringstream fields(stat.substr(paren + 1));
  std::string field;
  std::uint64_t start = 0;
  for (int i = 0; i < 20 && fields >> field; ++i) {
    if (i == 0 && (field == "Z" || field == "X")) return std::nullopt;
    if (i == 19) start = std::strtoull(field.c_str(), nullptr, 10);
  }
  return start;
}

std::string random_hex() {
  std::uint64_t words[2];
  if (::getrandom(words, sizeof words, 0) != sizeof words) throw IoError("the system gives no random numbers");
  return hex64(words[0]) + hex64(words[1]);
}

std::string to_text(const LeaseOwner& o) {
  return json{{"host", o.host},
              {"boot", o.boot},
              {"pid_space", o.pid_space},
              {"pid", o.pid},
              {"start_time", o.start_time},
              {"job", o.job},
              {"nonce", o.nonce},
              {"run_uuid", o.run_uuid}}
             .dump(-1, ' ', false, json::error_handler_t::replace) +
         "\n";
}

/// BASE; its sum is XXH3-64 of "NAME DIGEST".
json base_json(const CheckpointId& base) {
  const std::string text = base.name + " " + base.digest;
  return {{"name", base.name}, {"digest", base.digest}, {"sum", hex64(checksum64(text.data(), text.size()))}};
}

/// What decides whether a foreign holder lives: nothing changes while it is dead.  nullopt when storage does not say.
std::optional<std::string> pulse(const std::filesystem::path& dir) {
  std::string beat;
  try {
    read_if_there(dir / "HEARTBEAT", kSmallFile, beat);
  } catch (const IoError&) {
    return std::nullopt;
  } catch (const DataError&) {  // no holder leaves a link or a folder there
  }
  return beat;
}

bool same_machine(const LeaseOwner& a, const LeaseOwner& b) {
  return a.host == b.host && a.boot == b.boot && a.pid_space == b.pid_space;
}

/// True when the holder of `epoch` is dead or gone.  Watching a foreign heartbeat takes up to `silence`.
bool is_free(const std::filesystem::path& run_dir, std::int64_t epoch, const LeaseOwner& me,
             const LeaseOptions& options) {
  const std::filesystem::path dir = epoch_dir(run_dir, epoch);
  if (lease_released(run_dir, epoch)) return true;
  const std::optional<LeaseOwner> owner = lease_owner(run_dir, epoch);
  if (owner && same_machine(*owner, me)) return start_time_of(owner->pid) != owner->start_time;
  // No clock of another machine is trusted: the counter must stand still for a while on ours.
  Section section("the heartbeat of " + (owner ? owner->str() : "an unknown holder") + " of " + run_dir.string());
  std::optional<std::string> before = pulse(dir), now = before;
  Clock::time_point start = Clock::now();  // of a silence that was heard
  const Clock::time_point begin = start;
  while (!before || !now || Seconds(Clock::now() - start) < options.silence) {
    if (Seconds(Clock::now() - begin) > 3 * options.silence)
      throw IoError("cannot read {}, which tells whether {} still lives", (dir / "HEARTBEAT").string(),
                    owner ? owner->str() : "its holder");
    if (options.while_waiting) options.while_waiting();
    std::this_thread::sleep_for(std::min(Seconds(0.05), options.silence / 10));
    if (lease_released(run_dir, epoch)) return true;
    now = pulse(dir);
    if (before && now && *now != *before) return false;
    if (!before && now) {
      before = now;
      start = Clock::now();
    }
  }
  return true;
}

/// "" while the newest lease is `mine` of `epoch`; otherwise a sentence saying who took the run over.
std::string who_took(const std::filesystem::path& run_dir, std::int64_t epoch, const LeaseOwner& mine) {
  const std::vector<std::int64_t> epochs = lease_epochs(run_dir);
  if (!epochs.empty() && epochs.back() > epoch) {
    const auto owner = lease_owner(run_dir, epochs.back());
    return fmt::format("{} was taken over by {} (epoch {}, this job has {})", run_dir.string(),
                       owner ? owner->str() : "another job", epochs.back(), epoch);
  }
  const auto owner = lease_owner(run_dir, epoch);
  if (!owner || owner->nonce != mine.nonce)
    return fmt::format("the lease {} of this job is gone", epoch_dir(run_dir, epoch).string());
  return "";
}

}  // namespace

LeaseOwner LeaseOwner::self() {
  LeaseOwner o;
  char host[256] = {};
  ::gethostname(host, sizeof host - 1);
  o.host = host;
  o.boot = first_line("/proc/sys/kernel/random/boot_id");
  std::error_code ignored;
  o.pid_space = std::filesystem::read_symlink("/proc/self/ns/pid", ignored).string();
  o.pid = ::getpid();
  o.start_time = start_time_of(o.pid).value_or(0);
  for (const char* name : {"SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID"})
    if (const char* job = std::getenv(name); job && o.job.empty()) o.job = job;
  o.nonce = random_hex();
  return o;
}

std::string LeaseOwner::str() const {
  return fmt::format("process {} on {}{}", pid, host, job.empty() ? "" : " (job " + job + ")");
}

std::vector<std::int64_t> lease_epochs(const std::filesystem::path& run_dir) {
  std::vector<std::int64_t> epochs;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(lease_dir(run_dir), error)) {
    const std::string name = entry.path().filename().string();
    if (name.size() < 2 || name.size() > 18 || name[0] != 'e' || name[1] == '0' ||
        name.find_first_not_of("0123456789", 1) != std::string::npos)
      continue;
    epochs.push_back(std::stoll(name.substr(1)));
  }
  if (error && error != std::errc::no_such_file_or_directory)
    throw IoError("cannot list {}: {}", lease_dir(run_dir).string(), error.message());
  std::sort(epochs.begin(), epochs.end());
  return epochs;
}

std::optional<CheckpointId> lease_base(const std::filesystem::path& run_dir, std::int64_t epoch) {
  std::string text;
  try {
    if (!read_if_there(epoch_dir(run_dir, epoch) / "BASE", kSmallFile, text)) return std::nullopt;
  } catch (const DataError&) {
    return std::nullopt;
  }
  const json j = json::parse(text, nullptr, false);
  if (!j.is_object() || !j.contains("name") || !j.contains("digest") || !j["name"].is_string() ||
      !j["digest"].is_string())
    return std::nullopt;
  CheckpointId base{j["name"].get<std::string>(), j["digest"].get<std::string>()};
  // A damaged name would send the history another way without a word.
  if (j.size() > 2 && j != base_json(base)) return std::nullopt;
  return base;
}

std::optional<LeaseOwner> lease_owner(const std::filesystem::path& run_dir, std::int64_t epoch) {
  std::string text;
  try {
    if (!read_if_there(epoch_dir(run_dir, epoch) / "OWNER", kSmallFile, text)) return std::nullopt;
    const json j = json::parse(text);
    LeaseOwner o;
    o.host = j.at("host").get<std::string>();
    o.boot = j.at("boot").get<std::string>();
    o.pid_space = j.at("pid_space").get<std::string>();
    o.pid = j.at("pid").get<std::int64_t>();
    o.start_time = j.at("start_time").get<std::uint64_t>();
    o.job = j.at("job").get<std::string>();
    o.nonce = j.at("nonce").get<std::string>();
    o.run_uuid = j.at("run_uuid").get<std::string>();
    return o;
  } catch (const DataError&) {
    return std::nullopt;
  } catch (const json::exception&) {
    return std::nullopt;
  }
}

bool lease_released(const std::filesystem::path& run_dir, std::int64_t epoch) {
  return path_exists(epoch_dir(run_dir, epoch) / "RELEASED");
}

/// Raises the counter until told to leave, and looks whether the lease is still ours.
struct Lease::Heart {
  std::filesystem::path file, run_dir;
  std::int64_t epoch = 0;
  LeaseOwner owner;
  Seconds interval{};
  std::mutex mutex;
  std::condition_variable wake;
  bool leaving = false, left = false;
  std::string taken;
  std::thread thread;

  static void start(const std::shared_ptr<Heart>& heart) {
    heart->thread = std::thread([heart] { heart->beat(); });
  }
  void beat() {
    std::unique_lock lock(mutex);
    for (std::int64_t count = 1; !wake.wait_for(lock, interval, [this] { return leaving; }); ++count) {
      lock.unlock();
      // Neither synced nor replaced as a whole: a reader only asks whether it changes.  Written over what is there,
      // since on a full disk a truncated file would stay empty and the job look dead.
      try {
        File::open_for_writing(file).write(std::to_string(count) + "\n");
      } catch (const Error&) {  // a full disk, or a directory that a later holder has removed
      }
      const std::optional<std::string> by = who_took_now();
      lock.lock();
      if (by) taken = *by;
    }
    left = true;
    wake.notify_all();
  }
  /// As who_took(), by two questions instead of a list of all leases there ever were: whoever takes over makes the next
  /// one, and ours may go.  nullopt when storage does not say.
  std::optional<std::string> who_took_now() const {
    try {
      if (path_exists(epoch_dir(run_dir, epoch + 1)) || !path_exists(epoch_dir(run_dir, epoch) / "OWNER"))
        return who_took(run_dir, epoch, owner);
      return "";
    } catch (const Error&) {
      return std::nullopt;
    }
  }
  /// False when the thread hangs in the system; then it is let go.
  bool stop() {
    std::unique_lock lock(mutex);
    leaving = true;
    wake.notify_all();
    const bool ended = wake.wait_for(lock, kGrace, [this] { return left; });
    lock.unlock();
    if (ended)
      thread.join();
    else
      thread.detach();
    return ended;
  }
};

Lease::Lease(std::filesystem::path run_dir, const LeaseOptions& options)
    : run_dir_(std::move(run_dir)), options_(options), owner_(LeaseOwner::self()) {
  make_directories(lease_dir(run_dir_));
  for (int attempt = 0; epoch_ == 0; ++attempt) {
    if (attempt == kMaxAttempts)
      throw IoError("cannot take a lease of {}: others take every epoch first", run_dir_.string());
    const std::vector<std::int64_t> epochs = lease_epochs(run_dir_);
    const std::int64_t newest = epochs.empty() ? 0 : epochs.back();
    if (newest > 0 && !is_free(run_dir_, newest, owner_, options_)) {
      const std::optional<LeaseOwner> holder = lease_owner(run_dir_, newest);
      throw RunHeldError("{} is held by {}; stop that job first, or choose another run.dir", run_dir_.string(),
                         holder ? holder->str() : "a process that keeps lease e" + std::to_string(newest) + " alive");
    }
    owner_.run_uuid.clear();
    for (auto e = epochs.rbegin(); e != epochs.rend() && owner_.run_uuid.empty(); ++e)
      if (const auto previous = lease_owner(run_dir_, *e)) owner_.run_uuid = previous->run_uuid;
    if (owner_.run_uuid.empty()) owner_.run_uuid = random_hex();

    // Prepared under a private name, so that the lease appears with its contents.  Renaming a directory onto one that
    // is not empty fails: only one of two starts gets the epoch.
    const std::filesystem::path prepared = lease_dir(run_dir_) / ("prepare-" + owner_.nonce);
    dir_ = epoch_dir(run_dir_, newest + 1);
    remove_tree(prepared);
    make_directory(prepared);
    write_atomic(prepared / "OWNER", to_text(owner_));
    write_atomic(prepared / "HEARTBEAT", "0\n");
    if (::rename(prepared.c_str(), dir_.c_str()) == 0) {
      epoch_ = newest + 1;
    } else {
      const int error = errno;
      remove_tree(prepared);
      // ENOENT: the winner swept the prepared directory away already.
      if (error != EEXIST && error != ENOTEMPTY && error != ENOENT)
        throw IoError("cannot create {}: {}", dir_.string(), std::generic_category().message(error));
    }
  }
  fsync_dir(lease_dir(run_dir_));
  heart_ = std::make_shared<Heart>();
  heart_->file = dir_ / "HEARTBEAT";
  heart_->run_dir = run_dir_;
  heart_->epoch = epoch_;
  heart_->owner = owner_;
  heart_->interval = options_.beat;
  Heart::start(heart_);
}

Lease::~Lease() {
  if (!heart_->stop()) return;
  try {
    if (lost().empty()) write_atomic(dir_ / "RELEASED", "");
  } catch (const std::exception&) {  // the next start sees that this process is gone
  }
}

void Lease::record_base(const CheckpointId& base) { write_atomic(dir_ / "BASE", base_json(base).dump() + "\n"); }

std::string Lease::lost() const { return who_took(run_dir_, epoch_, owner_); }

std::string Lease::seen_lost() const {
  const std::lock_guard lock(heart_->mutex);
  return heart_->taken;
}

}  // namespace banyan::io
