// What the ways of a network carry of one step under a placement, and the time that its messages take.  Pure.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "comm/cost.hpp"
#include "src/parallel/placement.hpp"
#include "src/plan/block_price.hpp"
#include "src/plan/traffic.hpp"
#include "src/plan/ways.hpp"

namespace banyan::plan {

/// Of one axis, told apart by pipeline stage, since stages do different things at one time.
struct AxisLoad {
  int stages = 1;
  /// [way * stages + stage], one way, of all groups of the stage.
  std::vector<double> bytes;
  /// By stage, of the group that has most of it: bytes of a member to others inside its node; seconds of its phases one
  /// after the other (GroupTraffic::sent), each as long as the busiest of its ways while all groups of the stage are in
  /// theirs; the latency of a call, there and back for an all-reduce.
  std::vector<double> inside, phases, latency;

  AxisLoad() = default;
  AxisLoad(int stages, std::size_t ways);
  /// All stages together.
  double carried(std::size_t way) const;
};
using Loads = std::array<AxisLoad, kMeshAxes>;

/// Whose places a group's collectives follow: those that all groups of the axis have in common, as the plans of a job
/// do (meetings.hpp), or its own, which says what moving a few of its members changes.
enum class Follows : std::uint8_t { kCommonPlaces, kOwnPlaces };
/// `process_of`: world rank of every logical rank.
Loads loads_of(const std::vector<Flow>& flows, int stages, const Ways& ways, const std::vector<int>& process_of,
               Follows follows = Follows::kCommonPlaces);

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
  /// By step_messages.hpp.
  PlacementPrice price(std::vector<int> process_of, std::string name) const;
  Loads loads(const std::vector<int>& process_of, Follows follows = Follows::kCommonPlaces) const {
    return loads_of(flows, mesh.pipeline, ways, process_of, follows);
  }

  parallel::MeshShape mesh;
  Demand demand;
  std::vector<Flow> flows;
  const parallel::Fabric& fabric;  ///< outlives the question
  comm::Links links;
  Ways ways;
  /// What a stage computes for one microbatch while no message is awaited, seconds; empty where nothing tells: nothing.
  std::vector<Pass> computing{};
  /// By logical rank: the node (Place::node) that held its part of the model before, -1 where that is gone; empty where
  /// nothing was before.  Of placements that cost the same the one that moves fewest is better: what a node wrote or
  /// read last it still has in memory.
  std::vector<int> before{};
};

}  // namespace banyan::plan
