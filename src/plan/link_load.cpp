#include "src/plan/link_load.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include "comm/group_tree.hpp"
#include "src/plan/group_traffic.hpp"
#include "src/plan/meetings.hpp"
#include "src/plan/step_messages.hpp"

namespace banyan::plan {
namespace {

std::size_t at(int i) { return static_cast<std::size_t>(i); }

/// Plans of the groups of each axis; those of other sizes than most are of two members, who have no choice.
class Plans {
 public:
  Plans(const std::vector<Flow>& flows, const Ways& ways, const std::vector<int>& process_of) {
    std::map<Key, std::vector<comm::GroupTree>> trees;
    for (const Flow& flow : flows) {
      comm::GroupTree tree;
      for (std::size_t level = 0; level < ways.levels(); ++level) {
        std::vector<int>& places = tree.levels.emplace_back();
        for (int r : flow.members) places.push_back(ways.place(level, process_of[at(r)]));
      }
      trees[key(flow)].push_back(std::move(tree));
    }
    for (const auto& [key, all] : trees) {
      const Meetings& of =
          of_.emplace(key, meetings_of(comm::common_tree(all), static_cast<int>(key.second))).first->second;
      most_ = std::max(most_, of.size());
    }
  }
  const Meetings& of(const Flow& flow) const { return of_.at(key(flow)); }
  std::size_t most_phases() const { return most_; }

 private:
  using Key = std::pair<MeshAxis, std::size_t>;
  static Key key(const Flow& flow) { return {flow.axis, flow.members.size()}; }
  std::map<Key, Meetings> of_;
  std::size_t most_ = 0;
};

/// Groups that do the same on the same nodes, as those of the ranks of a node often do: one of them, and how many.
struct Alike {
  const Flow* flow = nullptr;
  std::vector<int> nodes{};  ///< of its members
  double count = 0;
};
std::vector<Alike> alike(const std::vector<Flow>& flows, const Ways& ways, const std::vector<int>& process_of) {
  std::vector<Alike> groups;
  std::map<std::tuple<MeshAxis, int, double, std::vector<int>>, std::size_t> known;
  for (const Flow& flow : flows) {
    std::vector<int> nodes;
    for (int r : flow.members) nodes.push_back(ways.place(0, process_of[at(r)]));
    const auto [found, is_new] = known.try_emplace({flow.axis, flow.stage, flow.bytes, nodes}, groups.size());
    if (is_new) groups.push_back({.flow = &flow, .nodes = std::move(nodes)});
    ++groups[found->second].count;
  }
  return groups;
}

}  // namespace

AxisLoad::AxisLoad(int of_stages, std::size_t ways)
    : stages(of_stages),
      bytes(ways * at(of_stages), 0.0),
      inside(at(of_stages), 0.0),
      phases(at(of_stages), 0.0),
      latency(at(of_stages), 0.0) {}

double AxisLoad::carried(std::size_t way) const {
  double sum = 0;
  for (std::size_t s = 0; s < at(stages); ++s) sum += bytes[way * at(stages) + s];
  return sum;
}

Loads loads_of(const std::vector<Flow>& flows, int stages, const Ways& ways, const std::vector<int>& process_of,
               Follows follows) {
  Loads loads;
  loads.fill(AxisLoad(stages, ways.size()));
  // As AxisLoad::bytes, of one phase.
  const std::size_t all = ways.size() * at(stages);
  std::optional<Plans> plans;
  if (follows == Follows::kCommonPlaces) plans.emplace(flows, ways, process_of);
  std::array<std::vector<double>, kMeshAxes> by_phase;
  by_phase.fill(std::vector<double>((plans ? plans->most_phases() : ways.levels()) * all, 0.0));
  GroupTraffic traffic(ways);
  const std::vector<Alike> groups = alike(flows, ways, process_of);
  const auto each = [&](auto use) {
    for (const Alike& g : groups) {
      const Flow& flow = *g.flow;
      if (plans)
        traffic.put(plans->of(flow), g.nodes, flow.bytes);
      else
        traffic.put(g.nodes, flow.bytes);
      const auto axis = static_cast<std::size_t>(flow.axis);
      use(g, loads[axis], by_phase[axis], at(flow.stage));
    }
  };
  each([&](const Alike& g, AxisLoad& axis, std::vector<double>& phases, std::size_t s) {
    for (const GroupTraffic::Sent& sent : traffic.sent()) {
      axis.bytes[sent.way * at(stages) + s] += g.count * sent.bytes;
      phases[sent.phase * all + sent.way * at(stages) + s] += g.count * sent.bytes;
    }
    const double turns = g.flow->axis == MeshAxis::kPipeline ? 1 : 2;
    axis.inside[s] = std::max(axis.inside[s], traffic.inside());
    axis.latency[s] = std::max(axis.latency[s], turns * traffic.latency());
  });
  each([&](const Alike&, AxisLoad& axis, const std::vector<double>& phases, std::size_t s) {
    double seconds = traffic.inside() / ways.links().node.rate;
    for (std::size_t i = 0; i < traffic.sent().size();) {
      const std::size_t phase = traffic.sent()[i].phase;
      double longest = 0;
      for (; i < traffic.sent().size() && traffic.sent()[i].phase == phase; ++i) {
        const std::size_t way = traffic.sent()[i].way;
        longest = std::max(longest, phases[phase * all + way * at(stages) + s] / ways.rates()[way]);
      }
      seconds += longest;
    }
    axis.phases[s] = std::max(axis.phases[s], seconds);
  });
  return loads;
}

PlacementQuestion::PlacementQuestion(const Layout& layout, const parallel::Fabric& f, const comm::Links& l)
    : mesh(layout.mesh),
      demand(demand_of(layout)),
      flows(flows_of(layout.mesh, demand)),
      fabric(f),
      links(l),
      ways(f, l) {}

PlacementPrice PlacementQuestion::price(std::vector<int> process_of, std::string name) const {
  const StepMessages seconds = step_messages(mesh, demand, computing, loads(process_of), ways.rates(), links);
  int moved = 0;
  for (std::size_t i = 0; i < before.size(); ++i) moved += ways.place(0, process_of[i]) != before[i];
  return {.name = std::move(name),
          .process_of = std::move(process_of),
          .tensor = seconds.tensor,
          .pipeline = seconds.pipeline,
          .data = seconds.data,
          .moved = moved};
}

}  // namespace banyan::plan
