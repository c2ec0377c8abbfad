#include "src/plan/link_load.hpp"

#include <algorithm>
#include <utility>

#include "src/plan/group_traffic.hpp"
#include "src/plan/step_messages.hpp"

namespace banyan::plan {
namespace {

std::size_t at(int i) { return static_cast<std::size_t>(i); }

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

Loads loads_of(const std::vector<Flow>& flows, int stages, const Ways& ways, const std::vector<int>& process_of) {
  Loads loads;
  loads.fill(AxisLoad(stages, ways.size()));
  // As AxisLoad::bytes, of one phase.
  const std::size_t all = ways.size() * at(stages);
  std::array<std::vector<double>, kMeshAxes> by_phase;
  by_phase.fill(std::vector<double>(ways.levels() * all, 0.0));
  GroupTraffic traffic(ways);
  const auto each = [&](auto use) {
    std::vector<int> nodes;
    for (const Flow& flow : flows) {
      nodes.clear();
      for (int r : flow.members) nodes.push_back(ways.place(0, process_of[at(r)]));
      traffic.put(nodes, flow.bytes);
      const auto axis = static_cast<std::size_t>(flow.axis);
      use(flow, loads[axis], by_phase[axis], at(flow.stage));
    }
  };
  each([&](const Flow& flow, AxisLoad& axis, std::vector<double>& phases, std::size_t s) {
    for (const GroupTraffic::Sent& sent : traffic.sent()) {
      axis.bytes[sent.way * at(stages) + s] += sent.bytes;
      phases[sent.phase * all + sent.way * at(stages) + s] += sent.bytes;
    }
    const double turns = flow.axis == MeshAxis::kPipeline ? 1 : 2;
    axis.inside[s] = std::max(axis.inside[s], traffic.inside());
    axis.latency[s] = std::max(axis.latency[s], turns * traffic.latency());
  });
  each([&](const Flow&, AxisLoad& axis, const std::vector<double>& phases, std::size_t s) {
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
