#include "comm/plans/plan.hpp"

#include <algorithm>
#include <utility>

namespace banyan::comm {
namespace {

// `earlier` is a message.
bool touches_before(const Step& earlier, const Step& later) {
  const bool receives = earlier.kind == Step::Kind::kReceive;
  const Slice& used = receives ? earlier.target : earlier.source;
  if (used.overlaps(later.target)) return true;
  if (!receives) return false;
  return used.overlaps(later.source) || used.overlaps(later.left) ||
         std::any_of(later.operands.begin(), later.operands.end(),
                     [&](const Operand& o) { return o.peer < 0 && used.overlaps(o.slice); });
}

}  // namespace

Plan Plan::finish() && {
  std::vector<int> open;  // messages no step needed so far
  for (std::size_t i = 0; i < steps.size(); ++i) {
    Step& step = steps[i];
    for (const Slice& s : {step.source, step.target, step.left})
      if (s.buffer == Buffer::kScratch) scratch = std::max(scratch, s.end());
    // Reductions and copies are complete when they are issued, and steps are issued in order: only messages can be
    // late.
    std::erase_if(open, [&](int j) {
      if (std::find(step.needs.begin(), step.needs.end(), j) != step.needs.end()) return true;
      if (!touches_before(steps[static_cast<std::size_t>(j)], step)) return false;
      step.needs.push_back(j);
      return true;
    });
    if (step.kind == Step::Kind::kSend || step.kind == Step::Kind::kReceive) open.push_back(static_cast<int>(i));
  }
  return std::move(*this);
}

bool Plan::folds() const {
  return std::any_of(steps.begin(), steps.end(),
                     [](const Step& s) { return s.kind == Step::Kind::kPublish || s.kind == Step::Kind::kFold; });
}

Parts::Parts(std::vector<std::int64_t> counts) : counts_(std::move(counts)), begins_{0} {
  for (std::int64_t c : counts_) begins_.push_back(begins_.back() + c);
}

Parts Parts::even(std::int64_t total, int parts) {
  std::vector<std::int64_t> counts;
  for (std::int64_t i = 0; i < parts; ++i) counts.push_back((i + 1) * total / parts - i * total / parts);
  return Parts(std::move(counts));
}

std::vector<Slice> pieces(Slice slice, std::int64_t piece) {
  std::vector<Slice> out;
  for (std::int64_t at = slice.begin; at < slice.end(); at += piece)
    out.push_back({slice.buffer, at, std::min(piece, slice.end() - at)});
  return out;
}

}  // namespace banyan::comm
