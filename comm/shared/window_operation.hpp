// Executes a plan that publishes and folds on a shared window: no messages, no scratch.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "comm/interpreter.hpp"
#include "comm/shared/window.hpp"

namespace banyan::comm {

/// How far such a plan is.
class WindowRun {
 public:
  /// The plan has publish, fold and copy steps alone, pieces of at most SharedWindow::kPieceBytes.
  WindowRun(Engine& engine, Execution execution, std::shared_ptr<SharedWindow> window);
  /// Does what can be done now, up to a limit; true when something moved.  CommError when lengths do not agree.
  bool advance();
  bool done() const { return next_ == execution_.plan->steps.size() && window_->turn > ticket_; }
  /// World rank that is waited for just now.
  int waits_for() const;

 private:
  View view(const Slice& slice) const;
  bool execute(const Step& step);
  CopyChoice& copies() { return execution_.plan->symmetric ? window_->alike : window_->single; }
  void note(CopyChoice::Work work, std::size_t bytes, Clock::time_point begin);
  bool publish(const Step& step);
  bool fold(const Step& step);
  void combine(const View& target, int own);
  bool is_large() const;
  void move(const View& target, const std::byte* from) const;

  Engine* engine_;
  Execution execution_;
  std::shared_ptr<SharedWindow> window_;
  std::uint64_t ticket_;
  std::size_t next_ = 0;  // first step not executed
  std::uint64_t seen_ = 0;
};

/// One that somebody waits for.
class WindowOperation final : public Operation {
 public:
  WindowOperation(Engine& engine, WindowRun run, Label label, Seconds silence)
      : Operation(engine, std::move(label), silence), run_(std::move(run)) {}
  bool advance() override;
  void give_up(bool) override {}  // nobody else writes to this rank's memory
  int waits_for() const override { return run_.waits_for(); }
  bool woken_by_messages() const override { return false; }

 private:
  WindowRun run_;
};

}  // namespace banyan::comm
