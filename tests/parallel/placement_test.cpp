#include "src/parallel/placement.hpp"

#include <gtest/gtest.h>

#include "src/base/error.hpp"

namespace banyan::parallel {
namespace {

TEST(Placement, KeepsTheOrderOfTheRanksAndLeavesSpares) {
  EXPECT_EQ(place({.tensor = 2, .data = 2}, uniform_fabric(5, 2)), (std::vector<int>{0, 1, 2, 3}));
  EXPECT_THROW(place({.tensor = 2, .data = 2}, uniform_fabric(3, 3)), BugError);
}

TEST(Placement, NamesTensorGroupsThatLeaveTheirNode) {
  const MeshShape shape{.tensor = 4, .data = 2};
  const Fabric tight = uniform_fabric(8, 4), loose = uniform_fabric(8, 3);
  EXPECT_TRUE(split_tensor_groups(Mesh(shape, place(shape, tight)), tight).empty());
  const std::vector<std::string> split = split_tensor_groups(Mesh(shape, place(shape, loose)), loose);
  ASSERT_EQ(split.size(), 2u);
  EXPECT_EQ(split[0], "tensor group 0 spans nodes 0 1");
  EXPECT_EQ(split[1], "tensor group 1 spans nodes 1 2");
}

}  // namespace
}  // namespace banyan::parallel
