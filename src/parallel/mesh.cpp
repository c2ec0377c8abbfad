#include "src/parallel/mesh.hpp"

#include <algorithm>
#include <cstdint>

#include "src/base/error.hpp"

namespace banyan::parallel {

std::string MeshShape::str() const {
  std::string s = fmt::format("tensor {} x ", tensor);
  if (context > 1) s += fmt::format("context {} x ", context);
  return s + fmt::format("data {} x pipeline {}", data, pipeline);
}

Mesh::Mesh(MeshShape shape, std::vector<int> process_of) : shape_(shape), process_of_(std::move(process_of)) {
  if (static_cast<int>(process_of_.size()) != shape_.size())
    throw BugError("a mesh of {} ranks was given {} processes", shape_.size(), process_of_.size());
  std::vector<int> sorted = process_of_;
  std::sort(sorted.begin(), sorted.end());
  if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end() || (!sorted.empty() && sorted.front() < 0))
    throw BugError("a process holds two coordinates of the mesh {}, or none is a process", shape_.str());
}

int Mesh::logical(const Coordinate& c) const {
  return c.tensor + shape_.tensor * (c.context + shape_.context * (c.data + shape_.data * c.pipeline));
}

Coordinate Mesh::coordinate(int logical) const {
  if (logical < 0 || logical >= shape_.size())
    throw BugError("logical rank {} is outside the mesh {}", logical, shape_.str());
  Coordinate c;
  c.tensor = logical % shape_.tensor;
  logical /= shape_.tensor;
  c.context = logical % shape_.context;
  logical /= shape_.context;
  c.data = logical % shape_.data;
  c.pipeline = logical / shape_.data;
  return c;
}

int Mesh::process(const Coordinate& c) const { return process_of_.at(static_cast<std::size_t>(logical(c))); }

int Mesh::logical_of_process(int world_rank) const {
  const auto it = std::find(process_of_.begin(), process_of_.end(), world_rank);
  return it == process_of_.end() ? -1 : static_cast<int>(it - process_of_.begin());
}

std::vector<int> Mesh::tensor_group(Coordinate c) const {
  std::vector<int> group;
  for (c.tensor = 0; c.tensor < shape_.tensor; ++c.tensor) group.push_back(process(c));
  return group;
}

std::vector<int> Mesh::data_group(Coordinate c) const {
  std::vector<int> group;
  for (c.data = 0; c.data < shape_.data; ++c.data) group.push_back(process(c));
  return group;
}

std::vector<int> Mesh::pipeline_group(Coordinate c) const {
  std::vector<int> group;
  for (c.pipeline = 0; c.pipeline < shape_.pipeline; ++c.pipeline) group.push_back(process(c));
  return group;
}

std::vector<int> Mesh::all() const { return process_of_; }

MeshShape resolve_mesh(int tensor, int pipeline, int data, int ranks) {
  const std::int64_t replica = std::int64_t{tensor} * pipeline;  // 64 bits: the keys allow products beyond an int
  if (replica > ranks)
    throw ConfigError(
        "parallel.tensor x parallel.pipeline = {} x {} = {} ranks for one replica of the model, but the job has {}; "
        "start "
        "{} ranks or lower one of the two",
        tensor, pipeline, replica, ranks, replica);
  const int fitting = static_cast<int>(ranks / replica);
  if (data != 0 && replica * data != ranks)
    throw ConfigError(
        "parallel.tensor x parallel.pipeline x parallel.data = {} x {} x {} = {}, but the job has {} rank{}; start {} "
        "ranks, or set parallel.data = 0 to use {} x {} x {} = {} and leave the rest idle",
        tensor, pipeline, data, replica * data, ranks, ranks == 1 ? "" : "s", replica * data, tensor, pipeline, fitting,
        replica * fitting);
  MeshShape shape;
  shape.tensor = tensor;
  shape.pipeline = pipeline;
  shape.data = data == 0 ? fitting : data;
  return shape;
}

}  // namespace banyan::parallel
