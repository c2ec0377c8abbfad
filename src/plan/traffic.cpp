#include "src/plan/traffic.hpp"

#include <algorithm>
#include <numeric>

#include "src/model/local_params.hpp"
#include "src/model/row_blocks.hpp"
#include "src/parallel/fill.hpp"
#include "src/plan/cost.hpp"

namespace banyan::plan {
namespace {

constexpr double kBytes = 4;  // of an element of a tied embedding's gradient on its way

}  // namespace

Demand demand_of(const Layout& layout) {
  Demand demand;
  const parallel::MeshShape& mesh = layout.mesh;
  const double tokens = static_cast<double>(layout.sequences * layout.model.context);
  const double stream =
      tokens * static_cast<double>(layout.model.width) * static_cast<double>(size_of(layout.activations));
  const double microbatches = static_cast<double>(layout.microbatches_of(0).count);
  const bool trains = layout.use == Use::kTrain;
  demand.microbatches = microbatches;
  demand.trains = trains;
  demand.gpipe = layout.schedule == parallel::ScheduleKind::kGpipe;
  demand.fill = parallel::fill_share(layout.schedule, mesh.pipeline, layout.chunks,
                                     static_cast<int>(layout.microbatches_of(0).count), pass_ticks(layout.model));
  demand.chunks = layout.chunks;
  for (int s = 0; s < mesh.pipeline; ++s) {
    // Two reductions of the residual stream in each direction of a block, two more when it is computed again; one of
    // the embedded tokens, and one of the gradient that the head makes in its forward pass.
    const auto blocks = static_cast<double>(layout.blocks_of(s));
    Calls calls;
    if (mesh.tensor > 1) {
      const double ends = (s == 0) + (trains && s == layout.head_stage());
      calls = {microbatches * (2 * blocks + ends),
               trains ? microbatches * blocks * (layout.recompute == model::Recompute::kBlock ? 4 : 2) : 0};
    }
    demand.tensor.push_back(calls.total() * stream);
    const auto pieces = static_cast<double>(
        model::row_blocks(layout.sequences * layout.model.context, layout.tensor_blocks, mesh.tensor, layout.sequence)
            .size());
    demand.tensor_calls.push_back({calls.forward * pieces, calls.backward * pieces});
  }
  if (mesh.pipeline > 1) {
    const double once = microbatches * (layout.sequence ? stream / mesh.tensor : stream);
    demand.pipeline = once * layout.chunks;
    if (layout.schedule == parallel::ScheduleKind::kInterleaved) demand.around = once * (layout.chunks - 1);
  }
  for (int s = 0; s < mesh.pipeline; ++s) {
    double bytes = 0;
    if (trains && mesh.data > 1)
      for (const model::LocalParam& p : model::local_params(layout.stage_spec({.pipeline = s}))) {
        // There as a gradient, back as the sum or, with ZeRO-1, as the updated parameter.
        const auto there = static_cast<double>(size_of(layout.gradients));
        const double back = !layout.zero ? there : p.spread ? 2 : 4;
        bytes += static_cast<double>(p.count.count()) * (there + back) / 2;
      }
    demand.data.push_back(bytes);
  }
  if (trains && layout.ties_stages())
    demand.tied = static_cast<double>(layout.model.vocab * layout.model.width) / mesh.tensor * kBytes;
  return demand;
}

std::vector<Flow> flows_of(const parallel::MeshShape& shape, const Demand& demand) {
  std::vector<int> logical(static_cast<std::size_t>(shape.size()));
  std::iota(logical.begin(), logical.end(), 0);
  const parallel::Mesh mesh(shape, std::move(logical));
  std::vector<Flow> flows;
  const auto add = [&](MeshAxis axis, double bytes, std::vector<int> members, int stage) {
    if (members.size() > 1 && bytes > 0) flows.push_back({axis, bytes, std::move(members), stage});
  };
  for (int i = 0; i < shape.size(); ++i) {
    const parallel::Coordinate c = mesh.coordinate(i);
    if (c.tensor == 0)
      add(MeshAxis::kTensor, demand.tensor[static_cast<std::size_t>(c.pipeline)], mesh.tensor_group(c), c.pipeline);
    if (c.data == 0)
      add(MeshAxis::kData, demand.data[static_cast<std::size_t>(c.pipeline)], mesh.data_group(c), c.pipeline);
    if (c.pipeline > 0) continue;
    const std::vector<int> column = mesh.pipeline_group(c);
    for (std::size_t s = 0; s + 1 < column.size(); ++s)
      add(MeshAxis::kPipeline, demand.pipeline, {column[s], column[s + 1]}, static_cast<int>(s));
    if (column.size() > 1)
      add(MeshAxis::kPipeline, demand.around, {column.back(), column.front()}, static_cast<int>(column.size()) - 1);
    // Comes last, like what the first stage adds.
    if (column.size() > 1) add(MeshAxis::kData, demand.tied, {column.front(), column.back()}, 0);
  }
  return flows;
}

}  // namespace banyan::plan
