#include "src/train/stage_link.hpp"

namespace banyan::train {
namespace {

constexpr int kActivationChannel = 0, kGradientChannel = 1;

}  // namespace

StageLink::StageLink(job::Team& team, Queue queue)
    : team_(team), queue_(queue), posted_(static_cast<std::size_t>(team.stage->spec().slots)) {
  if (!team_.pipeline) return;
  model::Stage& stage = *team_.stage;
  const auto pin = [&](View memory) { pinned_.push_back(team_.pipeline->pin(memory)); };
  for (int slot = 0; slot < stage.spec().slots; ++slot) {
    pin(stage.input(slot));
    pin(stage.output(slot));
    if (stage.spec().gradients) pin(stage.d_output(slot));
    if (stage.spec().gradients) pin(stage.d_input(slot));
  }
}

StageLink::Posted& StageLink::at(int slot) { return posted_.at(static_cast<std::size_t>(slot)); }

void StageLink::receive_activation(int slot) {
  await_free(slot);
  at(slot).activation_in = team_.pipeline->receive(queue_, team_.stage->input(slot), team_.at.pipeline - 1,
                                                   kActivationChannel, "the activation of the previous stage");
}

void StageLink::send_activation(int slot) {
  at(slot).activation_out = team_.pipeline->send(queue_, team_.stage->output(slot), team_.at.pipeline + 1,
                                                 kActivationChannel, "the next stage to take an activation");
}

void StageLink::receive_gradient(int slot) {
  at(slot).gradient_out.wait();  // it lies where this one will
  at(slot).gradient_in = team_.pipeline->receive(queue_, team_.stage->d_output(slot), team_.at.pipeline + 1,
                                                 kGradientChannel, "the gradient of the next stage");
}

void StageLink::send_gradient(int slot) {
  at(slot).gradient_out = team_.pipeline->send(queue_, team_.stage->d_input(slot), team_.at.pipeline - 1,
                                               kGradientChannel, "the previous stage to take a gradient");
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
