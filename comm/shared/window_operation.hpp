// Executes a plan that publishes and folds on a shared window: no messages, no scratch.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "comm/interpreter.hpp"
#include "comm/shared/window.hpp"

namespace banyan::comm {

class WindowOperation final : public Operation {
 public:
  /// The plan has publish, fold and copy steps alone, pieces of at most SharedWindow::kSlotBytes.
  WindowOperation(Engine& engine, Execution execution, std::shared_ptr<SharedWindow> window, std::string what,
                  Seconds silence);
  bool advance() override;
  void give_up(bool after_failure) override;
  int waits_for() const override;
  bool woken_by_messages() const override { return false; }

 private:
  View view(const Slice& slice) const;
  bool execute(const Step& step);
  void note(std::size_t bytes, Clock::time_point begin);
  bool publish(const Step& step);
  bool fold(const Step& step);
  void combine(const View& target, int own);

  Engine& engine_;
  const Execution execution_;
  const std::shared_ptr<SharedWindow> window_;
  const std::uint64_t ticket_;
  std::size_t next_ = 0;  // first step not executed
  std::uint64_t seen_ = 0;
  const bool both_;                      // every member publishes and folds
  std::vector<const std::byte*> terms_;  // of the fold at hand
};

}  // namespace banyan::comm
