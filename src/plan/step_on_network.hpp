// What a step of a job puts on the ways of a network that is known: which way decides how long its messages take, what
// each way carries, and which parts of the mesh sit below which leaf.  Pure.
#pragma once

#include <array>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "comm/topology/fabric.hpp"
#include "comm/topology/fabric_text.hpp"
#include "src/plan/link_load.hpp"

namespace banyan::plan {

/// Ranks on the hosts of a network, `hosts` by world rank: nodes, leaves and switches above them are numbered as they
/// first appear, with the rates that the network tells.  DataError naming the first host that the network does not
/// have.
parallel::Fabric fabric_on(const comm::Fabric& network, const std::vector<std::string>& hosts);

/// What one way up carries of one step, one way.
struct WayLoad {
  int link = -1;                          ///< number in the network's links; -1: there is none, nothing leaves by it
  double rate = 0;                        ///< bytes/s that were reckoned with
  std::array<double, kMeshAxes> bytes{};  ///< by MeshAxis
};

/// What an axis waits for.
struct AxisLimit {
  double seconds = 0;
  int way = -1;     ///< number in StepOnNetwork::ways; -1: what is inside nodes, or latency, counts most
  std::string why;  ///< "leaf2 to spine carries 1.2 GB at 5 GB/s", "inside nodes", "64 messages one after the other"
};

/// What sits below one leaf.
struct LeafSeats {
  int leaf = -1;       ///< number of the switch; -1: a host below no switch
  std::string holds;   ///< "tensor 0-3, pipeline 0, data 4-7"
  std::string report;  ///< a line with hosts, ranks, the above, and which of the groups lie there whole
};

struct StepOnNetwork {
  PlacementPrice price;
  std::vector<WayLoad> ways;  ///< of nodes, of leaves, of switches above, each in order
  std::array<AxisLimit, kMeshAxes> limits;
  int busiest = -1;  ///< way that carries longest, all axes together; -1: nothing leaves a node
  std::vector<LeafSeats> leaves;
};

/// `hosts` by world rank; question.fabric is fabric_on(network, hosts).
StepOnNetwork load_network(const PlacementQuestion& question, const comm::Fabric& network,
                           const std::vector<std::string>& hosts, const PlacementPrice& price);

/// Seconds that a way carries, all axes one after the other.
double seconds_of(const WayLoad& way);
/// Lines for people.
std::string report(const StepOnNetwork& step, const parallel::MeshShape& mesh, const comm::Fabric& network);
/// What to write beside the ways and leaves of a drawing.
comm::Marks marks_of(const StepOnNetwork& step, const comm::Fabric& network);
nlohmann::ordered_json to_json(const StepOnNetwork& step, const comm::Fabric& network);

}  // namespace banyan::plan
