// Placement: which process holds which coordinate of the mesh.  A pure function of the mesh and of what is known about
// the fabric, so that it can be printed, priced and tested without a process.  place() keeps the order of the world
// ranks (mpirun and srun fill node after node, and tensor runs fastest, so tensor groups stay inside a node whenever
// they divide it); src/plan/placement_choice knows other orders and what each costs.
#pragma once

#include <string>
#include <vector>

#include "src/parallel/mesh.hpp"

namespace banyan::parallel {

/// Where every world rank sits.
struct Fabric {
  struct Place {
    int node = 0;        ///< 0 ..
    int local_rank = 0;  ///< among the ranks of its node
    int leaf = 0;        ///< switch above the node
  };
  std::vector<Place> places;  ///< by world rank
  /// By node and by leaf: what its way up carries, bytes/s one way; 0, or none for all of them, where nothing tells.
  std::vector<double> node_rate{}, leaf_rate{};
  /// By node: which of the cables above its leaf all takes that comes from other leaves (fixed routes), -1: they share
  /// it; by leaf: its cables.  Empty where nothing tells.
  std::vector<int> cable{}, cables{};
  /// Switches above leaves, the nearest first, as long as there are several side by side.
  struct Tier {
    std::vector<int> of_leaf;    ///< by leaf: the switch above it, 0 ..
    std::vector<double> rate{};  ///< by switch, as leaf_rate
  };
  std::vector<Tier> tiers{};
  int size() const { return static_cast<int>(places.size()); }
};

/// A fabric of `ranks` ranks on nodes of `ranks_per_node` each, in order; for plans without a job.
Fabric uniform_fabric(int ranks, int ranks_per_node);

/// World rank of every logical rank of the mesh; world ranks that are not named are spares.
std::vector<int> place(const MeshShape& shape, const Fabric& fabric);

/// Tensor groups whose members sit on more than one node, for a warning: "tensor group 3 spans nodes 1 2".
std::vector<std::string> split_tensor_groups(const Mesh& mesh, const Fabric& fabric);

}  // namespace banyan::parallel
