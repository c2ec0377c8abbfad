#include "comm/world_base.hpp"

#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <numeric>
#include <utility>

#include "comm/group.hpp"
#include "src/base/error.hpp"
#include "src/base/rng.hpp"

namespace banyan::comm {

namespace {

/// How long a thread that is well stays inside the engine at most.
constexpr Seconds kComesOut{1};

}  // namespace

void copy_host_bytes(Queue, View out, ConstView in) {
  if (in.bytes() > 0) std::memcpy(out.data, in.data, in.bytes());
}

WorldBase::WorldBase(std::unique_ptr<Transport> transport, std::unique_ptr<Lifeline> lifeline,
                     std::vector<Place> places)
    : transport_(std::move(transport)),
      lifeline_(std::move(lifeline)),
      places_(std::move(places)),
      copy_(copy_host_bytes) {
  for (int r = 0; r < size(); ++r) {
    peer_names_.push_back(fmt::format("rank {} on {}", r, host(r)));
    if (node(r) != node(rank())) continue;
    ++local_size_;
    if (r < rank()) ++local_rank_;
  }
  engine_ = std::make_unique<Engine>(*transport_, *lifeline_, peer_names_);
}

void WorldBase::configure(const WorldOptions& options, ReduceFunction reduce, CopyFunction copy) {
  if (options.peer_timeout <= Seconds::zero())
    throw ConfigError("comm.peer_timeout = {} s leaves no time to wait; give a positive time",
                      options.peer_timeout.count());
  mover_.reset();
  Transport& chosen = choose_transport(options);
  engine_->use(chosen);
  checked_.reset();
  if (options.checksum) engine_->use(*(checked_ = std::make_unique<CheckedTransport>(chosen)));
  if (options.shared_memory && !memory_) memory_ = share_memory(options);
  options_ = options;
  reduce_ = std::move(reduce);
  copy_ = copy ? std::move(copy) : CopyFunction(copy_host_bytes);
  if (options.background) mover_ = std::make_unique<Mover>(*engine_);
}

Transport& WorldBase::choose_transport(const WorldOptions& options) {
  if (options.host_transport != "auto")
    throw ConfigError("comm.host_transport = {} is not for ranks that are threads; use auto", options.host_transport);
  return *transport_;
}

std::unique_ptr<NativeCollectives> WorldBase::native_collectives(const std::vector<int>&, int) {
  throw ConfigError("ranks that are threads have no MPI library; use another algorithm than {} for collectives", "mpi");
}

std::unique_ptr<Communicator> WorldBase::group(std::vector<int> world_ranks, int id, std::string name) {
  if (id > kMaxGroupId) throw BugError("{}: group id {} is not in 0 .. {}", name, id, kMaxGroupId);
  GroupOptions group{.peer_timeout = options_.peer_timeout, .reduce = reduce_, .copy = copy_};
  group.native = [this](const std::vector<int>& ranks, int of) { return native_collectives(ranks, of); };
  if (shares_memory() && world_ranks.size() > 1) {
    std::uint64_t key = rng::mix(static_cast<std::uint64_t>(id));
    for (int r : world_ranks) {
      key = rng::mix(key, static_cast<std::uint64_t>(r));
      if (r < 0 || r >= size() || !memory_->of[static_cast<std::size_t>(r)]) break;
      group.arenas.push_back(memory_->of[static_cast<std::size_t>(r)]);
    }
    if (group.arenas.size() != world_ranks.size()) group.arenas.clear();
    // A group may follow another one of the same members; both number their pieces from 0.
    group.window_key = rng::mix(key, windows_[key]++) | 1;
  }
  return std::make_unique<Group>(*engine_, std::move(group), std::move(world_ranks), id, std::move(name));
}

void WorldBase::set_leaves(const std::vector<int>& leaves) {
  if (leaves.size() != places_.size()) throw BugError("{} leaves of {} ranks", leaves.size(), places_.size());
  for (std::size_t r = 0; r < leaves.size(); ++r) places_[r].leaf = leaves[r];
}

void WorldBase::beat(std::string_view where) noexcept {
  engine_->give_sign();
  const std::lock_guard lock(engine_->mutex());
  try {
    lifeline_->beat(where);
  } catch (const std::exception&) {
    // Out of memory; nobody needs to know where this rank is.
  }
}

void WorldBase::announce_failure(int exit_code, const std::string& message) noexcept {
  const std::lock_guard lock(engine_->mutex());
  announce(verdict().value_or(PeerFailure{rank(), exit_code, message}));
}

void WorldBase::announce(const PeerFailure& failure) {
  if (std::exchange(announced_, true)) return;
  engine_->give_up("this rank left: " + failure.message);
  try {
    lifeline_->poll();
    // Who leaves because another one failed has nothing to add.
    if (!lifeline_->announced()) lifeline_->announce(failure);
  } catch (const std::exception&) {
    // The others will notice the silence.
  }
}

std::optional<PeerFailure> WorldBase::overhear() noexcept {
  const std::unique_lock lock(engine_->mutex(), std::try_to_lock);
  if (!lock) return std::nullopt;
  try {
    lifeline_->poll();
    return lifeline_->announced();
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

bool WorldBase::leave_stuck(int exit_code, const std::string& message, Seconds deadline) noexcept {
  const auto patience = Clock::now() + kComesOut;
  std::unique_lock lock(engine_->mutex(), std::try_to_lock);
  for (Backoff backoff; !lock && Clock::now() < patience; backoff.pause()) lock.try_lock();
  if (!lock) return false;
  met_ = false;
  announce({rank(), exit_code, message, true});
  try {
    return lifeline_->meet(deadline);
  } catch (const std::exception&) {
    return true;
  }
}

int WorldBase::blamed() const {
  const std::lock_guard lock(engine_->mutex());
  return verdict() ? verdict()->rank : -1;
}

std::optional<PeerFailure> WorldBase::peer_failure() {
  const std::lock_guard lock(engine_->mutex());
  lifeline_->poll();
  return lifeline_->announced();
}

void WorldBase::meet_over_transport(Seconds deadline) {
  std::vector<int> everyone(static_cast<std::size_t>(size()));
  std::iota(everyone.begin(), everyone.end(), 0);
  const Section section("all ranks to leave together", deadline);
  const PatienceScope patience(deadline + Seconds{1});
  Group(*engine_, {}, std::move(everyone), kLeavingGroup, "the last barrier").barrier("before leaving");
}

bool WorldBase::last_barrier(Seconds deadline) noexcept {
  try {
    const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(deadline);
    if (!engine_->failed()) {
      try {
        meet_over_transport(deadline);
        lifeline_->leave();
        return true;
      } catch (const CommError&) {
        met_ = false;  // somebody failed meanwhile; the others are at the lifeline
      }
    }
    met_ = false;
    const std::lock_guard lock(engine_->mutex());
    return lifeline_->meet(std::max(Seconds{0}, Seconds(end - Clock::now())));
  } catch (const std::exception&) {
    return met_ = false;
  }
}

void WorldBase::abort(int exit_code) {
  std::fflush(nullptr);
  _exit(exit_code);
}

}  // namespace banyan::comm
