#include "comm/world_base.hpp"

#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <numeric>
#include <utility>

#include "comm/group.hpp"
#include "comm/plans/spread.hpp"
#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

void copy_host_bytes(Queue, View out, ConstView in) {
  if (in.bytes() > 0) std::memcpy(out.data, in.data, in.bytes());
}

}  // namespace

WorldBase::WorldBase(std::unique_ptr<Transport> transport, std::vector<Place> places)
    : transport_(std::move(transport)), places_(std::move(places)), copy_(copy_host_bytes) {
  std::vector<std::string> names;
  for (int r = 0; r < size(); ++r) {
    names.push_back(fmt::format("rank {} on {}", r, host(r)));
    if (node(r) != node(rank())) continue;
    ++local_size_;
    if (r < rank()) ++local_rank_;
  }
  engine_ = std::make_unique<Engine>(*transport_, std::move(names));
}

void WorldBase::configure(const WorldOptions& options, ReduceFunction reduce, CopyFunction copy) {
  if (options.host_transport != "auto" && options.host_transport != "mpi")
    throw ConfigError("comm.host_transport = {} is not part of this build; use auto or mpi", options.host_transport);
  if (options.peer_timeout <= Seconds::zero())
    throw ConfigError("comm.peer_timeout = {} s leaves no time to wait; give a positive time",
                      options.peer_timeout.count());
  options_ = options;
  reduce_ = std::move(reduce);
  copy_ = copy ? std::move(copy) : CopyFunction(copy_host_bytes);
}

std::unique_ptr<Communicator> WorldBase::group(std::vector<int> world_ranks, int id, std::string name) {
  return std::make_unique<Group>(*engine_, GroupOptions{options_.peer_timeout, reduce_, copy_}, std::move(world_ranks),
                                 id, std::move(name));
}

void WorldBase::announce_failure(int exit_code, const std::string& message) noexcept {
  const std::lock_guard lock(engine_->mutex());
  if (announced_) return;
  announced_ = true;
  engine_->give_up("this rank left: " + message);
  // Who leaves because another one failed has nothing to add.
  if (transport_->announced()) return;
  try {
    transport_->announce({rank(), exit_code, message});
  } catch (const std::exception&) {
    // The others will notice the silence.
  }
}

std::optional<PeerFailure> WorldBase::peer_failure() {
  const std::lock_guard lock(engine_->mutex());
  transport_->progress();
  return transport_->announced();
}

bool WorldBase::last_barrier(Seconds deadline) noexcept {
  try {
    const std::lock_guard lock(engine_->mutex());
    if (!engine_->idle()) engine_->give_up("this rank left with messages in flight");
    const Section section("all ranks leave together");
    std::vector<int> everyone(static_cast<std::size_t>(size()));
    std::iota(everyone.begin(), everyone.end(), 0);
    // Not one of the engine's operations, which end when somebody fails: this one is for just that case.
    PlanOperation meeting(*engine_,
                          {.plan = std::make_shared<const Plan>(dissemination_barrier(rank(), size())),
                           .world_ranks = &everyone,
                           .tag = Tag::collective(kLeavingGroup, meetings_++),
                           .input = {},
                           .output = {},
                           .reduce = {},
                           .copy = {},
                           .queue = {}},
                          "all ranks leave together", deadline);
    const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(deadline);
    Backoff backoff;
    while (meeting.advance(), !meeting.done()) {
      if (Clock::now() > end) return met_ = false;
      backoff.pause();
      transport_->progress();
    }
    return true;
  } catch (const std::exception&) {
    return met_ = false;
  }
}

void WorldBase::abort(int exit_code) {
  std::fflush(nullptr);
  _exit(exit_code);
}

}  // namespace banyan::comm
