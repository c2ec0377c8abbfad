// A fabric for people and for programs: as a tree of lines, as a picture, as JSON.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "comm/topology/fabric.hpp"

namespace banyan::comm {

/// What the switches of one level carry.  Rates are bytes/s, 0 where one of them is unknown.
struct LevelSummary {
  int level = 0;
  int switches = 0;
  int least_below = 0, most_below = 0;  ///< hosts or switches directly below one of them
  double down = 0;                      ///< of all ways from below, together
  double up = 0;                        ///< of all ways up, together; 0 at the top
  /// How much more comes from below than goes up, at the worst switch; 0: unknown, or the top.
  double taper = 0;
};
std::vector<LevelSummary> levels_of(const Fabric& fabric);

/// What to write beside the parts of a drawing; empty: nothing.
struct Marks {
  std::vector<std::string> link = {};  ///< by number of the link
  std::vector<double> heat = {};       ///< the same: 0 .. 1, the hottest, for the colours of a picture
  std::vector<std::string> leaf = {};  ///< by number of the switch: below its hosts in a picture
};

/// Lines for a terminal: the tree, a line for each level, what is degraded, notes.
std::string draw(const Fabric& fabric, const Marks& marks = {});
/// A standalone SVG picture; degraded ways are dashed, and the hotter the redder.
std::string draw_svg(const Fabric& fabric, const Marks& marks = {});
nlohmann::ordered_json to_json(const Fabric& fabric);

}  // namespace banyan::comm
