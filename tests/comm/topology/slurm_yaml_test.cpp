#include "comm/topology/slurm_yaml.hpp"

#include <gtest/gtest.h>

#include "comm/topology/fabric_file.hpp"
#include "comm/topology/read_fabric.hpp"
#include "comm/topology/slurm_topology.hpp"
#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

const char* const kYaml =
    "# topology.yaml\n"
    "- topology: gpus\n"
    "  cluster_default: False\n"
    "  block:\n"
    "    block_sizes: [4, 8]\n"
    "    blocks:\n"
    "      - block: b1\n"
    "        nodes: gpu[01-04]\n"
    "      - {block: b2, nodes: \"gpu[05-08]\"}\n"
    "- topology: all\n"
    "  cluster_default: true\n"
    "  tree:\n"
    "    switches:\n"
    "    - switch: s2\n"
    "      children: s[0-1]\n"
    "    - switch: s0\n"
    "      nodes: tux[0-3]\n"
    "    - switch: s1\n"
    "      nodes: tux[4-7]\n"
    "- topology: login\n"
    "  flat: true\n";

std::string error_of(const std::string& text, const std::string& name = "") {
  try {
    parse_topology_yaml(text, "topology.yaml", name);
  } catch (const DataError& e) {
    return e.what();
  }
  return "no error";
}
void expect_error(const std::string& text, const std::string& what, const std::string& name = "") {
  EXPECT_NE(error_of(text, name).find(what), std::string::npos) << text << error_of(text, name);
}

TEST(SlurmYaml, TellsTheSameAsTopologyConf) {
  const Fabric conf = parse_slurm_topology(
      "SwitchName=s2 Switches=s[0-1]\nSwitchName=s0 Nodes=tux[0-3]\nSwitchName=s1 Nodes=tux[4-7]\n", "topology.conf");
  EXPECT_EQ(write_fabric_file(parse_topology_yaml(kYaml, "topology.yaml")), write_fabric_file(conf));
  EXPECT_EQ(write_fabric_file(parse_topology_yaml(kYaml, "topology.yaml", "all")), write_fabric_file(conf));
}

TEST(SlurmYaml, BlocksAreLeaves) {
  const Fabric f = parse_topology_yaml(kYaml, "topology.yaml", "gpus");
  EXPECT_TRUE(same_shape(f, parse_slurm_topology("BlockName=x Nodes=gpu[01-04]\nBlockName=y Nodes=gpu[05-08]\n", "c")));
  EXPECT_EQ(f.switches[0].name, "b1");
}

TEST(SlurmYaml, OfOneTopologyNothingNeedsToBeTheDefault) {
  EXPECT_EQ(parse_topology_yaml("- topology: a\n  tree: {switches: [{switch: s, nodes: n1}]}\n", "f").hosts.size(), 1u);
}

TEST(SlurmYaml, Mistakes) {
  expect_error(kYaml, "topology.yaml:21: topology login is flat: it does not say", "login");
  expect_error(kYaml, "topology.yaml:2: there is no topology tree; there are gpus, all, login", "tree");
  expect_error(
      "- topology: a\n  flat: true\n- topology: b\n  flat: true\n",
      "topology.yaml:1: none of the topologies says 'cluster_default: true'; name one with --format yaml:NAME: a, b");
  expect_error("a: 1\n", "topology.yaml:1: this is no list of topologies");
  expect_error("", "topology.yaml:1: this is no list of topologies");
  expect_error("- 1\n", "topology.yaml:1: a topology begins with '- topology: NAME'");
  expect_error("- flat: true\n", "topology.yaml:1: topology is missing");
  expect_error("- topology: a\n- topology: a\n", "topology.yaml:2: topology a is described twice");
  expect_error("- topology: a\n  ring: {}\n", "topology.yaml:2: 'ring' is not known here");
  expect_error("- topology: a\n", "topology a has to be one of tree, block and flat");
  expect_error("- topology: a\n  flat: true\n  tree: {}\n", "topology a has to be one of tree, block and flat");
  expect_error("- topology: a\n  cluster_default: 7\n- topology: b\n", "cluster_default is true or false, not '7'");
  expect_error("- topology: a\n  tree:\n    x: 1\n", "topology.yaml:3: 'x' is not known here; known are switches");
  expect_error("- topology: a\n  tree: {}\n", "switches is a list");
  expect_error("- topology: a\n  tree:\n    switches:\n    - nodes: n1\n", "topology.yaml:4: switch is missing");
  expect_error("- topology: a\n  tree:\n    switches:\n    - switch: s\n      nodes: [n1]\n", ":5: nodes is one word");
  expect_error("- topology: a\n  tree:\n    switches:\n    - switch: s\n", ":4: s has neither Nodes nor Switches");
  expect_error("- topology: a\n  tree:\n    switches:\n    - switch: s\n      nodes: n[1-\n", ":4: host list");
  expect_error("- topology: a\n  tree:\n    switches:\n    - switch: s\n      children: t\n",
               ":4: switch t is described nowhere");
  for (const char* name : {"\"s t\"", "\"s\\nt\"", "s#t", "s\\t"})
    expect_error(std::string("- topology: a\n  tree:\n    switches:\n    - switch: s\n      nodes: ") + name + "\n",
                 ":5: nodes has a blank, a control character, # or \\ in it");
  expect_error("- topology: a\n  block:\n    blocks:\n    - block: b\n", ":4: nodes is missing");
}

TEST(SlurmYaml, ListsThatNameEverythingAgainAndAgainAreRefused) {
  std::string text = "- topology: a\n  tree:\n    switches:\n";
  for (int i = 0; i < 40; ++i)
    text += "    - {switch: s" + std::to_string(i) + ", children: t" + std::to_string(i) + ", nodes: 'n[1-200000]'}\n";
  expect_error(text, "topology.yaml:24: host lists up to here have more than 4194304 names");
}

TEST(SlurmYaml, IsKnownByItsFirstLine) {
  EXPECT_EQ(read_fabric(kYaml, "f").hosts.size(), 8u);
  EXPECT_EQ(read_fabric(std::string("---\n") + kYaml, "f").hosts.size(), 8u);
  EXPECT_EQ(read_fabric(kYaml, "f", "yaml").hosts.size(), 8u);
  EXPECT_EQ(read_fabric(kYaml, "f", "yaml:gpus").switches.size(), 2u);
  for (const char* wrong : {"yaml:", "slurm:a", "auto:a", ":yaml"})
    EXPECT_THROW(read_fabric(kYaml, "f", wrong), UsageError) << wrong;
}

}  // namespace
}  // namespace banyan::comm
