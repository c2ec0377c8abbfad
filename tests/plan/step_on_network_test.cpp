#include "src/plan/step_on_network.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "comm/topology/fabric_file.hpp"
#include "src/base/error.hpp"
#include "src/base/json.hpp"
#include "src/plan/placement_choice.hpp"
#include "tests/plan/placement_fabrics.hpp"

namespace banyan::plan {
namespace {

comm::Fabric network() {
  return comm::parse_fabric_file(
      "switch core switches=spine[1-2] rate=20GB\nswitch spine1 switches=leaf[1-2] rate=8GB\n"
      "switch spine2 switches=leaf3 rate=4GB\nswitch leaf1 hosts=a[1-2] rate=12GB\nswitch leaf2 hosts=b[1-2] "
      "rate=12GB\n"
      "switch leaf3 hosts=c[1-4] rate=12GB\n",
      "network");
}

TEST(FabricOn, NumbersPlacesAsTheyAppearAndTakesTheirRates) {
  const parallel::Fabric f = fabric_on(network(), {"c2", "c2", "a1", "b1", "c1"});
  ASSERT_EQ(f.size(), 5);
  EXPECT_EQ(f.places[1].node, 0);
  EXPECT_EQ(f.places[1].local_rank, 1);
  EXPECT_EQ(f.places[2].leaf, 1);
  EXPECT_EQ(f.places[4].leaf, 0);
  EXPECT_EQ(f.places[4].node, 3);
  EXPECT_EQ(f.node_rate, std::vector<double>(4, 12e9));
  EXPECT_EQ(f.leaf_rate, (std::vector<double>{4e9, 8e9, 8e9}));
  ASSERT_EQ(f.tiers.size(), 1u) << "above the spines there is one switch only, whose way up nothing takes";
  EXPECT_EQ(f.tiers[0].of_leaf, (std::vector<int>{0, 1, 1}));
  EXPECT_EQ(f.tiers[0].rate, std::vector<double>(2, 20e9));
  EXPECT_TRUE(fabric_on(network(), {"a1", "b2"}).tiers.empty()) << "one spine has both";
  EXPECT_THROW(fabric_on(network(), {"a1", "z"}), DataError);
}

struct Planned {
  Layout layout = layout_of(2, 4, 1);
  comm::Fabric net = network();
  std::vector<std::string> hosts{"a1", "a2", "b1", "b2", "c1", "c2", "c3", "c4"};
  parallel::Fabric fabric = fabric_on(net, hosts);
  PlacementQuestion question{layout, fabric, {}};
  StepOnNetwork on(std::vector<int> order) const {
    return load_network(question, net, hosts, question.price(std::move(order), "mine"));
  }
};

TEST(StepOnNetwork, SaysWhatEveryWayCarriesAndWhatTheStepWaitsFor) {
  const Planned p;
  const StepOnNetwork step = p.on({0, 1, 2, 3, 4, 5, 6, 7});
  // Tensor groups are pairs below one leaf: their stream leaves hosts and no leaf.  Data groups are everywhere.
  const auto carried = [&](const std::string& lower, std::size_t axis) {
    for (const WayLoad& way : step.ways) {
      const comm::Link& l = p.net.links[static_cast<std::size_t>(way.link)];
      const auto below = static_cast<std::size_t>(l.lower);
      if ((l.below == comm::Link::Below::kHost ? p.net.hosts[below] : p.net.switches[below].name) == lower)
        return way.bytes[axis];
    }
    return -1.0;
  };
  const Demand& d = p.question.demand;
  EXPECT_EQ(carried("c1", 0), d.tensor[0]);
  EXPECT_EQ(carried("leaf1", 0), 0);
  EXPECT_DOUBLE_EQ(carried("leaf1", 2), 2 * 1.5 * d.data[0])
      << "two groups; to the other leaf, half of what leaves both";
  EXPECT_DOUBLE_EQ(carried("leaf3", 2), 2 * d.data[0]) << "alone below its spine";
  EXPECT_DOUBLE_EQ(carried("spine2", 2), 2 * (2 * d.data[0] / 2)) << "two groups, two spines";
  EXPECT_EQ(carried("core", 2), -1) << "nothing above it";
  const std::string text = report(step, p.layout.mesh, p.net);
  EXPECT_NE(text.find("leaf3 to spine2 carries"), std::string::npos) << text;
  EXPECT_NE(text.find("bottleneck: "), std::string::npos) << text;
  EXPECT_NE(
      text.find("leaf1: 2 hosts, 2 ranks: tensor 0-1, pipeline 0, data 0; whole groups: tensor 1 of 1, data 0 of 2"),
      std::string::npos)
      << text;
  double sum = 0;
  for (const AxisLimit& l : step.limits) sum += l.seconds;
  EXPECT_DOUBLE_EQ(sum, step.price.seconds());
}

TEST(StepOnNetwork, MarksTheDrawing) {
  const Planned p;
  const StepOnNetwork step = p.on({0, 1, 2, 3, 4, 5, 6, 7});
  const comm::Marks marks = marks_of(step, p.net);
  ASSERT_EQ(marks.link.size(), p.net.links.size());
  EXPECT_EQ(*std::max_element(marks.heat.begin(), marks.heat.end()), 1);
  EXPECT_NE(comm::draw(p.net, marks).find(" a step, "), std::string::npos);
  EXPECT_NE(comm::draw_svg(p.net, marks).find("tensor 0-1, pipeline 0, data 0"), std::string::npos);
  EXPECT_EQ(comm::draw(p.net).find(" a step, "), std::string::npos);
  EXPECT_EQ(to_json(step, p.net)["ways"].size(), step.ways.size());
}

// One group across everything costs its calls as well; what never leaves a node waits for no way.
TEST(StepOnNetwork, NamesMessagesAndNodesAsLimits) {
  Planned p;
  p.hosts.assign(8, "a1");
  p.fabric = fabric_on(p.net, p.hosts);
  const PlacementQuestion question(p.layout, p.fabric, {});
  const StepOnNetwork step = load_network(question, p.net, p.hosts, question.price({0, 1, 2, 3, 4, 5, 6, 7}, ""));
  EXPECT_EQ(step.busiest, -1);
  EXPECT_EQ(step.limits[0].why, "inside nodes");
  EXPECT_EQ(report(step, p.layout.mesh, p.net).find("bottleneck"), std::string::npos);
}

// Where routes are fixed, it is a cable that is full.
TEST(StepOnNetwork, NamesTheCableThatIsFull) {
  const comm::Fabric net = comm::parse_fabric_file(
      "switch top switches=leaf[0-1] cables=2 rate=2GB routes=in_turn\nswitch leaf0 hosts=n[0-1] rate=9GB\n"
      "switch leaf1 hosts=n[2-3] rate=9GB\n",
      "test");
  // What goes to n0 and n2 takes the first cable, what goes to the others the second.
  const std::vector<std::string> hosts{"n0", "n2", "n1", "n3"};
  const parallel::Fabric fabric = fabric_on(net, hosts);
  EXPECT_EQ(fabric.cable, (std::vector<int>{0, 0, 1, 1}));
  EXPECT_EQ(fabric.cables, (std::vector<int>{2, 2}));
  const Layout layout = layout_of(2, 1, 1);
  const PlacementQuestion question(layout, fabric, {});
  const StepOnNetwork step = load_network(question, net, hosts, question.price({0, 1}, "mine"));
  EXPECT_NE(step.limits[0].why.find("a cable of leaf0 to top carries"), std::string::npos) << step.limits[0].why;
}

}  // namespace
}  // namespace banyan::plan
