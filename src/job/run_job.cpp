#include "src/job/run_job.hpp"

#include <unistd.h>

#include <cstdio>
#include <exception>
#include <memory>
#include <new>
#include <optional>

#include "kernels/gpu.hpp"
#include "src/base/log.hpp"
#include "src/base/process_memory.hpp"
#include "src/base/section.hpp"
#include "src/base/signals.hpp"
#include "src/config/load.hpp"
#include "src/job/causes.hpp"
#include "src/job/run_dir.hpp"
#include "src/plan/fallback.hpp"

namespace banyan::job {
namespace {

/// Longest wait for the slowest rank to notice that the job is over; a rank looks at least once in an operation.
constexpr Seconds kLastBarrier{10};

/// What ended the body on this rank.
struct Ending {
  ExitCode code = ExitCode::kFinished;
  std::string message, waiting_for;
  int peer = -1;
  bool failed = false;
};

/// Rank 0 reads the file; everyone loads the same text.
std::unique_ptr<Job> make_job(comm::World& world, const JobArgs& args) {
  std::vector<int> ranks;
  for (int r = 0; r < world.size(); ++r) ranks.push_back(r);
  const std::unique_ptr<comm::Communicator> start = world.group(std::move(ranks), 0, "world");
  std::string text;
  if (world.rank() == 0) {
    const plan::FittedConfig fitted =
        plan::fit_mesh(config::load(args.config_path, args.overrides).config, world.size());
    if (!fitted.note.empty()) log::warning("{}", fitted.note);
    text = config::write(fitted.config);
  }
  text = comm::broadcast_string(*start, text, 0, "the configuration from rank 0");
  const config::Config config = config::load_text(text, args.config_path).config;
  std::unique_ptr<kernels::Backend> device;
  if (config.run.backend == "cuda")
    device = kernels::make_cuda_backend({.number = world.local_rank(), .count = world.local_size()});
  return std::make_unique<Job>(world, args.command, config, text, std::move(device));
}

Ending describe(std::exception_ptr error) {
  Ending e;
  e.failed = true;
  try {
    std::rethrow_exception(error);
  } catch (const Error& x) {
    e.code = x.code();
    e.message = x.what();
  } catch (const std::bad_alloc&) {
    e.code = ExitCode::kConfig;
    e.message = "this rank is out of memory; `banyan plan CONFIG` prints what each rank needs";
  } catch (const std::exception& x) {
    e.code = ExitCode::kBug;
    e.message = x.what();
  } catch (...) {
    e.code = ExitCode::kBug;
    e.message = "an exception of unknown type";
  }
  return e;
}

std::string place(const comm::World& world, int rank) { return fmt::format("rank {} on {}", rank, world.host(rank)); }

void record(const Job& job, const Ending& e) {
  const bool written = write_cause(job.run_dir, {.attempt = job.attempt,
                                                 .rank = job.world.rank(),
                                                 .host = job.world.host(job.world.rank()),
                                                 .code = e.code,
                                                 .message = e.message,
                                                 .reason = job.reason,
                                                 .waiting_for = e.waiting_for,
                                                 .peer = e.peer,
                                                 .peer_host = e.peer >= 0 ? job.world.host(e.peer) : "",
                                                 .step = job.watchdog.step()});
  if (!written) log::warning("cannot write a cause record into {}", job.run_dir.string());
}

/// One rank's error ends the job: tells the others, writes the cause record, lets rank 0 speak.
void fail(comm::World& world, const Job* job, Ending& ending) {
  std::optional<comm::PeerFailure> peer = world.peer_failure();
  // An error that all ranks agreed on is everybody's own, whoever was the first to say so.
  if (peer && peer->message == ending.message) peer.reset();
  if (peer) {
    // This rank only lost its partner; the partner's error is the one that counts.
    ending.code = static_cast<ExitCode>(peer->code);
    ending.peer = peer->rank;
  } else {
    world.announce_failure(static_cast<int>(ending.code), ending.message);
    ending.peer = world.blamed();
  }
  if (job && job->suspect >= 0) ending.peer = job->suspect;
  if (world.rank() == 0) {
    if (peer)
      log::error("{}: {}", place(world, peer->rank), peer->message);
    else
      log::error("{}", ending.message);
  }
  if (job && job->attempt > 0) record(*job, ending);
  const bool met = world.last_barrier(kLastBarrier);
  // Rank 0 speaks for the job unless it is the one that is gone, which nobody knows who lost no one.
  if (world.rank() != 0 && !peer && !met && ending.peer <= 0 && !world.peer_failure()) log::error("{}", ending.message);
}

}  // namespace

ExitCode run_job(const JobArgs& args, const std::function<ExitCode(Job&)>& body) {
  const Clock::time_point started = Clock::now();
  signals::install();
  std::unique_ptr<comm::World> world;
  std::unique_ptr<Job> job;
  Ending ending;
  try {
    world = comm::make_mpi_world();
    const std::int64_t memory_at_start = peak_memory();
    log_to(*world, config::defaults(), "");
    job = make_job(*world, args);
    job->memory_at_start = memory_at_start;
    job->started = started;
    log_to(*world, job->config, "");
    ending.code = body(*job);
  } catch (...) {
    ending = describe(std::current_exception());
    ending.waiting_for = Section::take_failed_trail();
  }
  if (!world) {
    log::error("{}", ending.message);
    return ending.code;
  }
  if (job) job->watchdog.stop();
  if (ending.failed) {
    fail(*world, job.get(), ending);
    log::flush();
    std::fflush(nullptr);
    // Finalizing could wait for a rank that is gone.
    ::_exit(static_cast<int>(ending.code));
  }
  if (job->attempt > 0) record(*job, ending);
  job.reset();
  if (ending.code != ExitCode::kFinished && !world->last_barrier(kLastBarrier)) ::_exit(static_cast<int>(ending.code));
  return ending.code;
}

}  // namespace banyan::job
