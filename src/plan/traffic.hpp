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

/// Calls of the two passes of a step, one after the other.
struct Calls {
  double forward = 0, backward = 0;
  double total() const { return forward + backward; }
};

/// Bytes that one step moves, and in how many calls.
struct Demand {
  std::vector<double> tensor;       ///< all-reduced by each tensor group, per pipeline stage
  std::vector<Calls> tensor_calls;  ///< the same as calls of as many bytes each
  std::vector<double> data;         ///< all-reduced by each data group, per pipeline stage
  double pipeline = 0;              ///< in each direction between neighbouring stages
  double around = 0;                ///< the same between the last stage and the first, where that has the next chunk
  double tied = 0;                  ///< all-reduced by the first and the last stage
  double microbatches = 0;          ///< of the data rank with most
  bool trains = false;
  bool gpipe = false;  ///< all forward passes before the first backward one; else 1F1B, or what is like it
  double fill = 1;     ///< share of 1F1B's time to fill and to empty that the schedule leaves
  int chunks = 1;      ///< messages of a microbatch between two stages in each direction
};
Demand demand_of(const Layout& layout);

/// All of a step that the same ranks exchange.
struct Flow {
  MeshAxis axis = MeshAxis::kTensor;
  double bytes = 0;
  std::vector<int> members;  ///< logical ranks, each once
  int stage = 0;             ///< whose part of the step it is: of its members, or the earlier one of two neighbours
};

/// Hierarchical all-reduces add up inside each place before its parts meet those of others, and come down the same way
/// (comm/plans/hierarchical.hpp), so that of b bytes each of k parts of a place sends 2 b (k-1)/k, as much as it
/// receives (R. Thakur et al., IJHPCA 2005, section 4.4), shared by what is below the part: a node in a leaf with m
/// nodes of the group, which has L leaves, carries 2 b ((m-1)/m + (L-1)/(L m)).  A stream in both directions between
/// two carries the same as an all-reduce of its bytes.
inline double sent_by_part(double bytes, double parts) { return parts < 2 ? 0 : 2 * bytes * (parts - 1) / parts; }
/// Those of the mesh in logical ranks; what moves nothing is left out.
std::vector<Flow> flows_of(const parallel::MeshShape& mesh, const Demand& demand);

}  // namespace banyan::plan
