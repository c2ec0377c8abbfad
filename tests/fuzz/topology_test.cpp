// Damaged descriptions of fabrics: each is read as some tree that can be drawn, written and read back, or refused with
// a DataError.
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "comm/topology/fabric_file.hpp"
#include "comm/topology/fabric_text.hpp"
#include "comm/topology/host_list.hpp"
#include "comm/topology/read_fabric.hpp"
#include "comm/topology/slurm_topology.hpp"
#include "src/base/error.hpp"
#include "src/base/json.hpp"
#include "tests/comm/topology/ib_wiring.hpp"

namespace banyan::comm {
namespace {

constexpr int kRounds = 4000;

const char* const kTexts[] = {
    "SwitchName=s0 Nodes=tux[0-3]\nSwitchName=s1 Nodes=tux[4-7] LinkSpeed=900\nSwitchName=s2 Switches=s[0-1]\n",
    "BlockName=b1 Nodes=n[01-04]\nBlockName=b2 Nodes=n[05-08]\nAggregatedBlock=b[1-2] Nodes=n[01-08]\nBlockSizes=4,8\n",
    "- topology: a\n  tree:\n    switches:\n    - switch: s0\n      nodes: tux[0-3]\n    - {switch: s1, nodes: tux4}\n"
    "    - switch: s2\n      children: s[0-1]\n- topology: b\n  cluster_default: true\n  block:\n    blocks:\n"
    "    - block: b1\n      nodes: n[01-04]\n",
    "# f\nswitch spine switches=leaf[1-2] rate=50MB cables=2\nswitch leaf1 hosts=n[1-2],r[1-2]n[07-08] rate=125MB\n"
    "switch leaf2 hosts=n[3-4]\nswitch leaf2 hosts=n5 rate=60MB reason=width_1x\n"};

std::string damage(std::string s, std::mt19937& random) {
  static constexpr std::string_view kTokens[] = {"[",         "]",      "-",  ",",      "=",           "\n",
                                                 " ",         "\\\n",   "#",  "0",      "99999999999", "n[1-1000000]",
                                                 "Switches=", "hosts=", "s0", "rate=1", "\xff"};
  for (auto n = 1 + random() % 4; n > 0 && !s.empty(); --n) {
    const std::size_t at = random() % s.size(), length = std::min<std::size_t>(1 + random() % 20, s.size() - at);
    switch (random() % 5) {
      case 0:
        s[at] = static_cast<char>(random() % 256);
        break;
      case 1:
        s.erase(at, length);
        break;
      case 2:
        s.insert(random() % s.size(), s.substr(at, length));
        break;
      default:
        s.insert(at, kTokens[random() % std::size(kTokens)]);
        break;
    }
  }
  return s;
}

TEST(TopologyFuzz, EveryTextIsReadOrRefused) {
  std::mt19937 random(11);
  int read = 0, refused = 0;
  for (int round = 0; round < kRounds; ++round) {
    const std::string text = damage(kTexts[static_cast<std::size_t>(round) % std::size(kTexts)], random);
    try {
      const Fabric f = read_fabric(text, "f");
      ++read;
      if (f.hosts.size() > 10000) continue;
      EXPECT_FALSE(draw(f).empty());
      EXPECT_FALSE(draw_svg(f).empty());
      EXPECT_EQ(tree_of(f, f.hosts).levels.at(0).size(), f.hosts.size());
      const Fabric again = parse_fabric_file(write_fabric_file(f), "written");
      EXPECT_TRUE(same_shape(f, again)) << text;
    } catch (const DataError&) {
      ++refused;
    }
  }
  EXPECT_GT(read, kRounds / 20);
  EXPECT_GT(refused, kRounds / 20);
}

TEST(TopologyFuzz, EveryAddressHasAPlaceOrNone) {
  std::mt19937 random(12);
  for (int round = 0; round < kRounds; ++round) {
    const std::string address = damage("s[4-7].s0.tux1", random), pattern = damage("switch.switch.node", random);
    try {
      EXPECT_EQ(fabric_of_addresses({{"tux1", address, pattern}, {"tux2", "s[4-7].s0.tux2", "switch.switch.node"}})
                    .hosts.size(),
                2u);
    } catch (const DataError&) {
    }
  }
}

/// A few switches and hosts with cables between any two of them.
Wiring random_wiring(std::mt19937& random) {
  static constexpr const char* kNames[] = {"n1 mlx5_0",
                                           "n2 mlx5_0",
                                           "n1 mlx5_1",
                                           "",
                                           "a b",
                                           "MT4123 Mellanox Technologies",
                                           "Mellanox Technologies Aggregation Node"};
  static constexpr const char* kSpeeds[] = {"4xHDR", "4xHDR", "4xHDR", "1xSDR", "4xNDR", "12xFDR10"};
  Wiring w;
  const int nodes = 2 + static_cast<int>(random() % 14);
  const auto some = [&](const auto& from) { return from[random() % std::size(from)]; };
  for (int i = 0; i < nodes; ++i)
    w.node(random() % 2 == 0, random() % 3 ? fmt::format("x{}", random() % 20) : std::string(some(kNames)));
  for (auto cables = random() % 24; cables > 0; --cables) {
    const int a = static_cast<int>(random() % static_cast<unsigned>(nodes)),
              b = static_cast<int>(random() % static_cast<unsigned>(nodes));
    if (a != b) w.cable(a, b, some(kSpeeds));
  }
  return w;
}

TEST(TopologyFuzz, EveryWiringIsFoldedIntoATree) {
  std::mt19937 random(13);
  int folded = 0;
  for (int round = 0; round < kRounds; ++round) {
    const Wiring w = random_wiring(random);
    try {
      const Fabric f = w.fabric();
      ++folded;
      EXPECT_EQ(tree_of(f, f.hosts).levels.at(0).size(), f.hosts.size());
      EXPECT_TRUE(same_shape(f, parse_fabric_file(write_fabric_file(f), "written"))) << w.text();
    } catch (const DataError& e) {
      EXPECT_NE(std::string(e.what()).find("no adapter of a host"), std::string::npos) << e.what() << '\n' << w.text();
    }
    try {
      const std::string faults = damage("   GUID 0x101 port 3: [SymbolErrorCounter == 5]\n", random);
      read_fabric(damage(w.text(), random), "f", "ib", {.faults = faults, .faults_file = "e"});
    } catch (const DataError&) {
    }
    try {
      const std::string routes = w.routes([&](int, int, int) { return random() % 3; });
      read_fabric(w.text(), "f", "ib", {.routes = round % 2 ? damage(routes, random) : routes, .routes_file = "r"});
    } catch (const DataError&) {
    }
  }
  EXPECT_GT(folded, kRounds / 2);
}

}  // namespace
}  // namespace banyan::comm
