#include "comm/plans/to_messages.hpp"

#include <algorithm>
#include <utility>

#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

bool combines(const Step& step) { return step.kind == Step::Kind::kFold && step.operands.size() > 1; }

class Lowering {
 public:
  explicit Lowering(const Plan& plan) : plan_(plan), slots_(plan.steps.size()) {
    out_.name = plan.name;
    for (const Step& step : plan.steps) {
      if (!combines(step)) continue;
      const auto peers = std::count_if(step.operands.begin(), step.operands.end(), [](auto& o) { return o.peer >= 0; });
      set_size_ = std::max(set_size_, peers * step.target.count);
    }
  }

  Plan run() {
    for (std::size_t i = 0; i < plan_.steps.size(); ++i) {
      const Step& step = plan_.steps[i];
      switch (step.kind) {
        case Step::Kind::kPublish:
          for (int peer : step.peers) out_.send(peer, step.source);
          break;
        case Step::Kind::kFold:
          if (posted_ <= i) post(i);
          if (combines(step)) look_ahead(i);
          combine(i);
          break;
        default:
          out_.steps.push_back(step);
          out_.steps.back().needs.clear();
      }
    }
    return std::move(out_).finish();
  }

 private:
  // Posts what fold `i` receives.  A single term goes where it belongs, terms to be combined into scratch, into one of
  // two sets in turn: one is combined while the other fills.
  void post(std::size_t i) {
    const Step& step = plan_.steps[i];
    posted_ = i + 1;
    if (step.kind != Step::Kind::kFold) return;
    std::int64_t at = plan_.scratch + set_ * set_size_;
    if (combines(step)) set_ = 1 - set_;
    for (const Operand& operand : step.operands) {
      if (operand.peer < 0) {
        slots_[i].push_back(operand.slice);
      } else if (!combines(step)) {
        slots_[i].push_back(step.target);
        out_.receive(operand.peer, step.target);
      } else {
        slots_[i].push_back({Buffer::kScratch, at, step.target.count});
        out_.receive(operand.peer, slots_[i].back());
        at += step.target.count;
      }
    }
  }

  // Before the terms of fold `i` are combined, which waits for them, everything up to the next such fold is posted.
  void look_ahead(std::size_t i) {
    for (std::size_t next = posted_; next < plan_.steps.size(); ++next) {
      const Step& step = plan_.steps[next];
      if (step.kind == Step::Kind::kFold) {
        if (!combines(step) && touched(i, next, step.target)) return;
        while (posted_ <= next) post(posted_);
      } else if (step.kind != Step::Kind::kPublish) {
        return;
      }
      if (combines(step)) return;
    }
  }

  // Whether a step of [first, last) reads or writes this memory.
  bool touched(std::size_t first, std::size_t last, const Slice& memory) const {
    for (std::size_t i = first; i < last; ++i) {
      const Step& step = plan_.steps[i];
      if (memory.overlaps(step.source) || memory.overlaps(step.target)) return true;
      for (const Operand& o : step.operands)
        if (o.peer < 0 && memory.overlaps(o.slice)) return true;
    }
    return false;
  }

  // ((o0 op o1) op o2) ... into the target, which may itself be one of the terms: until its turn has come the sum is
  // kept in the first term's scratch.
  void combine(std::size_t i) {
    const Step& step = plan_.steps[i];
    const auto& terms = slots_[i];
    if (terms.size() == 1) {
      if (step.operands[0].peer < 0) out_.copy(step.target, terms[0]);
      return;
    }
    std::size_t busy = 0;  // the own term; input and output may be the same memory
    for (std::size_t t = 1; t < terms.size(); ++t)
      if (step.operands[t].peer < 0) busy = t;
    if (busy > 0 && step.operands[0].peer < 0)
      throw BugError("{}: step {} folds two terms of its own rank", plan_.name, i);
    Slice sum = terms[0];
    for (std::size_t t = 1; t < terms.size(); ++t) {
      const Slice into = t < busy ? terms[0] : step.target;
      out_.reduce(into, sum, terms[t]);
      sum = into;
    }
  }

  const Plan& plan_;
  Plan out_;
  std::vector<std::vector<Slice>> slots_;  // where the terms of each fold are
  std::int64_t set_size_ = 0;              // elements of scratch that a fold needs at most
  int set_ = 0;
  std::size_t posted_ = 0;  // folds before this step have their receives posted
};

}  // namespace

Plan to_messages(Plan plan) {
  if (!plan.folds()) return plan;
  return Lowering(plan).run();
}

}  // namespace banyan::comm
