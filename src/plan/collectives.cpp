#include "src/plan/collectives.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "comm/group_tree.hpp"
#include "src/base/error.hpp"

namespace banyan::plan {
namespace {

constexpr const char* kKeys[comm::kCollectiveKinds] = {"all_reduce", "reduce_scatter", "all_gather",
                                                       "broadcast",  "barrier",        "all_to_all"};

comm::GroupTree tree_of(const std::vector<int>& members, const parallel::Fabric& fabric) {
  std::vector<int> nodes, leaves;
  for (int r : members) {
    const parallel::Fabric::Place& place = fabric.places.at(static_cast<std::size_t>(r));
    nodes.push_back(place.node);
    leaves.push_back(place.leaf);
  }
  return comm::make_tree(nodes, leaves);
}

/// What is left of the links for one group of an axis while all its groups do the same: the adapter of a node is shared
/// by those that leave the node, the way up of a leaf by those that leave the leaf.
comm::Links shared_links(const Axis& axis, const parallel::Fabric& fabric, comm::Links links) {
  const auto most_groups = [&](auto place_of) {
    std::map<int, int> groups_of;
    for (const std::vector<int>& members : axis.groups) {
      std::set<int> places;
      for (int r : members) places.insert(place_of(fabric.places.at(static_cast<std::size_t>(r))));
      if (places.size() < 2) continue;
      for (int p : places) ++groups_of[p];
    }
    int most = 1;
    for (const auto& [place, groups] : groups_of) most = std::max(most, groups);
    return most;
  };
  links.leaf.rate /= most_groups([](const parallel::Fabric::Place& p) { return p.node; });
  links.across.rate /= most_groups([](const parallel::Fabric::Place& p) { return p.leaf; });
  return links;
}

bool same_ranges(const std::vector<comm::PlanRange>& a, const std::vector<comm::PlanRange>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const auto& x, const auto& y) { return x.up_to == y.up_to && x.recipe == y.recipe; });
}

}  // namespace

std::vector<Axis> axes(const parallel::Mesh& mesh, int world, bool tied) {
  std::vector<int> everyone(static_cast<std::size_t>(world));
  std::iota(everyone.begin(), everyone.end(), 0);
  std::vector<Axis> list{{kWorldGroup, {everyone}}, {kMeshGroup, {mesh.all()}}};
  Axis tensor{kTensorGroup, {}}, data{kDataGroup, {}}, pipeline{kPipelineGroup, {}}, ends{kTiedGroup, {}};
  for (int i = 0; i < mesh.shape().size(); ++i) {
    const parallel::Coordinate c = mesh.coordinate(i);
    if (c.tensor == 0) tensor.groups.push_back(mesh.tensor_group(c));
    if (c.data == 0) data.groups.push_back(mesh.data_group(c));
    if (c.pipeline != 0) continue;
    pipeline.groups.push_back(mesh.pipeline_group(c));
    if (tied) ends.groups.push_back({pipeline.groups.back().front(), pipeline.groups.back().back()});
  }
  for (Axis* axis : {&tensor, &data, &pipeline, &ends}) list.push_back(std::move(*axis));
  std::erase_if(list, [](const Axis& a) {
    return a.groups.empty() || a.groups[0].size() < 2 || a.groups[0][0] == a.groups[0][1];
  });
  return list;
}

comm::PlanWishes wishes(const config::Config& config) {
  const auto& c = config.comm;
  return {c.all_reduce, c.reduce_scatter, c.all_gather, c.broadcast, c.barrier, c.all_to_all};
}

BookAnswer make_book(const BookRequest& request) {
  BookAnswer answer;
  answer.book.links = request.recorded ? request.recorded->links : request.links;
  bool any_window = false;
  std::vector<comm::Links> links_of;  // by group of the book
  for (const Axis& axis : request.axes) {
    std::vector<comm::GroupTree> trees;
    for (const auto& members : axis.groups) trees.push_back(tree_of(members, request.fabric));
    const bool window = request.shared_memory && std::all_of(trees.begin(), trees.end(), comm::on_one_node);
    any_window |= window;
    const auto size = static_cast<int>(axis.groups.at(0).size());
    const comm::GroupPlans* recorded = request.recorded ? request.recorded->find(axis.name, size) : nullptr;
    if (request.recorded && !recorded) answer.chosen_anew.push_back(axis.name);
    const comm::GroupTree tree = recorded ? recorded->tree : comm::common_tree(trees);
    comm::PlanWishes wanted = request.wishes;
    const comm::Links links = shared_links(axis, request.fabric, answer.book.links);
    comm::GroupPlans plans;
    const auto alike = std::find_if(answer.book.groups.begin(), answer.book.groups.end(), [&](const auto& g) {
      return !request.recorded && g.size == size && g.tree == tree &&
             links_of[static_cast<std::size_t>(&g - answer.book.groups.data())] == links;
    });
    if (alike != answer.book.groups.end()) {  // the world and the mesh, without spares
      plans = *alike;
      plans.group = axis.name;
    } else if (recorded && wanted == comm::no_wishes()) {
      plans = *recorded;
    } else {
      plans = comm::choose_plans(axis.name, size, tree, links, window, wanted);
      for (std::size_t k = 0; recorded && k < plans.ranges.size(); ++k) {
        const auto kind = static_cast<comm::CollectiveKind>(k);
        if (wanted[k] == "auto" || (wanted[k] == comm::kShared && !window))
          plans.ranges[k] = recorded->ranges[k];
        else if (!same_ranges(plans.ranges[k], recorded->ranges[k]))
          answer.overruled.push_back(fmt::format("{} of the {}", comm::name_of(kind), axis.name));
      }
    }
    answer.book.groups.push_back(std::move(plans));
    links_of.push_back(links);
  }
  for (std::size_t k = 0; k < request.wishes.size(); ++k)
    if (request.wishes[k] == comm::kShared && !any_window && !request.axes.empty())
      throw ConfigError("comm.{} = shared, but {}; use auto", kKeys[k],
                        request.shared_memory ? "no group has all its members on one node"
                                              : "the ranks of a node do not share memory (see comm.shared_memory)");
  return answer;
}

}  // namespace banyan::plan
