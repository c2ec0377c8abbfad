#include "comm/tree_cost.hpp"

#include <algorithm>
#include <cmath>

#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

double steps(int size) { return std::ceil(std::log2(static_cast<double>(size))); }

/// Members of the group inside one unit of so many ranks.
double inside(double unit, RegularGroup group) {
  if (unit <= 0) return group.size;
  return std::clamp(std::floor(unit / group.stride), 1.0, static_cast<double>(group.size));
}

}  // namespace

TreeLevel group_link(const TreeLinks& links, RegularGroup group) {
  if (links.empty() || group.size < 1 || group.stride < 1)
    throw BugError("a group of {} with stride {} on {} levels", group.size, group.stride, links.size());
  TreeLevel link{.ranks = 0, .latency = 0, .rate = 0};
  double below = 1;  // members inside a unit of the level below
  for (const TreeLevel& level : links) {
    const double here = inside(level.ranks, group);
    if (here > below) {
      // The ring leaves a unit once for each group in it: what its ranks may send together is shared by the groups.
      const double rate = level.rate * below;
      link.rate = link.rate > 0 ? std::min(link.rate, rate) : rate;
      link.latency = std::max(link.latency, level.latency);
    }
    below = std::max(below, here);
  }
  return link;
}

double tree_reduce_scatter_seconds(const TreeLinks& links, RegularGroup group, double bytes) {
  if (group.size < 2) return 0;
  const TreeLevel link = group_link(links, group);
  return steps(group.size) * link.latency + bytes * (group.size - 1) / group.size / link.rate;
}

double tree_all_gather_seconds(const TreeLinks& links, RegularGroup group, double bytes) {
  return tree_reduce_scatter_seconds(links, group, bytes);
}

double tree_all_reduce_seconds(const TreeLinks& links, RegularGroup group, double bytes) {
  return 2 * tree_reduce_scatter_seconds(links, group, bytes);
}

double tree_message_seconds(const TreeLinks& links, RegularGroup group, double bytes) {
  if (group.size < 2) return 0;
  // The longest hop decides; of a unit's ranks those cross whose next member is outside.
  double seconds = 0, below_ranks = 1, below = 1;
  for (const TreeLevel& level : links) {
    const double here = inside(level.ranks, group);
    if (here > below || (level.ranks <= 0 && group.size > below)) {
      const double crossing = std::min(1.0, group.stride / below_ranks);
      const double rate = std::min(level.rate / crossing, links.front().rate);
      seconds = std::max(seconds, level.latency + bytes / rate);
    }
    below = std::max(below, here);
    below_ranks = std::max(below_ranks, level.ranks);
  }
  return seconds;
}

}  // namespace banyan::comm
