// A team on loopback ranks for tests: the real communicators, backend and stage of a small model, without Job or
// config.
#pragma once

#include <memory>

#include "comm/communicator.hpp"
#include "kernels/backend.hpp"
#include "src/job/setup.hpp"

namespace banyan::train {

struct TestTeam {
  std::unique_ptr<kernels::Backend> backend;
  std::unique_ptr<job::Team> team;

  /// Two blocks; `parts` backward parts per stage.
  TestTeam(comm::World& world, parallel::MeshShape shape, bool tied, bool sequence = false) {
    backend = kernels::make_cpu_backend({.threads = 1, .max_isa = ""});
    kernels::Backend* b = backend.get();
    world.configure(
        {},
        [b](Queue q, View out, ConstView x, ConstView y, comm::ReduceOp op) {
          b->reduce(q, out, x, y, static_cast<kernels::ReduceOp>(op));
        },
        [b](Queue q, View out, ConstView in) { b->copy(q, out, in); });
    std::vector<int> processes;
    for (int i = 0; i < shape.size(); ++i) processes.push_back(i);
    const parallel::Mesh mesh(shape, processes);
    const parallel::Coordinate at = mesh.coordinate(world.rank());
    team.reset(new job::Team{.layout = {}, .mesh = mesh, .at = at});
    team->layout.mesh = shape;
    team->all = world.group(mesh.all(), 2, "mesh");
    if (shape.tensor > 1) team->tensor = world.group(mesh.tensor_group(at), 3, "tensor group");
    if (shape.data > 1) team->data = world.group(mesh.data_group(at), 4, "data group");
    const std::vector<int> column = mesh.pipeline_group(at);
    if (shape.pipeline > 1) team->pipeline = world.group(column, 5, "pipeline");
    if (shape.pipeline > 1 && tied && (team->first_stage() || team->last_stage()))
      team->tied = world.group({column.front(), column.back()}, 6, "tied embedding");
    team->backend = b;
    model::StageSpec spec;
    spec.shape = {.layers = 4, .width = 8, .heads = 4, .kv_heads = 4, .ffn = 12, .context = 4, .vocab = 10};
    spec.shape.tied = tied;
    const std::int64_t blocks = spec.shape.layers / shape.pipeline;
    spec.first_block = at.pipeline * blocks;
    spec.last_block = spec.first_block + blocks;
    spec.has_embedding = team->first_stage();
    spec.has_head = team->last_stage();
    spec.tensor_rank = at.tensor;
    spec.tensor_size = shape.tensor;
    spec.sequence = sequence;
    spec.length = 4;
    spec.part_blocks.assign(static_cast<std::size_t>(blocks), 1);
    team->stage = model::Stage::make(spec, *b, team->tensor.get());
    team->stage->init_params(3);
  }
  std::vector<model::LocalParam>& params() { return team->stage->params(); }
};

}  // namespace banyan::train
