// What the trainer sees of other ranks.  A Communicator is a group of ranks, numbered 0 .. size()-1, all of which make
// the same calls in the same order (point-to-point calls excepted).  Collectives are plans (comm/plans) executed over a
// Transport; operand order, and with it every bit of the result, is a property of the plan alone.
//
// Calls on one communicator come from one thread.  Every call returns an Event; buffers must stay untouched until it is
// complete.  Nothing happens behind the caller's back: work in flight advances inside test(), wait() and progress().
// One wait advances the work of every communicator of the World, so operations may be outstanding on several at once.
//
// A peer that dies, stays silent past the deadline or sends what was not expected ends the call with a CommError that
// names the peer's rank and host and what was waited for.  That is final: everything in flight is given up, every later
// call on any communicator of the World throws the same error; what remains is announce_failure and last_barrier.
// An operation fails when it makes no progress for WorldOptions::peer_timeout while somebody looks (wait or test), or
// when an enclosing Section expires; a PatienceScope lengthens the former where silence is expected.
//
// Views are contiguous host memory.  Counts may be zero, views empty; sending to oneself works.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/queue.hpp"
#include "src/base/section.hpp"
#include "src/base/view.hpp"

namespace banyan::comm {

struct GroupPlans;

enum class ReduceOp : std::uint8_t { kSum, kMax, kMin };

/// out = a op b, element by element; out may be a or b.  Injected so that comm knows no device
/// (kernels::Backend::reduce).
using ReduceFunction = std::function<void(Queue, View out, ConstView a, ConstView b, ReduceOp)>;
/// Copies between any memory kinds; injected likewise.
using CopyFunction = std::function<void(Queue, View out, ConstView in)>;

/// Largest channel number of point-to-point calls.
inline constexpr int kMaxChannel = 1023;
/// Largest id of a communicator.
inline constexpr int kMaxGroupId = 4094;

class Communicator {
 public:
  /// Outstanding operations are given up; wait for their events first.
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// For messages: "tensor group 2", "world".
  virtual const std::string& name() const = 0;
  /// "rank 5 on node n3" of a member, in world numbering.
  virtual std::string peer_name(int member) const = 0;

  // Collectives.  `what` names the wait in messages and must outlive the call only.
  virtual Event all_reduce(Queue q, View inout, ReduceOp op, std::string_view what) = 0;
  /// `in` is the concatenation, in rank order, of parts with counts[i] elements; `out` receives the reduction of part
  /// rank().  out may be that part of in.
  virtual Event reduce_scatter(Queue q, View out, View in_scratch, std::span<const std::int64_t> counts, ReduceOp op,
                               std::string_view what) = 0;
  /// The inverse layout: `in` has counts[rank()] elements, `out` the concatenation.  in may be its own place in out.
  virtual Event all_gather(Queue q, View out, ConstView in, std::span<const std::int64_t> counts,
                           std::string_view what) = 0;
  /// Element counts per peer known at run time; parts lie end to end in rank order.
  virtual Event all_to_all_v(Queue q, View out, std::span<const std::int64_t> out_counts, ConstView in,
                             std::span<const std::int64_t> in_counts, std::string_view what) = 0;
  virtual Event broadcast(Queue q, View inout, int root, std::string_view what) = 0;
  virtual void barrier(std::string_view what) = 0;

  // Ordered point to point: the n-th send to a peer with a channel (0 .. kMaxChannel) meets the n-th receive from it on
  // that channel; both give the same number of bytes.  A send may complete only when its receive is posted.
  virtual Event send(Queue q, ConstView in, int peer, int channel, std::string_view what) = 0;
  virtual Event receive(Queue q, View out, int peer, int channel, std::string_view what) = 0;

  /// Memory that messages come from or go to again and again: registered with the network as long as what is returned
  /// lives, which must end before the memory and this communicator do, with no message under way.  A hint; may be
  /// called for the same memory more than once.
  [[nodiscard]] virtual std::shared_ptr<const void> pin(ConstView memory) = 0;

  /// From now on collectives go by these plans (comm/plan_book.hpp) instead of those of comm/plans/choose.  Called by
  /// all members at the same point with nothing of this communicator in flight.  ConfigError for what cannot be had
  /// here.
  virtual void use_plans(const GroupPlans& plans) = 0;

  /// Advances everything in flight on this communicator's transport; never blocks.
  virtual void progress() = 0;
};

// Small values for control decisions; each waits, each gives the same answer on every rank.
std::int64_t all_reduce_value(Communicator& c, std::int64_t value, ReduceOp op, std::string_view what);
double all_reduce_value(Communicator& c, double value, ReduceOp op, std::string_view what);
/// Everyone's bytes, in rank order (lengths may differ).
std::vector<std::string> all_gather_strings(Communicator& c, const std::string& mine, std::string_view what);
/// Root's bytes on every rank.
std::string broadcast_string(Communicator& c, const std::string& value, int root, std::string_view what);

/// Lengthens the silence that waits of this thread bear, where a peer is known to do something long (rank 0 computes a
/// reference, a shard goes to disk).  Nested scopes: the longest counts.  Sections keep their own deadlines.
class PatienceScope {
 public:
  explicit PatienceScope(Seconds silence);
  ~PatienceScope();
  PatienceScope(const PatienceScope&) = delete;
  PatienceScope& operator=(const PatienceScope&) = delete;
  /// What the calling thread's scopes ask for; zero outside any.
  static Seconds current();

 private:
  Seconds outer_;
};

/// Why another rank left.
struct PeerFailure {
  int rank = 0;
  int code = 0;         ///< its exit code
  std::string message;  ///< its own words, or of who found it silent
  bool hang = false;    ///< it gets no further, rather than having left
};

struct WorldOptions {
  Seconds peer_timeout{20};             ///< a wait on a peer longer than this is a CommError
  std::string host_transport = "auto";  ///< auto | ucx | mpi; auto: UCX where it starts on all ranks
  std::size_t rendezvous = 0;           ///< bytes from which UCX has a message fetched by its receiver; 0: UCX decides
  bool shared_memory = true;            ///< collectives among ranks of one node go through memory they share
  bool background = false;              ///< a thread moves messages while the rank computes (comm/mover.hpp); reductions
                                        ///< and copies are then called from it, too
  bool checksum = false;                ///< comm/checked_transport.hpp under all messages; the same on all ranks
};

/// The processes of the job.  Made once per process (MPI) or once per thread (loopback).
class World {
 public:
  virtual ~World() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual const std::string& host(int rank) const = 0;  ///< host name of any rank
  virtual int node(int rank) const = 0;                 ///< number of the node it sits on, 0 ..
  virtual int leaf(int rank) const = 0;                 ///< number of the switch its node hangs from; 0 if unknown
  virtual int local_rank() const = 0;                   ///< number among the ranks of this node
  virtual int local_size() const = 0;
  virtual std::string transport_name() const = 0;
  /// Whether ranks of one node share memory for collectives.
  virtual bool shares_memory() const = 0;
  /// Other numbers of leaves, by world rank, from who knows the network better than the environment.  Called by all
  /// ranks with the same numbers, before they are asked for.
  virtual void set_leaves(const std::vector<int>& leaves) = 0;
  /// Deadlines and injected functions for communicators made from now on.  Called by all ranks at the same point, while
  /// nothing is in flight.
  virtual void configure(const WorldOptions& options, ReduceFunction reduce, CopyFunction copy) = 0;
  /// Communicator of the given world ranks (in that order).  Called by exactly those ranks; sends nothing.  `id`
  /// (0 .. kMaxGroupId) is the same on all of them and unlike that of every other communicator alive that has two ranks
  /// in common with it: one id per axis of a mesh is enough.  The World outlives its communicators.
  virtual std::unique_ptr<Communicator> group(std::vector<int> world_ranks, int id, std::string name) = 0;
  /// This rank finished a piece of its work, a microbatch, and is at `where` ("step 7, microbatch 3").  Waits of others
  /// for a rank that gets ahead go on; who waits for one in vain says where it was.  Cheap; from any thread.
  virtual void beat(std::string_view where) noexcept = 0;
  /// Time that this rank has spent waiting for others so far; not counted are waits of a few microseconds.
  virtual Seconds waited() const noexcept = 0;
  /// Tells all other ranks that this one is about to leave, so that their waits end at once with "rank 3 on n1 failed:
  /// MESSAGE" instead of a timeout.  Never throws, never blocks for more than a second.  Only the first call counts.
  virtual void announce_failure(int exit_code, const std::string& message) noexcept = 0;
  /// The first failure another rank announced, if any.
  virtual std::optional<PeerFailure> peer_failure() = 0;
  /// The rank that a wait of this one was in vain for; -1: none.  announce_failure tells the others of that rank.
  virtual int blamed() const = 0;
  /// Meets all ranks a last time before the first of them exits with a code other than 0 (mpirun kills the others a
  /// second after that).  Works after failures; false when somebody did not come in time.  No communication after it.
  virtual bool last_barrier(Seconds deadline) noexcept = 0;
  /// Ends the process without waiting for anyone when leaving in an orderly way is impossible.
  [[noreturn]] virtual void abort(int exit_code) = 0;

  // For a thread that watches over the one that calls everything else, which may be stuck anywhere, here included: from
  // any thread, without MPI, UCX or a long wait.
  /// Grows with every sign of life of this rank: operations that start, looks at a wait, beats.
  virtual std::uint64_t signs_of_life() const noexcept = 0;
  /// The first failure that is known of, also one that this rank is blamed for; nullopt while the rank's own thread is
  /// inside, too.
  virtual std::optional<PeerFailure> overhear() noexcept = 0;
  /// announce_failure of a hang and last_barrier on behalf of a thread that is stuck.  False, with nothing done, when
  /// it is stuck inside: the others then notice the end of the process.
  virtual bool leave_stuck(int exit_code, const std::string& message, Seconds deadline) noexcept = 0;
  /// What is done, once, when it turns out that a rank hangs, on the thread whose wait ends for that reason and before
  /// it throws.
  virtual void on_hang(std::function<void()> call) = 0;
};

/// Host names by world rank.
std::vector<std::string> hosts_of(const World& world);

/// MPI_Init_thread and all that follows.  At most one per process.  The destructor meets all ranks and finalizes; after
/// a failure, or while an exception unwinds, it does neither, because both could hang: the caller then ends with _exit.
std::unique_ptr<World> make_mpi_world();
/// Runs `body` on `size` threads, each with a World of its own: ranks as threads, for tests.  `ranks_per_node` fakes
/// the node structure.  A body that throws announces its failure to the others; the first error in time is rethrown
/// after all threads have ended.
void run_loopback(int size, const std::function<void(World&)>& body, int ranks_per_node = 1 << 30);

}  // namespace banyan::comm
