// The tree above hosts that nobody describes, found by measuring: pairs of hosts exchange messages, and hosts between
// which they go faster hang from one switch.  Who measures is handed in; all else is pure, so that every rank comes to
// the same answer and tests can do without a network.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "comm/topology/fabric.hpp"

namespace banyan::comm {

/// What a pair (a, b) measured.
struct Contact {
  double latency = 0;          ///< seconds, one way, of an empty message
  double forth = 0, back = 0;  ///< bytes/s from a to b and from b to a, while the other pairs stream as well
};

/// Pairs of hosts, no host in two of them, that measure at the same time; one answer for each.
using Round = std::vector<std::pair<int, int>>;
using Measure = std::function<std::vector<Contact>(const Round&)>;

/// Rounds in which everybody meets everybody once: a round-robin tournament by the circle method (T. Kirkman, 1847).
std::vector<Round> tournament(int hosts);

struct ProbeOptions {
  int most_whole = 1000;      ///< with more hosts, all meet some landmarks instead of all others
  double latency_gap = 1.25;  ///< how many times as long messages between switches take, at least
  double rate_gap = 1.5;      ///< how many times as slow they are
  int landmarks = 0;          ///< hosts that a round of sampling takes for landmarks; 0: as many as the root of hosts
};

/// Hosts in the order given.  Rates tell where switches are, because pairs that share an up-link slow each other down;
/// where rates do not differ, latencies tell; where neither does, all hosts hang from one switch.  Then all hosts of a
/// leaf send out of it at once: what comes through is what its up-link carries at least.  `source` of the result says
/// what decided; notes name hosts that are slow towards all others.
///
/// Above most_whole hosts: every host meets each of some landmarks; hosts that were near to none are where the next
/// landmarks are taken from, until there are none.
Fabric probe(const std::vector<std::string>& hosts, const Measure& measure, const ProbeOptions& options = {});

}  // namespace banyan::comm
