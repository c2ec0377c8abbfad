// What a pass over a schedule is given by other stages and what it makes of that, as checksums in the order of the
// schedule.  Two passes over the same batch with the same parameters leave equal traces, on whichever rank; of two that
// differ, the first difference tells whether this stage made it or was given it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "src/base/view.hpp"
#include "src/model/local_params.hpp"

namespace banyan::train {

class Trace {
 public:
  enum class What : std::uint8_t { kGivenActivation, kGivenGradient, kActivation, kInputGradient, kLoss, kGradient };

  /// Of a microbatch, or of the gradient of parameter `index`.  Host memory.
  void note(What what, int index, ConstView values);
  void note(What what, int index, double value);

  /// In the order of the notes; passes over the same schedule have equally many.
  const std::vector<std::uint64_t>& sums() const { return sums_; }
  /// Whether this stage made what note `i` is about.
  bool made(std::size_t i) const { return notes_[i].what >= What::kActivation; }
  /// "the gradient of blocks.3.attn.q.weight"
  std::string describe(std::size_t i, const std::vector<model::LocalParam>& params) const;

 private:
  struct Note {
    What what;
    int index;
  };
  std::vector<Note> notes_;
  std::vector<std::uint64_t> sums_;
};

}  // namespace banyan::train
