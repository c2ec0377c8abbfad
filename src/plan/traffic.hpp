// What one step of a layout sends between ranks, as data: how many bytes on which axis, and among which ranks of the
// mesh.  Placements are priced from it, and the load of a network's links is what it comes to on them.  Pure.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "src/plan/layout.hpp"

namespace banyan::plan {

/// Axes whose traffic is told apart.  Context ranks stay with their tensor ranks.
enum class MeshAxis : std::uint8_t { kTensor, kPipeline, kData };
inline constexpr std::size_t kMeshAxes = 3;
inline constexpr std::array<std::string_view, kMeshAxes> kMeshAxisNames{"tensor", "pipeline", "data"};

/// Bytes that one step moves.
struct Demand {
  std::vector<double> tensor;                   ///< all-reduced by each tensor group, per pipeline stage
  std::vector<double> data;                     ///< all-reduced by each data group, per pipeline stage
  double pipeline = 0;                          ///< in each direction between neighbouring stages
  double tied = 0;                              ///< all-reduced by the first and the last stage
  double tensor_calls = 0, pipeline_calls = 0;  ///< messages one after the other, of the dearest stage
};
Demand demand_of(const Layout& layout);
/// Messages of an axis that come one after the other.
double calls_of(const Demand& demand, const parallel::MeshShape& mesh, MeshAxis axis);

/// All of a step that the same ranks exchange.  What n places that hold all of it must at least carry in and out of
/// each of them: 2 (n-1)/n of an all-reduce's bytes (R. Thakur et al., IJHPCA 2005, section 4.4; hierarchical plans
/// reach it), which for a stream in both directions between two is its bytes.
struct Flow {
  MeshAxis axis = MeshAxis::kTensor;
  double bytes = 0;
  std::vector<int> members;  ///< logical ranks, each once
  double share(std::size_t places) const {
    return places < 2 ? 0 : 2 * bytes * static_cast<double>(places - 1) / static_cast<double>(places);
  }
};
/// Those of the mesh in logical ranks; what moves nothing is left out.
std::vector<Flow> flows_of(const parallel::MeshShape& mesh, const Demand& demand);

}  // namespace banyan::plan
