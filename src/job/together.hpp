// Long work on every rank (disk) without silence between ranks: the work runs on a helper thread while the calling
// thread keeps telling the others that it lives.  A dead peer is therefore noticed within comm's own deadline although
// writing may take minutes, and a file system that hangs is told apart from a peer that does.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "comm/communicator.hpp"
#include "src/base/section.hpp"
#include "src/job/task.hpp"

namespace banyan::job {

/// What everybody learns.
struct Verdict {
  std::vector<Outcome> outcomes;  ///< by rank; empty when all succeeded
  bool ok() const { return outcomes.empty(); }
  /// The first failure in rank order that is a cause, its message opening with who it was when there are several ranks.
  const Outcome& first() const;
  /// Throws first() as the error class of its code.
  [[noreturn]] void raise() const;
  void raise_if_failed() const {
    if (!ok()) raise();
  }
};

/// Every rank calls it; `work` may be empty.  Errors of the work are collected, not thrown: every rank returns the same
/// verdict.  When one rank fails, `cancel` is set on the others.  Work that takes longer than `limit` is an IoError on
/// all ranks.  `work` must not use the communicator.
Verdict run_together(comm::Communicator& ranks, std::string_view what, Seconds limit,
                     const std::function<void(const std::atomic<bool>& cancel)>& work);

/// Everyone's text in rank order on rank 0, nothing elsewhere.
std::vector<std::string> gather_strings(comm::Communicator& ranks, const std::string& mine, std::string_view what);

}  // namespace banyan::job
