// Regular ways to lay a mesh onto a tree of switches.  An axis may lie across several levels: four data ranks as two
// below each of two leaves, say.  A nesting says how many ranks of each axis lie next to each other inside a place of
// each level; all nestings that fill the levels are few enough to price every one.  Places of unlike sizes (what an
// allocation leaves) are filled with whole units of the level below, and what remains makes units of its own.  Pure.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "src/plan/link_load.hpp"

namespace banyan::plan {

struct Nesting {
  /// By level, inside a node first: ranks of each axis (MeshAxis) of one unit of the level below side by side.  The
  /// products over levels are the axes' sizes.
  std::vector<std::array<int, kMeshAxes>> factor;
  /// "in a node tensor 8; in a leaf data 4; across pipeline 2, data 2"
  std::string str() const;
};

/// All that fill units[l] places of the level below in each place of level l exactly, the last level with what is left;
/// none when the axes' sizes do not factor so.
std::vector<Nesting> nestings(const parallel::MeshShape& mesh, const std::vector<int>& units);

/// Ranks that share nothing smaller: what nodes hold, in units that no node cuts, and how many such units make a unit
/// of each level above.  A fabric whose places are alike has one such list; else there are several to try.
std::vector<std::vector<int>> unit_sizes(const parallel::MeshShape& mesh, const parallel::Fabric& fabric);

/// World ranks in an order whose consecutive ranks fill units as far as the fabric allows; spares last.
std::vector<int> packed_slots(const parallel::Fabric& fabric, const std::vector<int>& units);

/// World rank of every logical rank: the nesting laid over slots.
std::vector<int> lay_out(const parallel::MeshShape& mesh, const Nesting& nesting, const std::vector<int>& slots);

/// Seconds of a step's messages as if every unit of the nesting were a place of its level, and cables shared evenly:
/// what the nesting is worth on a fabric whose places are alike.  Cheap: it does not look at ranks.
double estimate(const PlacementQuestion& question, const Nesting& nesting);

}  // namespace banyan::plan
