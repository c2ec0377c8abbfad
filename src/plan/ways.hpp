// The ways up of a network as those see them who reckon what they carry: from nodes, from leaves, from the switches
// above, and, where routes are fixed, the cables that a leaf's way consists of.  A way whose rate the fabric knows (a
// degraded one, say) carries that, others what is usual.  Pure.
#pragma once

#include <cstddef>
#include <vector>

#include "comm/cost.hpp"
#include "src/parallel/placement.hpp"

namespace banyan::plan {

class Ways {
 public:
  Ways(const parallel::Fabric& fabric, const comm::Links& links);
  /// 0: from nodes, 1: from leaves, then from the switches above them.
  std::size_t levels() const { return first_.size() - 1; }
  /// Where a world rank sits on a level.
  int place(std::size_t level, int rank) const { return of_rank_[level][static_cast<std::size_t>(rank)]; }
  /// Where a node sits on a level.
  int place_of_node(std::size_t level, int node) const { return of_node_[level][static_cast<std::size_t>(node)]; }
  std::size_t places(std::size_t level) const { return first_[level + 1] - first_[level]; }
  /// By place of a level: bytes/s one way, never 0.
  double rate(std::size_t level, int place) const { return rates_[way(level, place)]; }

  /// All ways are numbered through, cables last.
  std::size_t size() const { return rates_.size(); }
  std::size_t way(std::size_t level, int place) const { return first_[level] + static_cast<std::size_t>(place); }
  /// The cable that all takes that comes down to a node from other leaves; -1: no route is fixed, or there is one cable
  /// only.
  int cable(int node) const { return cable_of_node_[static_cast<std::size_t>(node)]; }
  /// The cable that all takes that goes up from a leaf to a node of another leaf; -1 as above.
  int cable_up(int leaf, int node) const {
    const int first = first_cable_[static_cast<std::size_t>(leaf)],
              cable = cable_number_[static_cast<std::size_t>(node)];
    const int cables = cables_[static_cast<std::size_t>(leaf)];
    return first < 0 || cable < 0 ? -1 : first + cables + cable % cables;
  }
  bool fixed() const { return first_[levels()] < rates_.size(); }  ///< whether there are such cables
  /// Bytes/s by number.
  const std::vector<double>& rates() const { return rates_; }
  /// Nodes in this order lie next to each other on all levels.
  int order(int node) const { return order_[static_cast<std::size_t>(node)]; }
  /// The same of leaves.
  int order_of_leaf(int node) const { return order_of_leaf_[static_cast<std::size_t>(node)]; }
  const comm::Links& links() const { return links_; }

 private:
  comm::Links links_;
  std::vector<std::vector<int>> of_rank_, of_node_;  // by level
  std::vector<std::size_t> first_;                   // number of the first way of each level, and of the first cable
  std::vector<double> rates_;
  std::vector<int> cable_of_node_, order_, order_of_leaf_;  // by node
  std::vector<int> cable_number_;                           // by node: which of its leaf's; -1
  std::vector<int> first_cable_, cables_;                   // by leaf: way of the first one down, then those up; -1
};

}  // namespace banyan::plan
