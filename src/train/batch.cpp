#include "src/train/batch.hpp"

#include <algorithm>

namespace banyan::train {

BatchReader::BatchReader(const job::Team& team, Samples& samples, bool train, int data_rank)
    : team_(team), samples_(samples), train_(train), data_rank_(data_rank < 0 ? team.at.data : data_rank) {
  const auto rows = static_cast<std::size_t>(team.layout.sequences * team.layout.model.context);
  sample_.resize(static_cast<std::size_t>(team.layout.model.context + 1));
  tokens_R_.resize(rows);
  targets_R_.resize(rows);
  sample_R_.resize(rows);
}

void BatchReader::begin(std::int64_t batch) {
  batch_ = batch;
  tokens_ = 0;
}

model::MicrobatchData BatchReader::microbatch(int i, int chunk) {
  const plan::Layout& l = team_.layout;
  const auto length = static_cast<std::size_t>(l.model.context);
  const std::int64_t first = batch_ * l.batch() + (l.microbatches_of(data_rank_).first + i) * l.sequences;
  for (std::int64_t s = 0; s < l.sequences; ++s) {
    samples_.read(first + s, sample_);
    const std::size_t row = static_cast<std::size_t>(s) * length;
    for (std::size_t t = 0; t < length; ++t) {
      tokens_R_[row + t] = std::max(sample_[t], 0);
      targets_R_[row + t] = sample_[t + 1];
      if (sample_[t + 1] >= 0 && chunk + 1 == l.chunks) ++tokens_;
    }
    std::fill_n(sample_R_.begin() + static_cast<std::ptrdiff_t>(row), length, first + s);
  }
  return {.chunk = chunk,
          .tokens = tokens_R_,
          .targets = targets_R_,
          .sample = sample_R_,
          .step = batch_,
          .loss_scale = static_cast<float>(1.0 / static_cast<double>(l.tokens_per_batch())),
          .train = train_};
}

}  // namespace banyan::train
