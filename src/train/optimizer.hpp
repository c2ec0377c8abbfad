// AdamW (Loshchilov & Hutter, ICLR'19, algorithm 2) over the parameters of a stage.  The state (m, v; fp32) covers the
// rows this data rank updates: all of them, or with ZeRO-1 the rows it owns.  Matrices decay, vectors never do.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "src/config/config.hpp"
#include "src/train/grad_sync.hpp"

namespace banyan::train {

/// Moments of rows [rows.begin, rows.end) of one local parameter.
struct MomentSlab {
  int param = 0;      ///< index into Stage::params()
  model::Range rows;  ///< of the local tensor
  View m, v;          ///< shape of those rows, fp32
};

class Optimizer {
 public:
  /// The team and grad_sync outlive this object.  Moments start at zero.
  Optimizer(job::Team& team, const GradSync& grad_sync, const config::optimizer_section& options, Queue queue);
  ~Optimizer();
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// One update of the rows this rank updates; `updates` counts from 1 (bias correction).  The gradient is multiplied
  /// by `grad_scale` first.
  void update(std::int64_t updates, double lr, double grad_scale);

  /// For checkpoints, in the order of Stage::params(); parameters of which this rank updates no row are left out.
  std::vector<MomentSlab>& state() { return state_; }
  /// Factor that brings a gradient of this norm down to optimizer.clip; 1 when it is within or clipping is off.
  double clip_factor(double norm) const;

 private:
  job::Team& team_;
  const config::optimizer_section options_;
  const Queue queue_;
  std::vector<MomentSlab> state_;
  std::byte* memory_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace banyan::train
