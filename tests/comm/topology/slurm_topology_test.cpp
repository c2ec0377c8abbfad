#include "comm/topology/slurm_topology.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "comm/topology/fabric_file.hpp"
#include "comm/topology/read_fabric.hpp"
#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

const char* const kConf =
    "# topology.conf\n"
    "SwitchName=s0 Nodes=tux[0-3]\n"
    "switchname=s1 nodes=tux[4-7] LinkSpeed=900\n"
    "SwitchName=s2 \\\n"
    "  Switches=s[0-1]\n";
const char* const kScontrol =
    "SwitchName=s0 Level=0 LinkSpeed=1 Nodes=tux[0-3]\n"
    "SwitchName=s1 Level=0 LinkSpeed=1 Nodes=tux[4-7]\n"
    "SwitchName=s2 Level=1 LinkSpeed=1 Nodes=tux[0-7] Switches=s[0-1]\n";

std::string error_of(const std::string& text) {
  try {
    parse_slurm_topology(text, "topology.conf");
  } catch (const DataError& e) {
    return e.what();
  }
  return "no error";
}
void expect_error(const std::string& text, const std::string& what) {
  EXPECT_NE(error_of(text).find(what), std::string::npos) << text << error_of(text);
}

TEST(SlurmTopology, FileCommandAndEnvironmentTellTheSame) {
  const Fabric conf = parse_slurm_topology(kConf, "topology.conf"), shown = parse_slurm_topology(kScontrol, "scontrol");
  EXPECT_EQ(conf.hosts.size(), 8u);
  EXPECT_EQ(write_fabric_file(conf), write_fabric_file(shown));
  std::vector<SlurmAddress> addresses;
  for (int h : {5, 0, 7, 3, 2, 4, 1, 6, 0}) {
    const std::string host = "tux" + std::to_string(h);
    addresses.push_back({host, (h < 4 ? "s2.s0." : "s2.s1.") + host, "switch.switch.node"});
  }
  EXPECT_TRUE(same_shape(conf, fabric_of_addresses(addresses)));
}

TEST(SlurmTopology, Blocks) {
  const Fabric f = parse_slurm_topology("BlockName=b1 Nodes=n[01-04]\nBlockName=b2 Nodes=n[05-08]\nBlockSizes=4,8\n",
                                        "topology.conf");
  EXPECT_EQ(f.switches.size(), 2u);
  EXPECT_EQ(f.notes.at(0), "2 separate trees: no way between them is known");
  const Fabric shown = parse_slurm_topology(
      "BlockName=b1 BlockIndex=0 Nodes=n[01-04] BlockSize=4\nBlockName=b2 BlockIndex=1 Nodes=n[05-08] BlockSize=4\n"
      "AggregatedBlock=b[1-2] BlockIndex=2 Nodes=n[01-08] BlockSize=8\n",
      "scontrol");
  EXPECT_EQ(shown.switches.size(), 3u);
  EXPECT_EQ(shown.switches[0].level, 2);
  std::vector<SlurmAddress> addresses;
  for (int h = 1; h <= 8; ++h)
    addresses.push_back({fmt::format("n{:02}", h), fmt::format("b{}.n{:02}", h <= 4 ? 1 : 2, h), "block.node"});
  EXPECT_TRUE(same_shape(f, fabric_of_addresses(addresses)));
}

TEST(SlurmTopology, Mistakes) {
  expect_error("SwitchName=s0 Nodes=n[1-\n", "topology.conf:1: host list");
  expect_error("SwitchName=s0\n", "topology.conf:1: s0 has neither Nodes nor Switches");
  expect_error("SwitchName=s0 Nodes=n1\nSwitchName=s0 Nodes=n2\n",
               "topology.conf:2: switch s0 was described before, in line 1");
  expect_error("SwitchName=s0 Switches=s1\nSwitchName=s1 Switches=s0\n", "there is no host in it");
  expect_error("SwitchName=s0 Switches=s1 Nodes=n1\nSwitchName=s1 Switches=s0\n", "no top above");
  expect_error("SwitchName=s0 Switches=s9\n", "topology.conf:1: switch s9 is described nowhere");
  expect_error("Include other.conf\n", "topology.conf:1: Include is not followed");
  expect_error("NodeName=n1 CPUs=4\n", "a line needs SwitchName or BlockName");
  expect_error("SwitchName=s0 Nodes=n1 Nodes=n2\n", "Nodes is given twice");
  expect_error("SwitchName=s0 Nodes=n1\nSwitchName=s1 Nodes=n1\n",
               "topology.conf:2: host n1 hangs from another switch, too");
  expect_error("SwitchName=s0 Nodes=n[1-200000]\nSwitchName=s1 Nodes=m[1-200000]\n", "more than 262144 hosts");
  expect_error("SwitchName=s0 Nodes=n[1-9999999]\n", "more than 262144 names");
}

TEST(SlurmTopology, AddressesAreCutAtDotsOutsideOfBrackets) {
  using V = std::vector<std::string>;
  EXPECT_EQ(switches_of_address("s[4-7].s0.tux1", "switch.switch.node"), (V{"s[4-7]", "s0"}));
  EXPECT_EQ(switches_of_address("s[4.1-4.7].s0.tux1.site.org", "switch.switch.node"), (V{"s[4.1-4.7]", "s0"}));
  EXPECT_EQ(switches_of_address("b1.n1", "block.node"), (V{"b1"}));
  EXPECT_EQ(switches_of_address("n1", "node"), V{});
  EXPECT_EQ(switches_of_address("n1", "switch.node"), V{});
  EXPECT_EQ(switches_of_address("..n1", "switch.switch.node"), V{});
  EXPECT_EQ(switches_of_address("", ""), V{});
}

TEST(SlurmTopology, AddressesThatContradictEachOther) {
  EXPECT_THROW(fabric_of_addresses({{"n1", "n1", "node"}}), DataError);
  EXPECT_THROW(fabric_of_addresses({{"n1", "a.n1", "switch.node"}, {"n1", "b.n1", "switch.node"}}), DataError);
  // A leaf's name may come again in another part of the network.
  const Fabric f =
      fabric_of_addresses({{"n1", "a.x.n1", "switch.switch.node"}, {"n2", "b.x.n2", "switch.switch.node"}});
  EXPECT_EQ(f.switches.size(), 4u);
}

TEST(ReadFabric, KnowsFormatsByTheirFirstLine) {
  EXPECT_EQ(read_fabric(kConf, "a").hosts.size(), 8u);
  EXPECT_EQ(read_fabric("# x\n\nswitch a hosts=n[1-2]\n", "a").hosts.size(), 2u);
  EXPECT_THROW(read_fabric("hello\n", "a"), DataError);
  EXPECT_THROW(read_fabric("", "a"), DataError);
  EXPECT_THROW(read_fabric(kConf, "a", "fabric"), DataError);
  EXPECT_THROW(read_fabric(kConf, "a", "xml"), UsageError);
}

}  // namespace
}  // namespace banyan::comm
