#include "comm/topology/infiniband.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "comm/topology/fabric_text.hpp"
#include "comm/topology/read_fabric.hpp"
#include "src/base/error.hpp"
#include "tests/comm/topology/ib_wiring.hpp"

namespace banyan::comm {
namespace {

/// Two leaves of two hosts, two spines, two cables each.
struct Small {
  Wiring w;
  int spine[2], leaf[2];
  Small() {
    for (int& s : spine) s = w.node(true, fmt::format("spine{}", &s - spine));
    for (int& l : leaf) {
      l = w.node(true, fmt::format("leaf{}", &l - leaf));
      for (int h = 0; h < 2; ++h) w.cable(w.node(false, fmt::format("n{} mlx5_0", 2 * (&l - leaf) + h)), l);
    }
  }
  void wire(int most = 8) {
    int done = 0;
    for (int l : leaf)
      for (int s : spine)
        for (int i = 0; i < 2; ++i)
          if (done++ < most) w.cable(l, s);
  }
};

TEST(Infiniband, FoldsSpinesIntoOneAndAddsCablesUp) {
  Small net;
  net.wire();
  const Fabric f = net.w.fabric();
  EXPECT_EQ(f.hosts, (std::vector<std::string>{"n0", "n1", "n2", "n3"}));
  ASSERT_EQ(f.switches.size(), 3u);
  EXPECT_EQ(f.switches[0].name, "spine0_and_1_more");
  EXPECT_EQ(way_up(f, "leaf0").cables, 4);
  EXPECT_DOUBLE_EQ(way_up(f, "leaf0").rate, 100e9);
  EXPECT_EQ(way_up(f, "leaf0").reason, "");
  EXPECT_TRUE(f.notes.empty());
}

TEST(Infiniband, ShowsWhatIsMissingSlowOrFaulty) {
  Small cut;
  cut.wire(7);
  const Fabric f = cut.w.fabric();
  EXPECT_EQ(way_up(f, "leaf1").cables, 3);
  EXPECT_DOUBLE_EQ(way_up(f, "leaf1").rate, 75e9);
  EXPECT_EQ(way_up(f, "leaf1").reason, "3_of_4_cables");

  Small narrow;
  narrow.wire(7);
  narrow.w.cable(narrow.leaf[1], narrow.spine[1], "1xHDR");
  EXPECT_DOUBLE_EQ(way_up(narrow.w.fabric(), "leaf1").rate, 81.25e9);
  EXPECT_EQ(way_up(narrow.w.fabric(), "leaf1").reason, "20.3_instead_of_25_GB/s_a_cable");

  Small faulty;
  faulty.wire();
  const std::string leaf = fmt::format("{:#x}", faulty.w.guid(faulty.leaf[0]));
  const Fabric g = faulty.w.fabric(
      "Errors for " + leaf + " \"leaf0\"\n   GUID " + leaf + " port ALL: [SymbolErrorCounter == 500]\n   GUID " + leaf +
      " port 3: [PortXmitWait == 9] [SymbolErrorCounter == 500]\n   GUID " + leaf + " port 4: [PortXmitWait == 7]\n");
  EXPECT_DOUBLE_EQ(way_up(g, "leaf0").rate, 87.5e9) << "a busy cable is not a faulty one";
  EXPECT_EQ(way_up(g, "leaf0").reason, "1_faulty");
}

TEST(Infiniband, SeveralAdaptersAreOneHostAndRailsOnePlace) {
  Wiring w;
  const int a = w.node(true, "rail0"), b = w.node(true, "rail1");
  for (int h = 0; h < 4; ++h)
    for (int rail : {a, b}) w.cable(w.node(false, fmt::format("n{} mlx5_{}", h, rail)), rail, "4xNDR");
  const Fabric f = w.fabric();
  EXPECT_EQ(f.hosts.size(), 4u);
  ASSERT_EQ(f.switches.size(), 1u);
  for (const Link& l : f.links) {
    EXPECT_EQ(l.cables, 2);
    EXPECT_DOUBLE_EQ(l.rate, 100e9);
  }
}

TEST(Infiniband, ThreeLevelsAndAHostOnTheTop) {
  Wiring w;
  std::vector<int> cores{w.node(true, "core0"), w.node(true, "core1")};
  int host = 0;
  for (int pod = 0; pod < 3; ++pod) {
    std::vector<int> tops;
    for (int t = 0; t < 2; ++t) {
      tops.push_back(w.node(true, fmt::format("pod{}top{}", pod, t)));
      w.cable(tops.back(), cores[static_cast<std::size_t>(t)], "4xHDR", 2);  // planes: top t sees core t alone
    }
    for (int l = 0; l < 2; ++l) {
      const int leaf = w.node(true, fmt::format("pod{}leaf{}", pod, l));
      for (int t : tops) w.cable(leaf, t);
      for (int h = 0; h < 3; ++h) w.cable(w.node(false, fmt::format("n{:02} HCA-1", host++)), leaf);
    }
  }
  w.cable(w.node(false, "manager HCA-1"), cores[0]);
  const Fabric f = w.fabric();
  std::map<int, int> levels;
  for (const Switch& s : f.switches) ++levels[s.level];
  EXPECT_EQ(levels, (std::map<int, int>{{1, 6}, {2, 3}, {3, 1}})) << draw(f);
  EXPECT_EQ(way_up(f, "pod1top0_and_1_more").cables, 4);
}

TEST(Infiniband, SaysWhatItLeavesOut) {
  Small net;
  net.wire();
  net.w.cable(net.leaf[0], net.leaf[1]);
  net.w.cable(net.w.node(false, "Mellanox Technologies Aggregation Node"), net.spine[0]);
  net.w.cable(net.w.node(false, "MT4123 ConnectX6   Mellanox Technologies", 0xabc), net.leaf[1]);
  net.w.node(true, "spare");
  const Fabric f = net.w.fabric();
  EXPECT_EQ(f.hosts.size(), 5u);
  EXPECT_EQ(f.hosts[2], "H-0000000000000abc");
  ASSERT_EQ(f.notes.size(), 3u);
  EXPECT_EQ(f.notes[0], "not a fat tree: 1 cables join switches of one level and are left out");
}

TEST(Infiniband, PortsWithoutCableSpoilNoErrorsAndOtherTextsAreRefused) {
  Small net;
  net.wire();
  const std::string leaf = fmt::format("{:#x}", net.w.guid(net.leaf[0]));
  const Fabric f = net.w.fabric("   GUID " + leaf + " port 20: [LinkDownedCounter == 3]\n   GUID " + leaf +
                                " port 3: [SymbolErrorCounter == 500]\n");
  EXPECT_DOUBLE_EQ(way_up(f, "leaf0").rate, 87.5e9);
  ASSERT_EQ(f.notes.size(), 1u);
  EXPECT_EQ(f.notes[0], "1 ports with errors have no cable and are left out; errors tells of them");
  EXPECT_TRUE(net.w.fabric("\n## Summary: 6 nodes checked, 0 bad nodes found\n").notes.empty());
  for (const char* other : {"", "root:x:0:0:root:/root:/bin/bash\n"})
    EXPECT_NE(error_of([&] {
                read_fabric(net.w.text(), "net", "auto", {.faults = other, .faults_file = "errors"});
              }).find("errors: this is not"),
              std::string::npos);
  EXPECT_THROW(read_fabric("switch a hosts=n[1-2]\n", "net", "auto", {.faults_file = "errors"}), UsageError);
  EXPECT_THROW(read_fabric("switch a hosts=n[1-2]\n", "net", "auto", {.routes_file = "routes"}), UsageError);
}

TEST(Infiniband, AdaptersThatShareADefaultNameAreNotOneHost) {
  Small net;
  net.wire();
  for (int leaf : net.leaf) net.w.cable(net.w.node(false, "localhost.localdomain mlx5_0"), leaf);
  for (int i = 0; i < 34; ++i) net.w.cable(net.w.node(false, "worker HCA-1"), net.leaf[i % 2]);
  const Fabric f = net.w.fabric();
  EXPECT_EQ(f.hosts.size(), 4u + 2u + 34u);
  ASSERT_EQ(f.notes.size(), 1u);
  EXPECT_EQ(f.notes[0].substr(0, 12), "36 adapters ");
}

TEST(Infiniband, BoundsWhatAHostAndADepthMayBe) {
  Wiring wide;
  const int many = wide.node(false, "n0 HCA-1");
  for (int i = 0; i < 33; ++i) {
    const int leaf = wide.node(true, fmt::format("leaf{}", i));
    wide.cable(many, leaf);
  }
  EXPECT_NE(error_of([&] { wide.fabric(); }).find("net: host n0 hangs from 33 leaves"), std::string::npos);
  Wiring deep;
  int last = deep.node(true, "s0");
  deep.cable(deep.node(false, "n0 HCA-1"), last);
  for (int i = 1; i < 1000; ++i) {
    const int next = deep.node(true, fmt::format("s{}", i));
    deep.cable(last, next);
    last = next;
  }
  EXPECT_NE(error_of([&] { deep.fabric(); }).find("net: s16 would be of level 17"), std::string::npos);
}

TEST(Infiniband, RefusesWhatIsDamaged) {
  Small net;
  net.wire();
  const std::string good = net.w.text();
  const auto read = [](const std::string& text) { return error_of([&] { parse_ibnetdiscover(text, "net"); }); };
  EXPECT_EQ(read(good), "no error");
  EXPECT_NE(read(good.substr(0, good.find("\nvendid", good.size() / 2))).find("is the file complete?"),
            std::string::npos);
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    return read(text);
  };
  EXPECT_EQ(replaced("4xHDR", "4xQQR"), "net:10: width and speed are missing at the end of the line: 4xHDR");
  EXPECT_NE(replaced("Switch\t40", "Switch\t4000000").find("net:9: how many ports"), std::string::npos);
  EXPECT_NE(replaced("[1]", "[41]").find("port 41 of a node that has 40"), std::string::npos);
  EXPECT_NE(replaced("S-0000000000000101\"\t", "S-0000000000000100\"\t").find("GUID 0x100 is there twice"),
            std::string::npos);
  EXPECT_NE(replaced("# lid 161 lmc 0", "# lid 49151 lmc 1").find("LID 49151 with 1 bits of paths is none"),
            std::string::npos);
  EXPECT_NE(replaced("vendid", "v").find("net:5: this is no line"), std::string::npos);
  EXPECT_NE(error_of([] {
              fold(parse_ibnetdiscover("vendid=0x1\nSwitch\t4 \"S-1\"\t# \"a\"\n", "net"));
            }).find("no adapter of a host"),
            std::string::npos);
  EXPECT_NE(error_of([&] {
              net.w.fabric("   GUID 0x77 port 3: [SymbolErrorCounter == 5]\n");
            }).find("errors:1: net has no node"),
            std::string::npos);
}

}  // namespace
}  // namespace banyan::comm
