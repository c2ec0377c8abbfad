#include "src/parallel/v_order.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

#include "src/base/error.hpp"

namespace banyan::parallel {
namespace {

constexpr int kChunks = 2;

/// How many microbatches have been through each kind of pass of a chunk; they go in their order.
struct Done {
  int forward = 0, input = 0, weights = 0;
};

/// What a free stage prefers.
struct Taste {
  int gradients_first;  ///< chunk whose gradients go before the other's
  bool forward_back;    ///< forward passes of the second chunk, which make gradients possible, go before all else
  int owed;             ///< so many gradients of weights go before forward passes; 0: never
};

/// None of them is the best for all times of passes; which one is, is found by playing them.
constexpr std::array kTastes{Taste{1, false, 0}, Taste{1, false, 4}, Taste{1, true, 0}, Taste{1, true, 4},
                             Taste{0, false, 0}, Taste{0, false, 4}, Taste{0, true, 0}, Taste{0, true, 4}};

class Players {
 public:
  Players(int stages, int microbatches, const Taste& taste)
      : stages_(stages), microbatches_(microbatches), taste_(taste), done_(static_cast<std::size_t>(stages)) {}

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

  bool has_room(int s, int chunk) const {
    int held = 0;
    for (int c = 0; c < kChunks; ++c) held += at(s, c).forward - at(s, c).weights;
    // The first chunk leaves room for those of its microbatches that come back.
    const int coming_back = chunk == 0 ? at(s, 0).forward - at(s, 1).forward : 0;
    return held + coming_back < v_slots(stages_);
  }
  std::optional<Pass> forward(int s, int chunk) const {
    const Done& d = at(s, chunk);
    if (d.forward >= activations(s, chunk) || !has_room(s, chunk)) return std::nullopt;
    return Pass{PassKind::kForward, d.forward, chunk};
  }
  std::optional<Pass> input(int s, int chunk) const {
    const Done& d = at(s, chunk);
    if (d.input >= gradients(s, chunk) || d.input >= d.forward) return std::nullopt;
    return Pass{PassKind::kBackwardInput, d.input, chunk};
  }
  std::optional<Pass> weights(int s) const {
    for (int chunk = kChunks - 1; chunk >= 0; --chunk)
      if (const Done& d = at(s, chunk); d.weights < d.input) return Pass{PassKind::kBackwardWeights, d.weights, chunk};
    return std::nullopt;
  }

  const int stages_, microbatches_;
  const Taste taste_;
  std::vector<std::array<Done, kChunks>> done_;  ///< by stage
};

std::optional<Pass> Players::choose(int s) const {
  if (taste_.forward_back)
    if (const auto pass = forward(s, 1)) return pass;
  for (const int chunk : {taste_.gradients_first, 1 - taste_.gradients_first})
    if (const auto pass = input(s, chunk)) return pass;
  int owed = 0;
  for (int chunk = 0; chunk < kChunks; ++chunk) owed += at(s, chunk).input - at(s, chunk).weights;
  if (taste_.owed > 0 && owed >= taste_.owed) return weights(s);
  for (int chunk = kChunks - 1; chunk >= 0; --chunk)
    if (const auto pass = forward(s, chunk)) return pass;
  return weights(s);
}

int ticks_of(const PassTicks& ticks, PassKind kind) {
  return kind == PassKind::kForward ? ticks.forward : kind == PassKind::kBackwardInput ? ticks.input : ticks.weights;
}

/// What a stage is at, and until when.
struct Busy {
  std::optional<Pass> pass{};
  std::int64_t until = 0;
};

/// Plays all stages; `own`, unless it is null, gets the passes of `stage`.  When the last of them ends, in ticks.
std::int64_t play_v(int stages, int microbatches, const PassTicks& ticks, const Taste& taste, int stage,
                    std::vector<Pass>* own) {
  Players players(stages, microbatches, taste);
  std::vector<Busy> busy(static_cast<std::size_t>(stages));
  std::int64_t now = 0, left = std::int64_t{stages} * microbatches * kChunks * 3;
  while (left > 0) {
    std::int64_t next = std::numeric_limits<std::int64_t>::max();
    for (int s = 0; s < stages; ++s) {
      Busy& b = busy[static_cast<std::size_t>(s)];
      if (!b.pass && (b.pass = players.choose(s))) {
        b.until = now + ticks_of(ticks, b.pass->kind);
        if (s == stage && own != nullptr) own->push_back(*b.pass);
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
        --left;
      }
  }
  return now;
}

/// The first of those that are done soonest, and when that is.
std::pair<Taste, std::int64_t> best_taste(int stages, int microbatches, const PassTicks& ticks) {
  std::pair best{kTastes.front(), std::numeric_limits<std::int64_t>::max()};
  for (const Taste& taste : kTastes)
    if (const std::int64_t end = play_v(stages, microbatches, ticks, taste, 0, nullptr); end < best.second)
      best = {taste, end};
  return best;
}

}  // namespace

std::vector<Pass> v_order(int stages, int stage, int microbatches, const PassTicks& ticks) {
  std::vector<Pass> own;
  play_v(stages, microbatches, ticks, best_taste(stages, microbatches, ticks).first, stage, &own);
  return own;
}

std::int64_t v_ticks(int stages, int microbatches, const PassTicks& ticks) {
  return best_taste(stages, microbatches, ticks).second;
}

}  // namespace banyan::parallel
