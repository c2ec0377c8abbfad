// Audits: does every rank compute what another one computes from the same numbers?  Memory and processors that go wrong
// silently are common enough among thousands (Dixit et al., "Silent Data Corruptions at Scale", 2021).  In an audited
// step
//
//   1. copies that must be equal are compared (replicas.hpp),
//   2. data rank i computes the share of data rank i + 1 as well, forward and backward, before its own,
//   3. the two compare checksums of losses, activations and gradients, the latter before they are added to others'.
//
// With one data rank it is the same rank that computes twice, which finds what goes wrong once.  Where two differ, both
// compute again and a third data rank too: who cannot repeat itself or is alone with its bits is named.  Equal bits
// need equal processors and threads; where the data ranks of a stage differ in them only step 1 is done, and rank 0
// says so.
//
// Nothing that training goes on with is touched, so losses and values are those without audits, to the bit.
#pragma once

#include <cstdint>

#include "src/train/step.hpp"

namespace banyan::train {

class Audit {
 public:
  /// Audits every `every` steps.  Called by all working ranks; the trainer outlives this object.
  Audit(Trainer& trainer, std::int64_t every);

  /// Whether step `step`, 0-based, is audited.
  bool due(std::int64_t step) const { return (step + 1) % every_ == 0; }
  /// Trainer::compute_gradients of an audited step.  Called by all working ranks.  CommError naming rank and host of
  /// who went wrong, the same on all of them, before anything is updated.
  StepShare compute_gradients(std::int64_t step, StepReport& report);

 private:
  /// A pass over the share of the data rank `ahead` of this one; no gradient leaves the rank.
  Trace compute_for(int ahead, std::int64_t step);
  /// What the data rank `ahead` of this one has made for it, by the sums that this one has made for the rank as far
  /// behind.
  std::vector<std::uint64_t> exchange(const Trace& mine, int ahead, std::size_t expected);
  [[noreturn]] void accuse(std::int64_t step, const Trace& own, const std::vector<std::uint64_t>& stand_in);
  /// World rank of the data rank `ahead` of this one in the same place otherwise.
  int process(int ahead) const;

  Trainer& t_;
  const std::int64_t every_;
  const int data_ranks_;
  bool alike_ = true;  ///< equal bits can be expected of the data ranks
};

}  // namespace banyan::train
