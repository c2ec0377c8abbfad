#include "src/parallel/placement.hpp"

#include <numeric>
#include <set>

#include "src/base/error.hpp"

namespace banyan::parallel {

Fabric uniform_fabric(int ranks, int ranks_per_node) {
  if (ranks_per_node < 1) throw BugError("a node of {} ranks", ranks_per_node);
  Fabric fabric;
  for (int r = 0; r < ranks; ++r) fabric.places.push_back({r / ranks_per_node, r % ranks_per_node, 0});
  return fabric;
}

std::vector<int> place(const MeshShape& shape, const Fabric& fabric) {
  if (shape.size() > fabric.size())
    throw BugError("the mesh {} needs {} ranks, the fabric has {}", shape.str(), shape.size(), fabric.size());
  std::vector<int> process_of(static_cast<std::size_t>(shape.size()));
  std::iota(process_of.begin(), process_of.end(), 0);
  return process_of;
}

std::vector<std::string> split_tensor_groups(const Mesh& mesh, const Fabric& fabric) {
  std::vector<std::string> messages;
  const MeshShape& shape = mesh.shape();
  for (int group = 0; group < shape.size() / shape.tensor; ++group) {
    std::set<int> nodes;
    for (int world_rank : mesh.tensor_group(mesh.coordinate(group * shape.tensor)))
      nodes.insert(fabric.places.at(static_cast<std::size_t>(world_rank)).node);
    if (nodes.size() < 2) continue;
    std::string message = fmt::format("tensor group {} spans nodes", group);
    for (int node : nodes) message += fmt::format(" {}", node);
    messages.push_back(std::move(message));
  }
  return messages;
}

}  // namespace banyan::parallel
