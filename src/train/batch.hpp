// The microbatches of a data rank's share of a global batch.  Sample number = batch number * sequences of a batch +
// place in the batch, whatever the mesh.
#pragma once

#include <cstdint>
#include <vector>

#include "src/job/setup.hpp"
#include "src/train/samples.hpp"

namespace banyan::train {

class BatchReader {
 public:
  /// Team and samples outlive this object.  `train`: with dropout and a backward pass to come.  Reads the share of
  /// another data rank when `data_rank` is not negative.
  BatchReader(const job::Team& team, Samples& samples, bool train, int data_rank = -1);

  /// The next microbatches belong to this global batch.
  void begin(std::int64_t batch);
  /// Microbatch i of the data rank for a model chunk of the stage; the spans are good until the next call.
  model::MicrobatchData microbatch(int i, int chunk = 0);
  /// Tokens with a target that were read for the stage's last chunk since begin().
  std::int64_t tokens() const { return tokens_; }
  Samples& samples() const { return samples_; }

 private:
  const job::Team& team_;
  Samples& samples_;
  const bool train_;
  const int data_rank_;
  std::int64_t batch_ = 0, tokens_ = 0;
  std::vector<std::int32_t> sample_, tokens_R_, targets_R_;
  std::vector<std::int64_t> sample_R_;
};

}  // namespace banyan::train
