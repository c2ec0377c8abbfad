// What communication costs on a regular tapered tree, in closed form: for searches over thousands of layouts, where no
// plan is played.  Ranks are numbered along the tree; groups are regular (size and stride), and all groups of a kind
// work at the same time, so that what leaves a node or a switch is shared by all groups that have members in it.
//
// Alpha-beta with contention: R. Hockney, Parallel Computing 20 (1994); log-step reduce-scatter and all-gather whose
// near half stays inside a switch: R. Thakur et al., IJHPCA 2005, section 4.  Pure.
#pragma once

#include <vector>

namespace banyan::comm {

/// What becomes of a device's memory where messages are of host memory (staged_group): a collective copies what it is
/// given to the host, and what comes out to the device, each whole; the host adds sums.
struct HostCopies {
  double start = 0;      ///< seconds of a copy of nothing
  double copy = 0;       ///< seconds a byte, one way; 0 with `start`: messages are of the device's own memory
  double add = 0;        ///< seconds a byte of a sum
  bool messages = true;  ///< false: of collectives only
};

/// Links between ranks that share a unit of this level but none of the level below.
struct TreeLevel {
  double ranks = 0;    ///< ranks of a unit; 0: all there are
  double latency = 0;  ///< seconds of an empty message
  double rate = 0;     ///< bytes/s, one way, of one rank while all ranks of the unit below send out of it
  HostCopies host = {};
};
/// From the node upwards; at least one level, the last one holds everybody.
using TreeLinks = std::vector<TreeLevel>;

/// Ranks first, first + stride, ...: `size` of them; the worst-placed group counts.
struct RegularGroup {
  int size = 1, stride = 1;
};

/// Bytes/s at which a ring through the group moves, and the latency and copies of its longest hop.
TreeLevel group_link(const TreeLinks& links, RegularGroup group);

double tree_reduce_scatter_seconds(const TreeLinks& links, RegularGroup group, double bytes);  ///< bytes of the input
double tree_all_gather_seconds(const TreeLinks& links, RegularGroup group, double bytes);      ///< bytes of the result
double tree_all_reduce_seconds(const TreeLinks& links, RegularGroup group, double bytes);
/// One message to the next member, all ranks sending at the same time.
double tree_message_seconds(const TreeLinks& links, RegularGroup group, double bytes);

}  // namespace banyan::comm
