// What messages and collectives cost: the one model of links in this program.  A message of n bytes takes latency +
// n / rate of the class of its two ends (same node, same leaf switch, across leaves); what is shared is waited for: the
// memory of a rank inside a node, the adapter of a node towards its leaf, the up-link of a leaf across.  Local work
// takes n / copy_rate or n / reduce_rate.  R. Hockney, Parallel Computing 20 (1994), for alpha and beta; the shared
// links are those of a tree of switches.
//
// A plan is priced by playing the steps of all ranks against each other, each message and each local operation in its
// turn.  Groups too large for that are priced by playing a few of their ranks alone, as if its partners did the same at
// the same time, which for plans that are alike for all ranks is what happens.
//
// Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/plans/catalog.hpp"

namespace banyan::comm {

enum class Distance : std::uint8_t { kNode, kLeaf, kAcross };
inline constexpr int kDistances = 3;

struct LinkCost {
  double latency = 2e-6;  ///< seconds of an empty message
  double rate = 5e9;      ///< bytes/s of a long one
  double seconds(double bytes) const { return latency + bytes / rate; }
  bool operator==(const LinkCost&) const = default;
};

/// The defaults are those of a small cluster: memory in a node, 10 GB/s between nodes, two to one above the leaves.
struct Links {
  LinkCost node{2e-6, 5e9}, leaf{5e-6, 1e10}, across{6e-6, 5e9};
  double copy_rate = 8e9;    ///< bytes/s of a rank's copies
  double reduce_rate = 6e9;  ///< bytes/s of the result of adding two vectors
  bool measured = false;
  const LinkCost& at(Distance d) const { return d == Distance::kNode ? node : d == Distance::kLeaf ? leaf : across; }
  LinkCost& at(Distance d) { return d == Distance::kNode ? node : d == Distance::kLeaf ? leaf : across; }
  bool operator==(const Links&) const = default;
};

/// How far two members are apart.  Level 0 of the tree are nodes, level 1 leaves; what is missing is shared.
Distance distance(const GroupTree& tree, int a, int b);

/// Seconds until the last member is done.  `window`: members of one node share a window, so that plans that publish and
/// fold are copies there.  Every member of a reduce-scatter or all-gather has the counts of the call.
double price(const Recipe& recipe, const Call& call, const GroupTree& tree, const Links& links, bool window);

/// Seconds of a ring all-reduce over links that nobody else uses: 2(n-1) messages of 1/n of the bytes, for estimates
/// that know no plan.  R. Thakur et al., IJHPCA 2005, section 4.5.
double ring_all_reduce_seconds(const LinkCost& link, double bytes, int ranks);

/// Whether price() plays all ranks of so large a group; if not it flatters plans whose ranks wait for each other in turn.
bool plays_all(int size);

/// A call of `bytes` in all for any of the kinds, even among the members.
Call even_call(CollectiveKind kind, int size, std::int64_t bytes);

}  // namespace banyan::comm
