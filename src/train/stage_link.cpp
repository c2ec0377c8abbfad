#include "src/train/stage_link.hpp"

namespace banyan::train {

using parallel::Action;

StageLink::StageLink(job::Team& team, Queue queue)
    : team_(team), queue_(queue), posted_(static_cast<std::size_t>(team.stage->spec().slots)) {
  if (!team_.pipeline) return;
  model::Stage& stage = *team_.stage;
  const auto pin = [&](View memory) { pinned_.push_back(team_.pipeline->pin(memory)); };
  for (int slot = 0; slot < stage.spec().slots; ++slot) {
    for (int chunk = 0; chunk < model::chunk_count(stage.spec()); ++chunk) {
      pin(stage.input(slot, chunk));
      pin(stage.output(slot, chunk));
    }
    if (stage.spec().gradients) pin(stage.d_output(slot));
    if (stage.spec().gradients) pin(stage.d_input(slot));
  }
}

StageLink::Posted& StageLink::at(int slot) { return posted_.at(static_cast<std::size_t>(slot)); }

// Two stages have the same neighbouring places in the same direction once per round through the stages.
int StageLink::activation_channel(int place) const { return 2 * (place / team_.layout.mesh.pipeline); }
int StageLink::gradient_channel(int place) const { return activation_channel(place) + 1; }

void StageLink::receive_activation(const Action& a) {
  await_free(a.slot);
  at(a.slot).activation_in =
      team_.pipeline->receive(queue_, team_.stage->input(a.slot, a.chunk), a.peer, activation_channel(a.place - 1),
                              "the activation of the previous stage");
}

void StageLink::send_activation(const Action& a) {
  at(a.slot).activation_out = team_.pipeline->send(queue_, team_.stage->output(a.slot, a.chunk), a.peer,
                                                   activation_channel(a.place), "the next stage to take an activation");
}

void StageLink::receive_gradient(const Action& a) {
  at(a.slot).gradient_out.wait();  // it lies where this one will
  at(a.slot).gradient_in = team_.pipeline->receive(queue_, team_.stage->d_output(a.slot), a.peer,
                                                   gradient_channel(a.place), "the gradient of the next stage");
}

void StageLink::send_gradient(const Action& a) {
  at(a.slot).gradient_out =
      team_.pipeline->send(queue_, team_.stage->d_input(a.slot), a.peer, gradient_channel(a.place - 1),
                           "the previous stage to take a gradient");
}

void StageLink::await_free(int slot) { at(slot).activation_out.wait(); }

void StageLink::await_activation(int slot) { at(slot).activation_in.wait(); }

void StageLink::await_gradient(int slot) {
  at(slot).gradient_out.wait();
  at(slot).gradient_in.wait();
}

void StageLink::finish() {
  for (std::size_t i = 0; i < posted_.size(); ++i) {
    await_free(static_cast<int>(i));
    await_activation(static_cast<int>(i));
    await_gradient(static_cast<int>(i));
  }
}

}  // namespace banyan::train
