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

/// Of one half of an all-reduce, on the way between the ranks.
double way_seconds(const TreeLevel& link, int size, double bytes) {
  return steps(size) * link.latency + bytes * (size - 1) / size / link.rate;
}
double adding_seconds(const HostCopies& host, int size, double bytes) { return bytes * (size - 1) / size * host.add; }
double copies_seconds(const HostCopies& host, double to_host, double to_device) {
  return 2 * host.start + (to_host + to_device) * host.copy;
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
      link.host = level.host;
    }
    below = std::max(below, here);
  }
  return link;
}

double tree_reduce_scatter_seconds(const TreeLinks& links, RegularGroup group, double bytes) {
  if (group.size < 2) return 0;
  const TreeLevel link = group_link(links, group);
  return way_seconds(link, group.size, bytes) + adding_seconds(link.host, group.size, bytes) +
         copies_seconds(link.host, bytes, bytes / group.size);
}

double tree_all_gather_seconds(const TreeLinks& links, RegularGroup group, double bytes) {
  if (group.size < 2) return 0;
  const TreeLevel link = group_link(links, group);
  return way_seconds(link, group.size, bytes) + copies_seconds(link.host, bytes / group.size, bytes);
}

double tree_all_reduce_seconds(const TreeLinks& links, RegularGroup group, double bytes) {
  if (group.size < 2) return 0;
  const TreeLevel link = group_link(links, group);
  return 2 * way_seconds(link, group.size, bytes) + adding_seconds(link.host, group.size, bytes) +
         copies_seconds(link.host, bytes, bytes);
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
      const double copies = level.host.messages ? copies_seconds(level.host, bytes, bytes) : 0;
      seconds = std::max(seconds, level.latency + bytes / rate + copies);
    }
    below = std::max(below, here);
    below_ranks = std::max(below_ranks, level.ranks);
  }
  return seconds;
}

}  // namespace banyan::comm
