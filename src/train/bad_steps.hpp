// What happens to a step whose numbers are wrong: a loss or a gradient that is not finite, or a loss far above those
// before it.  All ranks judge alike, since all are told the same; what decides is kept in checkpoints, so that a job
// that comes back judges like one that never left.  Pure but for the sentence it throws.
//
// A. Chowdhery et al., "PaLM", 2022, section 5.1, went back to a checkpoint before a spike and left out the data around
// it; that is `rollback`.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "src/config/config.hpp"
#include "src/train/loss_stats.hpp"

namespace banyan::train {

enum class Judgement : std::uint8_t { kGood, kSkip, kRollBack };

/// Batches of the data order, numbered from 0, first and last.
using BatchRange = std::pair<std::int64_t, std::int64_t>;

class BadSteps {
 public:
  /// train.on_bad_step, train.spike, train.bad_steps.
  explicit BadSteps(const config::Config& config);

  /// Judges step `step`, 0-based, which trained on `batch`.  `wrong`: what is not finite, in words; empty when all is.
  /// NumericsError when the policy is to stop, or after too many bad steps in a row.
  Judgement judge(std::int64_t step, std::int64_t batch, double loss, const std::string& wrong);
  /// It has thrown.  The same on all ranks, unlike other errors.
  bool given_up() const { return given_up_; }
  /// Deviations by which the last loss lay above those before it; 0 where it was not finite.
  double z() const { return z_; }
  /// Of the last bad step, in words.
  const std::string& why() const { return why_; }
  /// Of a job that went back to a checkpoint: batches `first` to `last`, the bad step's, are left out; `in_a_row` bad
  /// steps have come since the last good one.
  void roll_back(std::int64_t first, std::int64_t last, std::int64_t in_a_row);
  std::int64_t in_a_row() const { return in_a_row_; }
  /// Bad steps judged so far.
  std::int64_t seen() const { return seen_; }
  /// A checkpoint is there: whoever goes back comes to the last `since` bad steps again, but to none before them.
  void committed(std::int64_t since);
  /// Batches whose updates were dropped, in order.
  const std::vector<BatchRange>& dropped() const { return dropped_; }

  /// What a checkpoint keeps, and how it is read again.  DataError naming `source` for anything else.
  std::string losses_text() const { return stats_.text(); }
  std::string dropped_text() const;
  void restore(const std::string& losses, const std::string& dropped, const std::string& source);

 private:
  enum class Policy : std::uint8_t { kStop, kSkip, kRollBack } policy_;
  double spike_;
  std::int64_t most_;
  LossStats stats_;
  double z_ = 0;
  std::int64_t in_a_row_ = 0, seen_ = 0;
  std::string why_;
  bool given_up_ = false;
  std::vector<BatchRange> dropped_;
};

}  // namespace banyan::train
