// What one group of ranks puts on the ways of a network when it adds up over the places that its members sit in
// (traffic.hpp, sent_by_part).  Pure but for its own scratch memory.
#pragma once

#include <utility>
#include <vector>

#include "src/plan/meetings.hpp"
#include "src/plan/ways.hpp"

namespace banyan::plan {

class GroupTraffic {
 public:
  explicit GroupTraffic(const Ways& ways)
      : ways_(ways), bytes_(ways.size(), 0.0), unit_of_(ways.places(0), -1), in_phase_(ways.size(), 0.0) {}

  /// `nodes`: that of each member, in their order, which says who meets whom across leaves; `bytes`: all-reduced, or
  /// streamed both ways between two.  What is below is of this group until the next.
  void put(std::vector<int> nodes, double bytes);
  /// The same of members that meet as a plan of their axis says, each on its node, in their order.
  void put(const Meetings& meetings, const std::vector<int>& nodes, double bytes);

  /// Ways and the bytes that they carry one way, each once.
  const std::vector<std::pair<std::size_t, double>>& carried() const { return carried_; }
  double inside() const { return inside_; }  ///< bytes of a member of the fullest node to others there
  /// The same by phase, one after the other: 0 among the nodes of a leaf, 1 among the leaves of a switch, and so on, or
  /// those of a plan, whose first may be inside nodes; a way may come more than once.
  struct Sent {
    std::size_t phase, way;
    double bytes;
  };
  const std::vector<Sent>& sent() const { return sent_; }
  double latency() const { return latency_; }  ///< of an empty message in each phase, one after the other

 private:
  struct Unit {
    int node, members;
    double share;  // of the bytes that its parent's part exchanges
  };
  /// What goes up by cables: units [begin, end) meet those of other parts that have the same of the bytes.
  void climb(std::size_t level, std::size_t begin, std::size_t end, double bytes);
  void carry(std::size_t phase, std::size_t way, double bytes);
  void meet(int from, int to, double bytes);  // what goes one way between two nodes
  void add(std::size_t way, double bytes);
  /// Exchanges among the parts of level `level` - 1 of one place: units [begin, end).  False when there is one only.
  bool exchange(std::size_t level, std::size_t begin, std::size_t end, double bytes);
  int place(std::size_t level, const Unit& u) const { return ways_.place_of_node(level, u.node); }

  const Ways& ways_;
  std::vector<double> bytes_;  // by way; 0 where carried_ does not name it
  std::vector<std::pair<std::size_t, double>> carried_;
  std::vector<Unit> units_;
  std::vector<int> unit_of_;  // by node, -1 but in put()
  std::vector<Sent> sent_;
  std::vector<double> in_phase_;      // by way; 0 where touched_ does not name it
  std::vector<std::size_t> touched_;  // ways of a phase
  std::vector<double> of_member_;     // bytes inside nodes
  double inside_ = 0, latency_ = 0;
};

}  // namespace banyan::plan
