#include "src/job/shared_dir.hpp"

#include <unistd.h>

#include <string>
#include <thread>

#include "io/atomic_file.hpp"
#include "io/lease.hpp"
#include "src/base/error.hpp"
#include "src/base/log.hpp"
#include "src/job/together.hpp"

namespace banyan::job {
namespace {

namespace fs = std::filesystem;

constexpr Seconds kStale{10};

/// What all ranks see of a file that rank 0 writes.  Another start at the same moment writes its own there: `mine`
/// tells rank 0 whether what was looked for was there to the end.
Verdict look_for_probe(comm::Communicator& ranks, const std::string& run_dir, bool& mine) {
  const bool root = ranks.rank() == 0;
  const fs::path probe = fs::path(run_dir) / "shared-probe";
  std::string nonce;
  const Verdict made = run_together(ranks, "the run directory", Seconds(120), [&](const std::atomic<bool>&) {
    if (!root) return;
    try {
      io::make_directories(fs::absolute(run_dir).lexically_normal());
      nonce = io::LeaseOwner::self().nonce;
      // Under a name of its own first: two starts at once would write one file.
      const fs::path own = fs::path(run_dir) / ("shared-probe-" + nonce);
      io::write_atomic(own, nonce);
      io::rename_path(own, probe);
    } catch (const IoError& e) {
      fs::path there = fs::absolute(run_dir);
      while (!there.empty() && !fs::exists(there) && there != there.parent_path()) there = there.parent_path();
      // Permission is the user's to give; anything else may pass.
      if (::access(there.c_str(), W_OK | X_OK) != 0 || !fs::is_directory(there))
        throw ConfigError("run.dir = {} cannot be used: {}", run_dir, e.what());
      throw;
    }
  });
  made.raise_if_failed();
  nonce = comm::broadcast_string(ranks, nonce, 0, "the check of the run directory");
  const Verdict seen =
      run_together(ranks, "the check of the run directory", Seconds(120), [&](const std::atomic<bool>&) {
        std::string found;
        for (const Clock::time_point start = Clock::now(); found != nonce;) {
          try {
            io::read_if_there(probe, 4096, found);
          } catch (const Error&) {  // judged by what was found
          }
          if (found == nonce) return;
          if (Seconds(Clock::now() - start) > kStale)
            throw ConfigError(
                "run.dir = {} is not shared: this rank does not see what rank 0 wrote there; put it on a file "
                "system that all nodes mount",
                run_dir);
          std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
      });
  if (root) try {
      std::string found;
      mine = io::read_if_there(probe, 4096, found) && found == nonce;
      if (mine) io::remove_tree(probe);
    } catch (const Error& e) {
      log::warning("tidying the run directory: {}", e.what());
    }
  return seen;
}

}  // namespace

bool comes_into_view(const fs::path& path) {
  for (const Clock::time_point start = Clock::now(); !io::path_exists(path);) {
    if (Seconds(Clock::now() - start) > kStale) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return true;
}

void require_shared(comm::Communicator& ranks, const std::string& run_dir) {
  constexpr int kTries = 5;
  for (int i = 1;; ++i) {
    bool mine = true;
    const Verdict seen = look_for_probe(ranks, run_dir, mine);
    if (!seen.ok() && i < kTries &&
        comm::all_reduce_value(ranks, std::int64_t{!mine}, comm::ReduceOp::kMax, "the check of the run directory") > 0)
      continue;
    seen.raise_if_failed();
    return;
  }
}

}  // namespace banyan::job
