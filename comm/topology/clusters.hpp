// Groups of things that are near to each other, found from how far apart some pairs of them are.  Pure.
#pragma once

#include <vector>

namespace banyan::comm {

/// How far apart two things are; only ratios count.
struct Distant {
  int a = 0, b = 0;
  double distance = 0;  ///< > 0
};

/// Divisions of things into clusters, the finest first; each is a division of the next one's clusters too.
struct Clusters {
  std::vector<std::vector<int>> levels;  ///< [level][thing]: number of its cluster, by first appearance
  std::vector<double> gaps;  ///< by level: the nearest outside is so many times as far as the farthest link inside
};

/// Single linkage (J. Gower and G. Ross, "Minimum Spanning Trees and Single Linkage Cluster Analysis", Applied
/// Statistics 18, 1969): the links of the least tree that spans all, from short to long; wherever one is `gap` times as
/// long as the one before, a level ends.  What is measured on a busy machine errs upwards, and a cluster's nearest pair
/// is what counts here.  A level on which fewer than two clusters have two members is none: it only shows things that
/// are far from all others.  No level at all: all are equally near.  Things that no pair joins are infinitely far
/// apart.
Clusters cluster(int things, std::vector<Distant> pairs, double gap);

}  // namespace banyan::comm
