// A team on loopback ranks, as job::Job::assemble makes it for generation, with parameters that are a function of the
// seed: the real communicators, backend and stages of a small model without files or processes.
#pragma once

#include <functional>
#include <memory>

#include "comm/communicator.hpp"
#include "kernels/backend.hpp"
#include "src/job/setup.hpp"
#include "src/plan/layout.hpp"
#include "tests/plan/test_config.hpp"

namespace banyan::infer {

inline config::Config small_config(bool llama) {
  config::Config c = plan::gpt2_124m();
  c.model.layers = 4;
  c.model.width = 32;
  c.model.heads = 4;
  c.model.kv_heads = llama ? 2 : 4;
  c.model.context = 48;
  c.model.vocab = 101;
  // Large enough that logits differ clearly from token to token.
  c.model.init_std = 0.2;
  if (llama) {
    c.model.norm = "rms";
    c.model.position = "rotary";
    c.model.mlp = "swiglu";
    c.model.bias = false;
    c.model.tied = false;
  }
  return c;
}

struct TestTeam {
  std::unique_ptr<kernels::Backend> backend;
  std::unique_ptr<job::Team> team;

  TestTeam(comm::World& world, config::Config config, int tensor, int pipeline) {
    config.parallel.tensor = tensor;
    config.parallel.pipeline = pipeline;
    backend = kernels::make_cpu_backend({.threads = 1, .max_isa = ""});
    kernels::Backend* b = backend.get();
    world.configure(
        {},
        [b](Queue q, View out, ConstView x, ConstView y, comm::ReduceOp op) {
          b->reduce(q, out, x, y, static_cast<kernels::ReduceOp>(op));
        },
        [b](Queue q, View out, ConstView in) { b->copy(q, out, in); });
    plan::Layout layout = plan::make_layout(config, world.size(), 0, plan::Use::kGenerate);
    std::vector<int> processes;
    for (int i = 0; i < layout.mesh.size(); ++i) processes.push_back(i);
    const parallel::Mesh mesh(layout.mesh, processes);
    const parallel::Coordinate at = mesh.coordinate(world.rank());
    team.reset(new job::Team{.layout = layout, .mesh = mesh, .at = at});
    team->all = world.group(mesh.all(), 2, "mesh");
    if (tensor > 1) team->tensor = world.group(mesh.tensor_group(at), 3, "tensor group");
    if (layout.mesh.data > 1) team->data = world.group(mesh.data_group(at), 4, "data group");
    if (pipeline > 1) team->pipeline = world.group(mesh.pipeline_group(at), 5, "pipeline");
    team->backend = b;
    team->stage = model::Stage::make(layout.stage_spec(at), *b, team->tensor.get());
    team->stage->init_params(3);
  }
};

}  // namespace banyan::infer
