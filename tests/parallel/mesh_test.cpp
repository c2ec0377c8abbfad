#include "src/parallel/mesh.hpp"

#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "src/base/error.hpp"

namespace banyan::parallel {
namespace {

std::vector<int> identity(int n) {
  std::vector<int> v(static_cast<std::size_t>(n));
  std::iota(v.begin(), v.end(), 0);
  return v;
}

TEST(Mesh, CoordinatesAndLogicalRanksAreInverse) {
  const MeshShape shape{.tensor = 2, .context = 1, .data = 3, .pipeline = 4};
  const Mesh mesh(shape, identity(24));
  for (int i = 0; i < shape.size(); ++i) EXPECT_EQ(mesh.logical(mesh.coordinate(i)), i);
  EXPECT_EQ(mesh.coordinate(1).tensor, 1);
  EXPECT_EQ(mesh.coordinate(2).data, 1);
  EXPECT_EQ(mesh.coordinate(6).pipeline, 1);
}

TEST(Mesh, EveryKindOfGroupPartitionsTheRanks) {
  const MeshShape shape{.tensor = 2, .context = 1, .data = 3, .pipeline = 2};
  const Mesh mesh(shape, identity(12));
  std::multiset<int> tensor, data, pipeline;
  for (int i = 0; i < 12; ++i) {
    const Coordinate c = mesh.coordinate(i);
    const std::vector<int> t = mesh.tensor_group(c), d = mesh.data_group(c), p = mesh.pipeline_group(c);
    EXPECT_EQ(t[static_cast<std::size_t>(c.tensor)], i);
    EXPECT_EQ(d[static_cast<std::size_t>(c.data)], i);
    EXPECT_EQ(p[static_cast<std::size_t>(c.pipeline)], i);
    if (c.tensor == 0) tensor.insert(t.begin(), t.end());
    if (c.data == 0) data.insert(d.begin(), d.end());
    if (c.pipeline == 0) pipeline.insert(p.begin(), p.end());
  }
  const std::vector<int> all = identity(12);
  EXPECT_EQ(tensor, std::multiset<int>(all.begin(), all.end()));
  EXPECT_EQ(data, tensor);
  EXPECT_EQ(pipeline, tensor);
}

TEST(Mesh, ProcessesOutsideTheMeshAreSpares) {
  const Mesh mesh({.tensor = 2}, {3, 1});
  EXPECT_EQ(mesh.logical_of_process(3), 0);
  EXPECT_EQ(mesh.logical_of_process(1), 1);
  EXPECT_EQ(mesh.logical_of_process(0), -1);
}

TEST(Mesh, RefusesAProcessWithTwoCoordinates) {
  EXPECT_THROW(Mesh({.tensor = 2}, {1, 1}), BugError);
  EXPECT_THROW(Mesh({.tensor = 2}, {0}), BugError);
}

TEST(ResolveMesh, DataZeroTakesTheRest) {
  EXPECT_EQ(resolve_mesh(2, 2, 0, 9), (MeshShape{.tensor = 2, .data = 2, .pipeline = 2}));
  EXPECT_EQ(resolve_mesh(1, 1, 0, 1), MeshShape{});
  EXPECT_EQ(resolve_mesh(4, 1, 2, 8), (MeshShape{.tensor = 4, .data = 2}));
}

TEST(ResolveMesh, PrintsTheEquation) {
  try {
    resolve_mesh(2, 2, 3, 8);
    FAIL();
  } catch (const ConfigError& e) {
    EXPECT_NE(std::string(e.what()).find("2 x 2 x 3 = 12, but the job has 8 ranks"), std::string::npos) << e.what();
    EXPECT_EQ(e.code(), ExitCode::kConfig);
  }
  try {
    resolve_mesh(65536, 65536, 0, 8);  // more than an int holds
    FAIL();
  } catch (const ConfigError& e) {
    EXPECT_NE(std::string(e.what()).find("4294967296"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace banyan::parallel
