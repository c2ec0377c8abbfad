// The mesh: every working rank's logical coordinate (tensor, context, data, pipeline).  Pure data; placement decides
// which process holds a coordinate.  Ranks that fit no mesh are spares.
#pragma once

#include <string>
#include <vector>

namespace banyan::parallel {

struct MeshShape {
  int tensor = 1, context = 1, data = 1, pipeline = 1;
  int size() const { return tensor * context * data * pipeline; }
  std::string str() const;  ///< "tensor 2 x data 2 x pipeline 2"
  bool operator==(const MeshShape&) const = default;
};

struct Coordinate {
  int tensor = 0, context = 0, data = 0, pipeline = 0;
  bool operator==(const Coordinate&) const = default;
};

class Mesh {
 public:
  /// `process_of[i]` is the world rank that holds logical rank i (see placement.hpp); its length is shape.size().
  Mesh(MeshShape shape, std::vector<int> process_of);

  const MeshShape& shape() const { return shape_; }
  /// Logical rank: tensor runs fastest, then context, data, pipeline.
  int logical(const Coordinate& c) const;
  Coordinate coordinate(int logical) const;
  /// World rank of a coordinate.
  int process(const Coordinate& c) const;
  /// Logical rank of a world rank, -1 for spares.
  int logical_of_process(int world_rank) const;

  // World ranks of the groups a coordinate belongs to, in order of the varying axis.
  std::vector<int> tensor_group(Coordinate c) const;
  std::vector<int> data_group(Coordinate c) const;
  std::vector<int> pipeline_group(Coordinate c) const;
  std::vector<int> all() const;  ///< every working rank, in logical order

 private:
  MeshShape shape_;
  std::vector<int> process_of_;
};

/// Resolves data = 0 ("the rest") against the number of ranks.  ConfigError printing the equation when explicit sizes
/// do not multiply to `ranks`, or when not one replica fits.
MeshShape resolve_mesh(int tensor, int pipeline, int data, int ranks);

}  // namespace banyan::parallel
