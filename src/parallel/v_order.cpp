#include "src/parallel/v_order.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>

#include "src/base/error.hpp"

namespace banyan::parallel {
namespace {

constexpr int kChunks = 2;

/// How many microbatches have been through each kind of pass of a chunk; they go in their order.
struct Done {
  int forward = 0, input = 0, weights = 0;
};

class Players {
 public:
  Players(int stages, int microbatches)
      : stages_(stages), microbatches_(microbatches), done_(static_cast<std::size_t>(stages)) {}

  /// What a stage that is free begins; nothing where it has to wait.
  std::optional<Pass> choose(int s) const;
  void finish(int stage, const Pass& pass) {
    Done& d = done_[static_cast<std::size_t>(stage)][static_cast<std::size_t>(pass.chunk)];
    ++(pass.kind == PassKind::kForward ? d.forward : pass.kind == PassKind::kBackwardInput ? d.input : d.weights);
  }

 private:
  const Done& at(int stage, int chunk) const {
    return done_[static_cast<std::size_t>(stage)][static_cast<std::size_t>(chunk)];
  }
  /// Microbatches whose activation, or gradient, has come to the chunk.
  int activations(int s, int chunk) const {
    if (chunk == 0) return s == 0 ? microbatches_ : at(s - 1, 0).forward;
    return s + 1 == stages_ ? at(s, 0).forward : at(s + 1, 1).forward;
  }
  int gradients(int s, int chunk) const {
    if (chunk == 1) return s == 0 ? at(s, 1).forward : at(s - 1, 1).input;
    return s + 1 == stages_ ? at(s, 1).input : at(s + 1, 0).input;
  }

  const int stages_, microbatches_;
  std::vector<std::array<Done, kChunks>> done_;  ///< by stage
};

std::optional<Pass> Players::choose(int s) const {
  int held = 0;
  for (int chunk = 0; chunk < kChunks; ++chunk) held += at(s, chunk).forward - at(s, chunk).weights;
  for (int chunk = kChunks - 1; chunk >= 0; --chunk)
    if (const Done& d = at(s, chunk); d.input < gradients(s, chunk) && d.input < d.forward)
      return Pass{PassKind::kBackwardInput, d.input, chunk};
  for (int chunk = kChunks - 1; chunk >= 0; --chunk) {
    const Done& d = at(s, chunk);
    // The first chunk leaves room for those of its microbatches that come back.
    const int coming_back = chunk == 0 ? d.forward - at(s, 1).forward : 0;
    if (held + coming_back < v_slots(stages_) && d.forward < activations(s, chunk))
      return Pass{PassKind::kForward, d.forward, chunk};
  }
  for (int chunk = kChunks - 1; chunk >= 0; --chunk)
    if (const Done& d = at(s, chunk); d.weights < d.input) return Pass{PassKind::kBackwardWeights, d.weights, chunk};
  return std::nullopt;
}

int ticks_of(const PassTicks& ticks, PassKind kind) {
  return kind == PassKind::kForward ? ticks.forward : kind == PassKind::kBackwardInput ? ticks.input : ticks.weights;
}

/// What a stage is at, and until when.
struct Busy {
  std::optional<Pass> pass{};
  std::int64_t until = 0;
};

}  // namespace

std::vector<Pass> v_order(int stages, int stage, int microbatches, const PassTicks& ticks) {
  Players players(stages, microbatches);
  std::vector<Busy> busy(static_cast<std::size_t>(stages));
  std::vector<Pass> own;
  const auto all = static_cast<std::size_t>(microbatches) * kChunks * 3;
  for (std::int64_t now = 0; own.size() < all;) {
    std::int64_t next = std::numeric_limits<std::int64_t>::max();
    for (int s = 0; s < stages; ++s) {
      Busy& b = busy[static_cast<std::size_t>(s)];
      if (!b.pass && (b.pass = players.choose(s))) {
        b.until = now + ticks_of(ticks, b.pass->kind);
        if (s == stage) own.push_back(*b.pass);
      }
      if (b.pass) next = std::min(next, b.until);
    }
    if (next == std::numeric_limits<std::int64_t>::max())
      throw BugError("the V of {} stages and {} microbatches stands still", stages, microbatches);
    now = next;
    for (int s = 0; s < stages; ++s)
      if (Busy& b = busy[static_cast<std::size_t>(s)]; b.pass && b.until == now) {
        players.finish(s, *b.pass);
        b.pass.reset();
      }
  }
  return own;
}

}  // namespace banyan::parallel
