#include "comm/topology/infiniband_routes.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <functional>
#include <map>
#include <random>

#include "comm/topology/read_fabric.hpp"
#include "src/base/error.hpp"
#include "tests/comm/topology/ib_wiring.hpp"

namespace banyan::comm {
namespace {

/// Leaves with eight hosts each, two cables (25 GB/s) to each of two spines; `missing` of the last leaf's are cut.
Wiring two_levels(int leaves = 2, int missing = 0) {
  Wiring w;
  const int spine[]{w.node(true, "spine0"), w.node(true, "spine1")};
  for (int l = 0; l < leaves; ++l) {
    const int leaf = w.node(true, fmt::format("leaf{}", l));
    for (int h = 0; h < 8; ++h) w.cable(w.node(false, fmt::format("n{} mlx5_0", 8 * l + h)), leaf);
    for (int c = 0; c < 4; ++c)
      if (l < leaves - 1 || c < 4 - missing) w.cable(leaf, spine[c % 2]);
  }
  return w;
}
/// The n-th adapter of such a fabric, by its LID.
int number_of(int lid) {
  const int node = lid / Wiring::lid(1, 0);
  return (node - 3) % 9 + 8 * ((node - 3) / 9);
}
/// Destinations over ports in turn: what routing a fat tree means.
int in_turn(int, int lid, int ports) { return number_of(lid) % ports; }
int always_first(int, int, int) { return 0; }

Fabric routed(const Wiring& w, const std::string& routes) {
  return read_fabric(w.text(), "net", "ib", {.routes = routes, .routes_file = "routes"});
}

TEST(InfinibandRoutes, EvenRoutesTakeNothingAway) {
  const Wiring w = two_levels();
  const Fabric f = routed(w, w.routes([](int s, int lid, int ports) {
    // From a leaf in turn over four cables; a spine has two to each leaf.
    return s < 2 ? number_of(lid) / 2 % ports : in_turn(s, lid, ports);
  }));
  for (const char* leaf : {"leaf0", "leaf1"}) {
    EXPECT_DOUBLE_EQ(way_up(f, leaf).rate, 100e9);
    EXPECT_EQ(way_up(f, leaf).reason, "");
  }
  EXPECT_EQ(f.notes, (std::vector<std::string>{"by its routes the busiest cable of a way has 1 times its share"}));
}

TEST(InfinibandRoutes, WhatTheBusiestCableLetsThroughIsWhatAWayCarries) {
  const Wiring w = two_levels();
  const Fabric one = routed(w, w.routes(always_first));
  EXPECT_DOUBLE_EQ(way_up(one, "leaf0").rate, 25e9);
  EXPECT_EQ(way_up(one, "leaf0").reason,
            "busiest_cable_up_has_4_times_its_share,busiest_cable_down_has_4_times_its_share");
  // Up in turn, down by one cable of each spine.
  const Fabric down = routed(w, w.routes([](int s, int lid, int ports) { return s < 2 ? 0 : in_turn(s, lid, ports); }));
  EXPECT_DOUBLE_EQ(way_up(down, "leaf0").rate, 50e9);
  EXPECT_EQ(way_up(down, "leaf0").reason, "busiest_cable_down_has_2_times_its_share");
}

TEST(InfinibandRoutes, DestinationsThatCannotBeDividedCrowdALittle) {
  // Of eight destinations three go up by one cable of three; of those in turn from spine to spine half come down by the
  // one cable that is left to one of the spines.
  const Wiring w = two_levels(2, 1);
  const Fabric f = routed(w, w.routes(in_turn));
  EXPECT_EQ(way_up(f, "leaf1").cables, 3);
  EXPECT_DOUBLE_EQ(way_up(f, "leaf1").rate, 50e9);
  EXPECT_EQ(way_up(f, "leaf1").reason,
            "3_of_4_cables,busiest_cable_up_has_1.12_times_its_share,busiest_cable_down_has_1.5_times_its_share");
}

TEST(InfinibandRoutes, ANarrowCableWithAFullShareHoldsUpTheWay) {
  Wiring w;
  const int spine = w.node(true, "spine");
  for (int l = 0; l < 3; ++l) {
    const int leaf = w.node(true, fmt::format("leaf{}", l));
    for (int h = 0; h < 4; ++h) w.cable(w.node(false, fmt::format("n{}", 4 * l + h)), leaf);
    w.cable(leaf, spine);
    w.cable(leaf, spine, l == 2 ? "2xHDR" : "4xHDR");
  }
  int turn = 0;
  const Fabric f = routed(w, w.routes([&](int, int, int ports) { return ports > 1 ? turn++ % ports : 0; }));
  EXPECT_EQ(way_up(f, "leaf2").cables, 2);
  EXPECT_LT(way_up(f, "leaf2").rate, 0.75 * 50e9) << "and not 37.5 GB/s, the sum of both";
}

TEST(InfinibandRoutes, SaysWhatDoesNotArrive) {
  const Wiring w = two_levels();
  const int lost = Wiring::lid(3);  // n0
  const Fabric f = routed(
      w, w.routes([&](int s, int lid, int ports) { return lid == lost && s < 2 ? ports : in_turn(s, lid, ports); }));
  ASSERT_EQ(f.notes.size(), 2u);
  EXPECT_EQ(f.notes[1], "8 of 240 routes between adapters do not arrive by routes");
  // Both leaves think that the other one, or a spine, is nearer.
  const std::string circle = fmt::format(
      "Unicast lids [0-7] of switch Lid 2 guid {0:#x} ('leaf0'):\n0x{2:04x} 009 # x\n\n"
      "Unicast lids [0-7] of switch Lid 3 guid {1:#x} ('spine0'):\n0x{2:04x} 001 # x\n",
      w.guid(2), w.guid(0), lost);
  const Fabric g = routed(w, circle);
  ASSERT_EQ(g.notes.size(), 3u);
  EXPECT_EQ(g.notes[1], "240 of 240 routes between adapters do not arrive by routes");
  EXPECT_EQ(g.notes[2], "routes has routes to 1 LIDs that go in circles");
}

RC_GTEST_PROP(InfinibandRoutes, CountsWhatFollowingEachRouteAloneCounts, (std::uint32_t seed)) {
  std::mt19937 random(seed);
  const Wiring w = two_levels(3, static_cast<int>(random() % 4));
  const std::string text =
      w.routes([&](int, int, int ports) { return static_cast<int>(random() % (ports + random() % 2)); });
  IbNetwork n = parse_ibnetdiscover(w.text(), "net");
  follow_routes(n, text, "routes");
  // Read the tables again, in the simplest way.
  std::map<std::uint64_t, std::map<int, int>> ports;
  std::uint64_t guid = 0;
  for (std::size_t at = 0; at < text.size(); at = text.find('\n', at) + 1) {
    const char* line = text.c_str() + at;
    unsigned lid = 0, port = 0;
    unsigned long long found = 0;
    if (std::sscanf(line, "Unicast lids [0x0-0x430] of switch DR path slid 0; dlid 0; 0,1 guid 0x%llx", &found) == 1)
      guid = found;
    else if (std::sscanf(line, "0x%x %u", &lid, &port) == 2)
      ports[guid][static_cast<int>(lid)] = static_cast<int>(port);
  }
  std::map<std::pair<std::size_t, bool>, int> count;
  const auto is_switch = [&](int node) {
    return n.nodes[static_cast<std::size_t>(node)].kind == IbNode::Kind::kSwitch;
  };
  for (const IbCable& from : n.cables)
    for (const IbCable& to : n.cables) {
      const IbLids lids = is_switch(to.a) ? to.b_lids : to.a_lids;
      if (&from == &to || (is_switch(from.a) && is_switch(from.b)) || lids.count == 0) continue;
      for (int s = is_switch(from.a) ? from.a : from.b; is_switch(s);) {
        const auto& mine = ports[n.nodes[static_cast<std::size_t>(s)].guid];
        const auto port = mine.find(lids.first);
        if (port == mine.end()) break;
        for (std::size_t c = 0; c < n.cables.size(); ++c) {
          const IbCable& k = n.cables[c];
          if (k.a == s && k.a_port == port->second) {
            ++count[{c, true}];
            s = k.b;
            break;
          }
          if (k.b == s && k.b_port == port->second) {
            ++count[{c, false}];
            s = k.a;
            break;
          }
        }
      }
    }
  for (std::size_t c = 0; c < n.cables.size(); ++c) {
    RC_ASSERT(n.cables[c].routes_ab == (count[{c, true}]));
    RC_ASSERT(n.cables[c].routes_ba == (count[{c, false}]));
  }
}

TEST(InfinibandRoutes, RefusesWhatIsDamaged) {
  const Wiring w = two_levels();
  const std::string good = w.routes(in_turn);
  const auto read = [&](const std::string& text) { return error_of([&] { routed(w, text); }); };
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    return read(text);
  };
  EXPECT_EQ(read(good), "no error");
  EXPECT_EQ(replaced("[0x0-0x430]", "[0-1072]"), "no error") << "of opensm";
  EXPECT_NE(read("Ca 1").find("routes: this is neither what dump_fts prints nor opensm-lfts.dump"), std::string::npos);
  EXPECT_NE(read("").find("routes: this is neither"), std::string::npos);
  EXPECT_EQ(replaced(" guid 0x", " "), "routes:1: a table begins with 'Unicast lids ... of switch ... guid 0x...'");
  EXPECT_EQ(replaced("0100 (spine0)", "0777 (spine0)"), "routes:1: net has no switch 0x777");
  EXPECT_EQ(read(good + good), fmt::format("routes:{}: the table of switch 0x100 was there before, in line 1",
                                           std::count(good.begin(), good.end(), '\n') + 1));
  EXPECT_EQ(read("0x0007 033\n"), "routes:1: an entry without a switch above it");
  const std::string head = good.substr(0, good.find('\n') + 1);
  for (const char* wrong :
       {"0x0000 001", "0xc000 001", "0xz 001", "0x0007 a", "0x0007 256", "0x0007", "0x99999999999 1"})
    EXPECT_EQ(read(head + wrong + '\n'), "routes:2: an entry is written 0x0007 033") << wrong;
  EXPECT_EQ(read(head + "0x0007 001 : x\n0x0008 : UNREACHABLE\n0x0007 002 : x\n"),
            "routes:4: LID 0x7 comes after 0x8; the LIDs of a table ascend, each once");
  EXPECT_EQ(read(head + "Multicast mlids [0xc000-0xc3ff] of switch Lid 4 guid 0x9 (x)\n0xc000 1 2\n"), "no error");
}

TEST(InfinibandRoutes, NeedsAdaptersWithAddressesOfTheirOwn) {
  const Wiring w = two_levels();
  const auto with_lids = [&](const std::string& from, const std::string& to) {
    std::string text = w.text();
    for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
      text.replace(at, from.size(), to);
    const std::string routes = w.routes(in_turn);
    return error_of([&] { read_fabric(text, "net", "ib", {.routes = routes, .routes_file = "routes"}); });
  };
  EXPECT_EQ(with_lids("# lid ", "# led "),
            "net: no adapter below a switch has a LID; read the fabric again when its subnet manager is up");
  EXPECT_NE(with_lids("# lid 121 ", "# lid 161 ").find(" and another adapter both have LID 161"), std::string::npos);
}

}  // namespace
}  // namespace banyan::comm
