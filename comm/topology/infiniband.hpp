// An InfiniBand fabric cable by cable, from what ibnetdiscover(8) prints, with the cables that ibqueryerrors(8) finds
// fault with; and folded into a tree.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "comm/topology/fabric.hpp"

namespace banyan::comm {

struct IbNode {
  std::uint64_t guid = 0;
  std::string description;  ///< "node007 mlx5_0", "leaf3"
  enum class Kind : std::uint8_t { kSwitch, kAdapter, kOther } kind = Kind::kOther;
};

/// Addresses of an adapter's port, one after the other.
struct IbLids {
  int first = 0, count = 0;
};
/// LIDs beyond are for multicast (InfiniBand Architecture Specification, volume 1, 4.1.3).
inline constexpr int kLastLid = 0xbfff;

struct IbCable {
  int a = 0, a_port = 0, b = 0, b_port = 0;  ///< nodes and their ports
  double rate = 0;                           ///< bytes/s of data one way: width times what a lane of that speed carries
  bool faulty = false;                       ///< has more errors than ibqueryerrors bears
  IbLids a_lids = {}, b_lids = {};           ///< of ends that are adapters
  double routes_ab = 0, routes_ba = 0;       ///< pairs of adapters that are routed by it (infiniband_routes.hpp)
};

struct IbNetwork {
  std::string source;
  std::vector<IbNode> nodes;
  std::vector<IbCable> cables;
  std::vector<std::string> notes;  ///< what its reader should be told
  bool routed = false;             ///< routes of cables are known
};

/// Every cable is told of by both its ends.  Nodes are told apart by their GUIDs.  DataError with file and line for
/// what is no such text, a GUID that is there twice, ends that disagree, or one that is missing (a file that was cut
/// off).
IbNetwork parse_ibnetdiscover(std::string_view text, const std::string& file);

/// Marks the cables for which `text`, what ibqueryerrors prints, has counters of damage: symbol errors, recoveries,
/// downs, receive errors, integrity, overruns.  Counters of congestion do not count.  Ports that lead nowhere, as those
/// whose cable was pulled, are left out with a note.  DataError for a text that ibqueryerrors did not print; with file
/// and line for a node that the network does not have.
void mark_faulty(IbNetwork& network, std::string_view text, const std::string& file);

/// A way has a reason, too, when its busiest cable has more than this times its share of the routes; destinations
/// cannot be divided, so that a few more here and there are as even as routes can be.
inline constexpr double kEvenRoutes = 1.05;

/// What is left of a faulty cable's rate.
inline constexpr double kFaultyShare = 0.5;

/// Adapters of a host, told by the first word of their description, become one host; where that word is localhost or
/// names more adapters than a host has room for, each is a host of its own, with a note.  Switches that hosts hang from
/// are leaves; those next above that have a leaf in common are one switch of the result, because a tree with many tops
/// is wired like one with a thick top; and so on upwards.  Parallel cables add up.  A way with fewer cables or less
/// rate than most of its level has a reason and counts with what it has; where routes are known it counts with what its
/// busiest cable lets through (infiniband_routes.hpp), in the direction that is worse.  Left out, with a note: cables
/// inside a level, aggregation nodes of switches, routers, switches that lead to no host, hosts without a switch.
Fabric fold(const IbNetwork& network);

}  // namespace banyan::comm
