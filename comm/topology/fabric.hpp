// The network of a cluster as a tree of switches with hosts below, from whatever source told of it.  Pure data and pure
// functions; what a source does not tell (rates, say) is 0.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comm/plans/catalog.hpp"

namespace banyan::comm {

/// All cables between a host or a switch and a switch above it.
struct Link {
  enum class Below : std::uint8_t { kHost, kSwitch } below = Below::kHost;
  int lower = 0;  ///< number of the host or switch
  int upper = 0;  ///< number of the switch
  int cables = 1;
  double rate = 0;          ///< bytes/s one way, all cables together; 0: unknown
  std::string reason = {};  ///< why it carries less than its like; empty: it does not
  /// Fixed routes: all that goes to host n of Fabric::hosts takes cable n mod cables, however busy it is ("D-mod-K",
  /// E. Zahavi, J. Parallel Distrib. Comput. 72, 2012); else the cables share evenly.
  bool in_turn = false;
};

struct Switch {
  std::string name;
  int level = 0;  ///< 1: has hosts below (a leaf), 2: has leaves below, ...; set by settle
};

/// Switches above each other.
inline constexpr int kMostLevels = 16;

struct Fabric {
  std::string source;  ///< "topology.conf", ...
  std::vector<std::string> hosts;
  std::vector<Switch> switches;
  std::vector<Link> links;
  std::vector<std::string> notes;  ///< what its reader should be told
};

/// Checks that it is a tree or several (every host and switch has one switch above it at most, none above itself, names
/// are given once, capacities are not negative), works out levels, and sorts hosts and switches as the tree has them:
/// those below one switch next to each other.  DataError for anything else.  A note says so when there are several
/// trees, or leaves at unlike depths.
void settle(Fabric& fabric);

/// Numbers of the switches above each host, from the leaf to the top.  Settled fabrics.
std::vector<std::vector<int>> ways_up(const Fabric& fabric);

/// Numbers of the link above each switch and above each host, -1: none.
struct UpLinks {
  std::vector<int> of_host, of_switch;
};
UpLinks up_links(const Fabric& fabric);

/// Numbers of hosts by their names, with or without a domain.  DataError naming the first that the fabric does not
/// have.
std::vector<int> numbers_of(const Fabric& fabric, const std::vector<std::string>& hosts);

/// Where ranks sit: `hosts[r]` is the host of rank r, with or without its domain.  Level 0 of the result are hosts,
/// level 1 leaves, and so on up to the top.  DataError naming the first host that the fabric does not have.
GroupTree tree_of(const Fabric& fabric, const std::vector<std::string>& hosts);

/// What goes up from a host, from its leaf and from the switches above that, bytes/s one way, 0 where nothing tells.
struct HostRates {
  double host = 0, leaf = 0;
  int cables = 1;  ///< of the leaf's way
  int cable = -1;  ///< which of them all takes that goes to the host from other leaves; -1: they share it
  std::vector<double> above;
};
/// Of these hosts, in their order.  DataError as tree_of.
std::vector<HostRates> rates_of(const Fabric& fabric, const std::vector<std::string>& hosts);

/// Equal up to the names of switches: the same hosts below the same nesting of switches.
bool same_shape(const Fabric& a, const Fabric& b);

/// One line for each difference between what two sources say of the hosts that both have, at most `most`.
std::vector<std::string> differences(const Fabric& a, const Fabric& b, std::size_t most = 8);

}  // namespace banyan::comm
