// What the ways of a network carry of one step under a placement, and the time that takes.  All traffic of an axis runs
// at the same time and shares the adapters of nodes and the up-links of leaves and of the switches above them; the way
// that takes longest counts.  A way whose rate the fabric knows (a degraded one, say) carries that, others what is
// usual.  Pure.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "comm/cost.hpp"
#include "src/parallel/placement.hpp"
#include "src/plan/traffic.hpp"

namespace banyan::plan {

/// The ways up of a fabric by level: 0 from nodes, 1 from leaves, then from the switches above them.
class Ways {
 public:
  Ways(const parallel::Fabric& fabric, const comm::Links& links);
  std::size_t levels() const { return rate_.size(); }
  /// Where a world rank sits on a level.
  int place(std::size_t level, int rank) const { return of_rank_[level][static_cast<std::size_t>(rank)]; }
  /// By place of a level: bytes/s one way, never 0.
  const std::vector<double>& rates(std::size_t level) const { return rate_[level]; }

 private:
  std::vector<std::vector<int>> of_rank_;
  std::vector<std::vector<double>> rate_;
};

/// Of one axis.
struct AxisLoad {
  std::vector<std::vector<double>> bytes;         ///< one way, per level and place
  double inside = 0;                              ///< of the busiest rank inside its node
  comm::Distance widest = comm::Distance::kNode;  ///< how far its messages go
  /// `calls`: messages one after the other.
  double seconds(const Ways& ways, const comm::Links& links, double calls) const;
};
using Loads = std::array<AxisLoad, kMeshAxes>;

/// `process_of`: world rank of every logical rank.
Loads loads_of(const std::vector<Flow>& flows, const Ways& ways, const std::vector<int>& process_of);

struct PlacementPrice {
  std::string name;                           ///< "ranks as given", "nodes by leaf; tensor, pipeline, data"
  std::vector<int> process_of;                ///< world rank of every logical rank
  double tensor = 0, pipeline = 0, data = 0;  ///< seconds of a step's messages
  int moved = 0;                              ///< logical ranks whose node is not the one before
  double seconds() const { return tensor + pipeline + data; }
};

/// Everything that prices of one layout on one fabric have in common.
struct PlacementQuestion {
  PlacementQuestion(const Layout& layout, const parallel::Fabric& fabric, const comm::Links& links);
  PlacementPrice price(std::vector<int> process_of, std::string name) const;

  parallel::MeshShape mesh;
  Demand demand;
  std::vector<Flow> flows;
  const parallel::Fabric& fabric;  ///< outlives the question
  comm::Links links;
  Ways ways;
  /// By logical rank: the node (Place::node) that held its part of the model before, -1 where that is gone; empty where
  /// nothing was before.  Of placements that cost the same the one that moves fewest is better: what a node wrote or
  /// read last it still has in memory.
  std::vector<int> before{};
};

}  // namespace banyan::plan
