// The messages between neighbouring places of the pipeline.  Sends and receives are posted, not waited for; a slot is
// waited for when it is used next:
//   what is received is waited for before it is computed with, an activation that is sent before its slot is loaded
//   again, a gradient that is sent before the slot's next one is received or made.
// That, and schedules that play() has accepted, is what keeps pipelines free of deadlock.
#pragma once

#include <memory>
#include <vector>

#include "src/job/setup.hpp"
#include "src/parallel/schedule.hpp"

namespace banyan::train {

class StageLink {
 public:
  /// The team outlives this object.
  StageLink(job::Team& team, Queue queue);

  void receive_activation(const parallel::Action& a);
  void send_activation(const parallel::Action& a);
  void receive_gradient(const parallel::Action& a);
  void send_gradient(const parallel::Action& a);

  /// Waits for the activation sent from the slot, so that it can hold another microbatch.
  void await_free(int slot);
  /// Waits for what the forward (backward) pass of the slot reads, and for the gradient sent from where the backward
  /// pass makes its own.
  void await_activation(int slot);
  void await_gradient(int slot);
  /// Waits for everything posted; at the end of a step nothing is under way.
  void finish();

 private:
  struct Posted {
    Event activation_in, activation_out, gradient_in, gradient_out;
  };
  Posted& at(int slot);
  /// Of messages between a place and the next: which of them the two stages have between them tells them apart.
  int activation_channel(int place) const;
  int gradient_channel(int place) const;

  job::Team& team_;
  const Queue queue_;
  std::vector<std::shared_ptr<const void>> pinned_;  ///< what messages come from and go to
  std::vector<Posted> posted_;
};

}  // namespace banyan::train
