#include "comm/topology/probe.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "comm/topology/clusters.hpp"
#include "comm/topology/fabric_builder.hpp"
#include "src/base/rng.hpp"

namespace banyan::comm {
namespace {

std::size_t at(int i) { return static_cast<std::size_t>(i); }

/// A network that answers as a real one would: pairs share what their ways have in common, and everything takes up to
/// `noise` longer than it should.
class Network {
 public:
  /// Host h hangs from leaf leaf_of[h], that one from pod pod_of[leaf]; bytes/s of host, leaf and pod ways.
  Network(std::vector<int> leaf_of, std::vector<int> pod_of, double host, double leaf, double pod)
      : leaf_of_(std::move(leaf_of)),
        pod_of_(std::move(pod_of)),
        leaf_(leaf),
        pod_(pod),
        host_(leaf_of_.size(), host) {}
  double noise = 0.1;
  void slow(int host, double rate) { host_[at(host)] = rate; }
  int rounds() const { return rounds_; }

  std::vector<std::string> hosts() const {
    std::vector<std::string> names;
    for (std::size_t h = 0; h < leaf_of_.size(); ++h) names.push_back(fmt::format("n{}", h));
    return names;
  }
  Fabric truth() const {
    FabricBuilder builder("truth");
    const auto sw = [&](const std::string& name) { return builder.any_switch(name, 1); };
    std::set<int> pods(pod_of_.begin(), pod_of_.end());
    std::set<int> leaves;
    for (std::size_t h = 0; h < leaf_of_.size(); ++h) {
      const int leaf = leaf_of_[h];
      if (leaves.insert(leaf).second) builder.define_switch(fmt::format("l{}", leaf), 1);
      builder.link_host(fmt::format("n{}", h), {.upper = sw(fmt::format("l{}", leaf))}, 1);
    }
    builder.define_switch("root", 1);
    for (int p : pods)
      if (pods.size() > 1) builder.define_switch(fmt::format("p{}", p), 1);
    for (int l : leaves)
      builder.link({.below = Link::Below::kSwitch,
                    .lower = sw(fmt::format("l{}", l)),
                    .upper = pods.size() > 1 ? sw(fmt::format("p{}", pod_of_[at(l)])) : sw("root")});
    for (int p : pods)
      if (pods.size() > 1)
        builder.link({.below = Link::Below::kSwitch, .lower = sw(fmt::format("p{}", p)), .upper = sw("root")});
    return builder.finish();
  }
  Measure measure() {
    return [this](const Round& round) {
      ++rounds_;
      std::set<int> met;
      std::map<int, int> leaf_flows, pod_flows;
      for (const auto& [a, b] : round) {
        EXPECT_TRUE(met.insert(a).second && met.insert(b).second) << "a host in two pairs";
        const int x = leaf_of_[at(a)], y = leaf_of_[at(b)];
        if (x == y) continue;
        ++leaf_flows[x], ++leaf_flows[y];
        if (pod_of_[at(x)] != pod_of_[at(y)]) ++pod_flows[pod_of_[at(x)]], ++pod_flows[pod_of_[at(y)]];
      }
      std::vector<Contact> contacts;
      for (const auto& [a, b] : round) {
        const int x = leaf_of_[at(a)], y = leaf_of_[at(b)];
        double rate = std::min(host_[at(a)], host_[at(b)]), latency = 1e-6;
        if (x != y) {
          rate = std::min({rate, leaf_ / leaf_flows[x], leaf_ / leaf_flows[y]});
          latency = 1.5e-6;
          if (pod_of_[at(x)] != pod_of_[at(y)]) {
            rate = std::min({rate, pod_ / pod_flows[pod_of_[at(x)]], pod_ / pod_flows[pod_of_[at(y)]]});
            latency = 2.3e-6;
          }
        }
        contacts.push_back({latency * late(), rate / late(), rate / late()});
      }
      return contacts;
    };
  }

 private:
  double late() {
    const double unit = static_cast<double>(rng::mix(77, draws_++) >> 11) * 0x1p-53;
    return 1 + noise * unit;
  }
  std::vector<int> leaf_of_, pod_of_;
  double leaf_, pod_;
  std::vector<double> host_;
  std::uint64_t draws_ = 0;
  int rounds_ = 0;
};

/// `leaves` leaves of `width` hosts, numbered so that neighbours sit on different leaves.
std::vector<int> dealt(int leaves, int width) {
  std::vector<int> leaf_of;
  for (int h = 0; h < leaves * width; ++h) leaf_of.push_back(h % leaves);
  return leaf_of;
}

std::vector<int> pods_of(int leaves, int width) {
  std::vector<int> pod_of;
  for (int l = 0; l < leaves; ++l) pod_of.push_back(l / width);
  return pod_of;
}

TEST(Tournament, EverybodyMeetsEverybodyOnce) {
  for (int hosts = 1; hosts <= 17; ++hosts) {
    std::set<std::pair<int, int>> met;
    for (const Round& round : tournament(hosts)) {
      std::set<int> busy;
      for (const auto& pair : round) {
        EXPECT_TRUE(busy.insert(pair.first).second && busy.insert(pair.second).second);
        EXPECT_TRUE(pair.first < pair.second && pair.second < hosts);
        EXPECT_TRUE(met.insert(pair).second);
      }
    }
    EXPECT_EQ(static_cast<int>(met.size()), hosts * (hosts - 1) / 2);
    EXPECT_EQ(static_cast<int>(tournament(hosts).size()), hosts + hosts % 2 - 1);
  }
}

TEST(Clusters, EndWhereTheNextIsFar) {
  // Two pairs of pairs.
  const auto far = [](int a, int b) { return a / 2 == b / 2 ? 1.0 : a / 4 == b / 4 ? 3.0 : 10.0; };
  std::vector<Distant> pairs;
  for (int a = 0; a < 8; ++a)
    for (int b = a + 1; b < 8; ++b) pairs.push_back({a, b, far(a, b)});
  const Clusters found = cluster(8, pairs, 1.5);
  ASSERT_EQ(found.levels.size(), 2u);
  EXPECT_EQ(found.levels[0], (std::vector{0, 0, 1, 1, 2, 2, 3, 3}));
  EXPECT_EQ(found.levels[1], (std::vector{0, 0, 0, 0, 1, 1, 1, 1}));
  EXPECT_NEAR(found.gaps[0], 3, 1e-9);
  EXPECT_EQ(cluster(8, pairs, 4).levels.size(), 0u) << "3 and 3.3 times as far is not far enough";
  EXPECT_EQ(cluster(8, pairs, 3.2).levels.size(), 1u);
}

TEST(Clusters, OneThatIsFarFromAllIsNoLevel) {
  std::vector<Distant> pairs;
  for (int a = 0; a < 5; ++a)
    for (int b = a + 1; b < 5; ++b) pairs.push_back({a, b, b == 4 ? 10.0 : 1.0});
  EXPECT_TRUE(cluster(5, pairs, 1.5).levels.empty());
}

TEST(Probe, FindsLeavesOfATaperedTreeByRates) {
  Network net(dealt(2, 2), {0, 0}, 125e6, 50e6, 1e12);
  const Fabric found = probe(net.hosts(), net.measure());
  EXPECT_TRUE(same_shape(found, net.truth()));
  const UpLinks up = up_links(found);
  for (std::size_t s = 0; s < found.switches.size(); ++s) {
    if (found.switches[s].level != 1) continue;
    EXPECT_NEAR(found.links[at(up.of_switch[s])].rate, 50e6, 6e6) << "what two hosts at once get out of a leaf";
  }
  for (int link : up.of_host) EXPECT_NEAR(found.links[at(link)].rate, 125e6, 13e6);
}

TEST(Probe, FindsLeavesByLatenciesWhereRatesAreAlike) {
  Network net(dealt(4, 4), {0, 0, 0, 0}, 12e9, 48e9, 1e12);
  const Fabric found = probe(net.hosts(), net.measure());
  EXPECT_TRUE(same_shape(found, net.truth()));
  EXPECT_NE(found.source.find("by latencies"), std::string::npos) << found.source;
}

TEST(Probe, FindsThreeLevels) {
  Network net(dealt(8, 8), pods_of(8, 2), 12e9, 96e9, 192e9);
  EXPECT_TRUE(same_shape(probe(net.hosts(), net.measure()), net.truth()));
}

TEST(Probe, FindsRaggedLeaves) {
  const std::vector<int> leaf_of{0, 1, 1, 2, 0, 2, 2, 1, 1, 0, 2, 2, 2};
  Network net(leaf_of, {0, 0, 0}, 12e9, 12e9, 1e12);
  EXPECT_TRUE(same_shape(probe(net.hosts(), net.measure()), net.truth()));
}

TEST(Probe, SaysWhenThereIsNothingToSee) {
  Network net(dealt(1, 6), {0}, 12e9, 1e12, 1e12);
  const Fabric found = probe(net.hosts(), net.measure());
  EXPECT_EQ(found.switches.size(), 1u);
  EXPECT_NE(found.source.find("neither"), std::string::npos) << found.source;
  EXPECT_EQ(probe({"alone"}, net.measure()).hosts.size(), 1u);
}

TEST(Probe, NamesAHostThatIsSlow) {
  Network net(dealt(2, 4), {0, 0}, 12e9, 12e9, 1e12);
  net.slow(5, 1e9);
  const Fabric found = probe(net.hosts(), net.measure());
  ASSERT_FALSE(found.notes.empty());
  EXPECT_NE(found.notes.back().find("n5"), std::string::npos) << found.notes.back();
  for (std::size_t h = 0; h < found.hosts.size(); ++h)
    EXPECT_EQ(found.links[at(up_links(found).of_host[h])].reason, found.hosts[h] == "n5" ? "slow" : "");
}

TEST(Probe, MeetsSomeOfManyHostsOnly) {
  Network net(dealt(64, 32), pods_of(64, 64), 12e9, 192e9, 1e15);
  const Fabric found = probe(net.hosts(), net.measure());
  EXPECT_TRUE(same_shape(found, net.truth()));
  EXPECT_LT(net.rounds(), 5 * 2048) << "all with all would be 2047 rounds of 1024 pairs; these have 45 pairs each";
}

TEST(Probe, SamplesUntilNobodyIsFar) {
  // Eight leaves with as few landmarks as two at a time.
  Network net(dealt(8, 6), pods_of(8, 8), 12e9, 24e9, 1e12);
  const Fabric found = probe(net.hosts(), net.measure(), {.most_whole = 10, .landmarks = 3});
  EXPECT_TRUE(same_shape(found, net.truth()));
}

}  // namespace
}  // namespace banyan::comm
