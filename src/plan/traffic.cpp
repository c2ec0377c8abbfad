#include "src/plan/traffic.hpp"

#include <algorithm>
#include <numeric>

#include "src/model/local_params.hpp"

namespace banyan::plan {
namespace {

constexpr double kBytes = 4;  // of an element on its way

}  // namespace

Demand demand_of(const Layout& layout) {
  Demand demand;
  const parallel::MeshShape& mesh = layout.mesh;
  const double tokens = static_cast<double>(layout.sequences * layout.model.context);
  const double stream = tokens * static_cast<double>(layout.model.width) * kBytes;
  const double microbatches = static_cast<double>(layout.microbatches_of(0).count);
  const bool trains = layout.use == Use::kTrain;
  for (const auto& stage : layout.stages) {
    if (mesh.tensor == 1) {
      demand.tensor.push_back(0);
      continue;
    }
    // Two reductions of the residual stream of a block forward, two backward, two more when it is computed again.
    const double calls = static_cast<double>(stage.count()) * microbatches * (trains ? layout.recompute ? 6 : 4 : 2);
    demand.tensor.push_back(calls * stream);
    demand.tensor_calls = std::max(demand.tensor_calls, calls);
  }
  if (mesh.pipeline > 1) {
    demand.pipeline = microbatches * (layout.sequence ? stream / mesh.tensor : stream);
    demand.pipeline_calls = microbatches * (trains ? 2 : 1);
  }
  for (int s = 0; s < mesh.pipeline; ++s) {
    double bytes = 0;
    if (trains && mesh.data > 1)
      for (const model::LocalParam& p : model::local_params(layout.stage_spec({.pipeline = s})))
        bytes += static_cast<double>(p.count.count()) * kBytes;
    demand.data.push_back(bytes);
  }
  if (trains && layout.model.tied && mesh.pipeline > 1)
    demand.tied = static_cast<double>(layout.model.vocab * layout.model.width) / mesh.tensor * kBytes;
  return demand;
}

double calls_of(const Demand& demand, const parallel::MeshShape& mesh, MeshAxis axis) {
  return axis == MeshAxis::kTensor     ? demand.tensor_calls
         : axis == MeshAxis::kPipeline ? demand.pipeline_calls
                                       : (mesh.data > 1 ? 1 : 0);
}

std::vector<Flow> flows_of(const parallel::MeshShape& shape, const Demand& demand) {
  std::vector<int> logical(static_cast<std::size_t>(shape.size()));
  std::iota(logical.begin(), logical.end(), 0);
  const parallel::Mesh mesh(shape, std::move(logical));
  std::vector<Flow> flows;
  const auto add = [&](MeshAxis axis, double bytes, std::vector<int> members) {
    if (members.size() > 1 && bytes > 0) flows.push_back({axis, bytes, std::move(members)});
  };
  for (int i = 0; i < shape.size(); ++i) {
    const parallel::Coordinate c = mesh.coordinate(i);
    if (c.tensor == 0)
      add(MeshAxis::kTensor, demand.tensor[static_cast<std::size_t>(c.pipeline)], mesh.tensor_group(c));
    if (c.data == 0) add(MeshAxis::kData, demand.data[static_cast<std::size_t>(c.pipeline)], mesh.data_group(c));
    if (c.pipeline > 0) continue;
    const std::vector<int> column = mesh.pipeline_group(c);
    for (std::size_t s = 0; s + 1 < column.size(); ++s)
      add(MeshAxis::kPipeline, demand.pipeline, {column[s], column[s + 1]});
    if (column.size() > 1) add(MeshAxis::kData, demand.tied, {column.front(), column.back()});
  }
  return flows;
}

}  // namespace banyan::plan
