#include "comm/topology/fabric.hpp"

#include <gtest/gtest.h>

#include "comm/topology/fabric_file.hpp"
#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

Fabric parse(const std::string& text) { return parse_fabric_file(text, "f"); }

std::string error_of(const std::string& text) {
  try {
    parse(text);
  } catch (const DataError& e) {
    return e.what();
  }
  return "no error";
}

void expect_error(const std::string& text, const std::string& what) {
  EXPECT_NE(error_of(text).find(what), std::string::npos) << text << error_of(text);
}

const char* const kTwoLeaves =
    "# two leaves below a spine\n"
    "switch spine switches=leaf[1-2] rate=50MB\n"
    "switch leaf1 hosts=n[1-2] rate=125MB\n"
    "switch leaf2 hosts=n[3-4] rate=125MB\n";

TEST(Fabric, IsSortedByItsTree) {
  const Fabric f = parse("switch b hosts=n[3,1]\nswitch top switches=b,a\nswitch a hosts=n[2,4]\n");
  EXPECT_EQ(f.hosts, (std::vector<std::string>{"n3", "n1", "n2", "n4"}));
  ASSERT_EQ(f.switches.size(), 3u);
  EXPECT_EQ(f.switches[0].name, "top");
  EXPECT_EQ(f.switches[0].level, 2);
  EXPECT_EQ(f.switches[1].level, 1);
  std::vector<int> leaves;
  for (const std::vector<int>& way : ways_up(f)) leaves.push_back(way.at(0));
  EXPECT_EQ(leaves, (std::vector<int>{1, 1, 2, 2}));
  EXPECT_TRUE(f.notes.empty());
}

TEST(Fabric, GivesTheTreeOfRanks) {
  const Fabric f = parse(kTwoLeaves);
  const GroupTree tree = tree_of(f, {"n3", "n3", "n1", "n4", "n2"});
  ASSERT_EQ(tree.levels.size(), 3u);
  EXPECT_EQ(tree.levels[0], (std::vector<int>{0, 0, 1, 2, 3}));
  EXPECT_EQ(tree.levels[1], (std::vector<int>{0, 0, 1, 0, 1}));
  EXPECT_EQ(tree.levels[2], (std::vector<int>{0, 0, 0, 0, 0}));
  EXPECT_EQ(tree_of(f, {"n3.site.org", "n1", "n3"}).levels[0], (std::vector<int>{0, 1, 0}));
  EXPECT_THROW(tree_of(f, {"n9"}), DataError);
}

TEST(Fabric, GivesTheRatesOfWaysUp) {
  const Fabric f = parse(
      "switch spine switches=leaf1 rate=50MB\nswitch spine switches=leaf2\nswitch leaf1 hosts=n[1-2] rate=125MB\n"
      "switch leaf2 hosts=n3 rate=60MB\n");
  const std::vector<HostRates> rates = rates_of(f, {"n3", "n1.site.org"});
  ASSERT_EQ(rates.size(), 2u);
  EXPECT_EQ(rates[0].host, 60e6);
  EXPECT_EQ(rates[0].leaf, 0) << "nothing tells";
  EXPECT_EQ(rates[1].host, 125e6);
  EXPECT_EQ(rates[1].leaf, 50e6);
  EXPECT_TRUE(rates[1].above.empty());
  const Fabric tall = parse(
      "switch top switches=spine rate=9MB\nswitch spine switches=leaf rate=50MB\nswitch leaf hosts=n[1-2] rate=1GB\n");
  EXPECT_EQ(rates_of(tall, {"n2"})[0].above, std::vector<double>{9e6});
  EXPECT_THROW(rates_of(f, {"n9"}), DataError);
}

// The third host of the cluster takes the first of two cables, whatever the others do.
TEST(Fabric, SaysWhichCableLeadsToAHost) {
  const std::string text =
      "switch spine switches=leaf[1-2] cables=2 rate=2GB routes=in_turn\nswitch leaf1 hosts=n[1-3] rate=1GB\n"
      "switch leaf2 hosts=n4 rate=1GB\n";
  const Fabric f = parse(text);
  const std::vector<HostRates> rates = rates_of(f, {"n1", "n2", "n3", "n4"});
  for (std::size_t h = 0; h < 4; ++h) EXPECT_EQ(rates[h].cable, static_cast<int>(h % 2));
  EXPECT_EQ(rates[0].cables, 2);
  EXPECT_EQ(write_fabric_file(parse(write_fabric_file(f))), write_fabric_file(f));
  EXPECT_NE(write_fabric_file(f).find("routes=in_turn"), std::string::npos);
  const Fabric even = parse("switch spine switches=leaf cables=2 rate=2GB\nswitch leaf hosts=n1\n");
  EXPECT_EQ(rates_of(even, {"n1"})[0].cable, -1) << "nothing tells";
  expect_error("switch leaf hosts=n1 routes=adaptive\n", "routes=adaptive is not known");
}

TEST(Fabric, WhatIsNoTreeIsRefused) {
  expect_error("switch a switches=b\nswitch b switches=a hosts=n1\n", "no top above n1");
  expect_error("switch a switches=a hosts=n1\n", "no top above n1");
  expect_error("switch a switches=c\nswitch b switches=c\nswitch c hosts=n1\n", "c hangs from both a and b");
  expect_error("switch a hosts=n1\nswitch b hosts=n1\n", "f:2: host n1 hangs from another switch, too");
  expect_error("switch a hosts=n1,n1\n", "f:1: host n1 hangs from another switch, too");
  expect_error("switch a hosts=n1 switches=b\n", "f:1: switch b is described nowhere");
  expect_error("# nothing\n", "there is no host in it");
}

TEST(Fabric, LinesThatAreWrongAreNamed) {
  expect_error("swich a hosts=n1\n", "f:1: a line begins with 'switch NAME', not with 'swich'");
  expect_error("switch\n", "f:1: switch has no name");
  expect_error("switch a hosts=n1 rate=0\n", "f:1: rate=0 is not a size above 0");
  expect_error("\nswitch a hosts=n1 cables=-2\n", "f:2: cables=-2 is not a number from 1");
  expect_error("switch a hosts=n1 hosts=n2\n", "f:1: hosts is given twice");
  expect_error("switch a host=n1\n", "f:1: 'host' is not known; use hosts, switches, cables, rate, reason or routes");
  expect_error("switch a hosts=n[1-\n", "f:1: host list: '[' without ']'");
  expect_error(std::string("switch a\0 hosts=n1\n", 19), "f: a zero byte");
}

TEST(Fabric, SaysWhatIsOdd) {
  EXPECT_EQ(parse("switch a hosts=n1\nswitch b hosts=n2\n").notes.at(0),
            "2 separate trees: no way between them is known");
  EXPECT_EQ(
      parse("switch top switches=mid,b\nswitch mid switches=a\nswitch a hosts=n1\nswitch b hosts=n2\n").notes.at(0),
      "leaves are not all at one depth: b is 2 levels below top");
}

TEST(Fabric, WhatIsWrittenIsReadBack) {
  const Fabric f =
      parse(std::string(kTwoLeaves) + "switch leaf2 hosts=n5 rate=60MB cables=2 reason=width_1x\nswitch empty\n");
  const std::string text = write_fabric_file(f);
  const Fabric again = parse(text);
  EXPECT_EQ(write_fabric_file(again), text);
  EXPECT_EQ(again.hosts, f.hosts);
  ASSERT_EQ(again.links.size(), f.links.size());
  for (std::size_t i = 0; i < f.links.size(); ++i) {
    EXPECT_EQ(again.links[i].lower, f.links[i].lower);
    EXPECT_EQ(again.links[i].upper, f.links[i].upper);
    EXPECT_EQ(again.links[i].cables, f.links[i].cables);
    EXPECT_EQ(again.links[i].rate, f.links[i].rate);
    EXPECT_EQ(again.links[i].reason, f.links[i].reason);
  }
}

TEST(Fabric, ShapesAreComparedWithoutNamesOfSwitches) {
  const Fabric f = parse(kTwoLeaves);
  EXPECT_TRUE(same_shape(f, parse("switch x switches=y,z\nswitch y hosts=n[3-4]\nswitch z hosts=n[1-2]\n")));
  const Fabric other = parse("switch x switches=y,z\nswitch y hosts=n[1,3]\nswitch z hosts=n[2,4-5]\n");
  EXPECT_FALSE(same_shape(f, other));
  const auto lines = differences(f, other);
  ASSERT_EQ(lines.size(), 5u);
  EXPECT_EQ(lines[0], "f knows n5, f does not");
  EXPECT_EQ(lines[1], "f has n[1-2] below one switch, f has not");
}

// The size of the largest clusters there are, twice over.
TEST(Fabric, HundredThousandHosts) {
  std::string text = "switch top switches=pod[0-49]\n";
  for (int pod = 0; pod < 50; ++pod) {
    const int first = pod * 50;
    text += "switch pod" + std::to_string(pod) + " switches=leaf[" + std::to_string(first) + "-" +
            std::to_string(first + 49) + "]\n";
    for (int leaf = first; leaf < first + 50; ++leaf)
      text += "switch leaf" + std::to_string(leaf) + " hosts=n[" + std::to_string(leaf * 40) + "-" +
              std::to_string(leaf * 40 + 39) + "]\n";
  }
  const Fabric f = parse(text);
  EXPECT_EQ(f.hosts.size(), 100000u);
  EXPECT_EQ(f.switches.size(), 2551u);
  EXPECT_EQ(f.switches[0].level, 3);
  EXPECT_EQ(tree_of(f, f.hosts).levels.size(), 4u);
  EXPECT_EQ(write_fabric_file(parse(write_fabric_file(f))), write_fabric_file(f));
}

}  // namespace
}  // namespace banyan::comm
