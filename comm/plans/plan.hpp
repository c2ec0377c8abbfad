// A collective as data.  A plan is what one rank does, a list of steps over three buffers; the plans of all ranks
// together are the collective.  Plans are made by pure functions (one algorithm per file of this folder), proved for
// every rank count by comm/plan_verifier, and executed by comm/interpreter over any transport.
//
// A plan is written in messages (sends, receives, reductions, copies) or in terms of what is made known and combined
// (publish, fold), which says the same without saying where a message waits.
//
// Steps are issued in order.  Sends and receives are only posted; a step that touches memory of an earlier message is
// issued when that message is complete.  finish() works out which those are, so an algorithm says the order in which
// things happen and nothing else.  Messages of one pair of ranks match in the order of posting.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace banyan::comm {

enum class CollectiveKind : std::uint8_t { kAllReduce, kReduceScatter, kAllGather, kBroadcast, kBarrier, kAllToAll };
inline constexpr int kCollectiveKinds = 6;

enum class Buffer : std::uint8_t {
  kInput,    ///< what the caller gave; a reduce-scatter may overwrite it
  kOutput,   ///< what the caller gets; all-reduce and broadcast work in it
  kScratch,  ///< of the interpreter
};

/// Elements [begin, begin + count) of a buffer.
struct Slice {
  Buffer buffer = Buffer::kOutput;
  std::int64_t begin = 0, count = 0;
  std::int64_t end() const { return begin + count; }
  bool overlaps(const Slice& o) const {
    return buffer == o.buffer && count > 0 && o.count > 0 && begin < o.end() && o.begin < end();
  }
};

/// One term of a fold: a slice of this rank's memory, or the next message of a peer (as long as the target).
struct Operand {
  int peer = -1;  ///< >= 0: that rank's next message; the slice is not used
  Slice slice = {};
};

struct Step {
  enum class Kind : std::uint8_t {
    kSend,     ///< source to peer
    kReceive,  ///< target from peer
    kReduce,   ///< target = left op source
    kCopy,     ///< target = source
    kPublish,  ///< source to each of `peers`
    kFold,     ///< target = ((operand 0 op operand 1) op operand 2) ...; a single operand is moved
  };
  Kind kind = Kind::kCopy;
  int peer = -1;
  Slice source, target;
  Slice left = {};                     ///< of kReduce; may be the target
  std::vector<int> needs = {};         ///< earlier messages to be complete; those that earlier steps need are left out
  std::vector<int> peers = {};         ///< of kPublish
  std::vector<Operand> operands = {};  ///< of kFold
};

struct Plan {
  std::string name;          ///< generator, for people and for plans.json
  std::int64_t scratch = 0;  ///< elements of kScratch
  std::vector<Step> steps;
  bool symmetric = false;  ///< every rank publishes as much as it folds

  void send(int peer, Slice source) { steps.push_back({Step::Kind::kSend, peer, source, {}}); }
  void receive(int peer, Slice target) { steps.push_back({Step::Kind::kReceive, peer, {}, target}); }
  void reduce(Slice target, Slice source) { reduce(target, target, source); }
  void reduce(Slice target, Slice left, Slice source) {
    steps.push_back({Step::Kind::kReduce, -1, source, target, left});
  }
  void copy(Slice target, Slice source) { steps.push_back({Step::Kind::kCopy, -1, source, target}); }
  void publish(std::vector<int> peers, Slice source) {
    steps.push_back({.kind = Step::Kind::kPublish, .source = source, .target = {}, .peers = std::move(peers)});
  }
  void fold(Slice target, std::vector<Operand> operands) {
    steps.push_back({.kind = Step::Kind::kFold, .source = {}, .target = target, .operands = std::move(operands)});
  }
  /// Whether a step publishes or folds: such a plan runs on a shared window or, made into messages (to_messages.hpp),
  /// over any transport.
  bool folds() const;
  /// Completes every step's `needs` and the scratch size.
  Plan finish() &&;
};

/// What a shared window holds of each of `ranks` members: pieces that were published and not yet folded by all of
/// their readers, and of these for any one reader.  A plan that needs more would wait for ever.
inline int window_pieces(int ranks) { return 2 * ranks + 2; }
inline constexpr int kWindowPiecesPerReader = 6;

/// Parts that lie end to end: part i is [begin(i), begin(i) + count(i)).
class Parts {
 public:
  explicit Parts(std::vector<std::int64_t> counts);
  /// `total` elements over `parts` as evenly as possible.
  static Parts even(std::int64_t total, int parts);
  int size() const { return static_cast<int>(counts_.size()); }
  std::int64_t count(int part) const { return counts_[static_cast<std::size_t>(part)]; }
  std::int64_t begin(int part) const { return begins_[static_cast<std::size_t>(part)]; }
  std::int64_t total() const { return begins_.back(); }
  Slice slice(Buffer buffer, int part) const { return {buffer, begin(part), count(part)}; }
  /// Elements of parts [first, last) as one slice.
  Slice range(Buffer buffer, int first, int last) const {
    return {buffer, begins_[static_cast<std::size_t>(first)],
            begins_[static_cast<std::size_t>(last)] - begins_[static_cast<std::size_t>(first)]};
  }

 private:
  std::vector<std::int64_t> counts_, begins_;
};

/// Cuts a slice into pieces of at most `piece` elements; an empty slice has none.
std::vector<Slice> pieces(Slice slice, std::int64_t piece);

}  // namespace banyan::comm
