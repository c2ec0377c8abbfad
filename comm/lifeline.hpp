// The Lifeline is a second way between the ranks, apart from the Transport, and used for three things only: to notice
// that a process is gone, to say why one leaves, and to leave together.  Once something failed the Transport is not
// touched again: messages under way may refer to memory that no longer exists.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "comm/beats.hpp"
#include "comm/communicator.hpp"
#include "src/base/section.hpp"

namespace banyan::comm {

class Lifeline {
 public:
  virtual ~Lifeline() = default;
  /// Takes note of what happened; never blocks.
  virtual void poll() = 0;
  /// The first failure of another rank that was announced or noticed.
  virtual const std::optional<PeerFailure>& announced() const = 0;
  /// Tells all other ranks, within a second, as far as they can be reached.
  virtual void announce(const PeerFailure& failure) = 0;
  /// Waits until every rank that is still there calls it too; true when none was missing.  Called at most once.
  virtual bool meet(Seconds deadline) = 0;
  /// Tells the others that this rank has waited long for another one; -1: no longer.  Never blocks.
  virtual void waits(int /*for_rank*/) {}
  /// Somebody told that it has waited long for this rank.
  virtual bool is_waited_for() const { return false; }
  /// Who is to blame when this rank waits for `waited` in vain, as far as it has heard (comm/wait_graph.hpp).
  virtual int suspect(int waited) const { return waited; }
  /// This rank finished a piece of work and is at `where` now.  Never blocks; may be called often.
  virtual void beat(std::string_view /*where*/) {}
  /// What was last heard of a rank's work; nullptr for nothing, and for -1.
  virtual const Beat* last_beat(int /*rank*/) const { return nullptr; }
  /// This process ends in good order; nobody is to wonder.
  virtual void leave() = 0;
};

}  // namespace banyan::comm
