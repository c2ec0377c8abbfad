#include "src/plan/fabric_links.hpp"

#include <gtest/gtest.h>

#include "comm/topology/fabric_file.hpp"
#include "src/base/error.hpp"

namespace banyan::plan {
namespace {

Machine eight_to_a_node() {
  Machine m;
  m.name = "eight";
  m.ranks_per_node = 8;
  m.wire_efficiency = 0.5;
  m.links = {{8, 1e-6, 100e9}, {0, 5e-6, 10e9}};
  return m;
}

TEST(FabricLinks, LevelsAreThoseOfTheNetwork) {
  const comm::Fabric fabric = comm::parse_fabric_file(
      "switch leaf0 hosts=n[0-3] rate=80GB\nswitch leaf1 hosts=n[4-7] rate=80GB\n"
      "switch top switches=leaf[0-1] rate=160GB\n",
      "net");
  Machine m = eight_to_a_node();
  use_fabric(m, fabric);
  ASSERT_EQ(m.links.size(), 3u);
  EXPECT_EQ(m.links[0].ranks, 8);
  EXPECT_EQ(m.links[1].ranks, 32);
  EXPECT_EQ(m.links[1].rate, 80e9 / 8 * 0.5);
  EXPECT_EQ(m.links[2].rate, 160e9 / 4 / 8 * 0.5);  // two to one
  EXPECT_EQ(m.links[2].ranks, 0);
  EXPECT_EQ(m.links[2].latency, 5e-6);
}

TEST(FabricLinks, AWeakUpLinkSlowsItsLevel) {
  const comm::Fabric fabric = comm::parse_fabric_file(
      "switch leaf0 hosts=n[0-3] rate=80GB\nswitch leaf1 hosts=n[4-7] rate=80GB\n"
      "switch top switches=leaf0 rate=160GB\nswitch top switches=leaf1 rate=40GB\n",
      "net");
  Machine m = eight_to_a_node();
  use_fabric(m, fabric);
  EXPECT_EQ(m.links.back().rate, 40e9 / 4 / 8 * 0.5);
}

TEST(FabricLinks, WhatIsNotToldComesFromTheMachine) {
  const comm::Fabric fabric = comm::parse_fabric_file("switch leaf0 hosts=n[0-3]\n", "net");
  Machine m = eight_to_a_node();
  use_fabric(m, fabric);
  ASSERT_EQ(m.links.size(), 2u);
  EXPECT_EQ(m.links[1].rate, 10e9);
  EXPECT_THROW(use_fabric(m, comm::Fabric{}), ConfigError);
}

}  // namespace
}  // namespace banyan::plan
