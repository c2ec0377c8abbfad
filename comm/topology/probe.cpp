#include "comm/topology/probe.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>

#include "comm/measured.hpp"
#include "comm/topology/clusters.hpp"
#include "src/base/error.hpp"
#include "src/base/rng.hpp"
#include "src/base/units.hpp"

namespace banyan::comm {
namespace {

/// A host whose best rate is so many times below the median's is slow towards everybody.
constexpr double kSlow = 2;

std::size_t at(int i) { return static_cast<std::size_t>(i); }

class Prober {
 public:
  Prober(const std::vector<std::string>& hosts, const Measure& measure, const ProbeOptions& options)
      : hosts_(hosts),
        size_(static_cast<int>(hosts.size())),
        measure_(measure),
        options_(options),
        best_(hosts.size()) {
    fabric_.source = "probing";
  }

  Fabric run() {
    if (size_ <= options_.most_whole) {
      for (const Round& round : tournament(size_)) meet(round);
      judge();
    } else {
      sample();
    }
    measure_up_links();
    build();
    return std::move(fabric_);
  }

 private:
  void meet(const Round& round) {
    const std::vector<Contact> contacts = measure_(round);
    if (contacts.size() != round.size()) throw BugError("{} answers of {} pairs", contacts.size(), round.size());
    for (std::size_t i = 0; i < round.size(); ++i) {
      const auto [a, b] = round[i];
      const Contact& c = contacts[i];
      const double rate = std::max(c.forth, c.back);
      if (!(c.latency > 0) || !(rate > 0) || !std::isfinite(c.latency) || !std::isfinite(rate))
        throw BugError("hosts {} and {} measured {} s and {} bytes/s", hosts_[at(a)], hosts_[at(b)], c.latency, rate);
      latency_.push_back({a, b, c.latency});
      slowness_.push_back({a, b, 1 / rate});
      for (int h : {a, b}) best_[at(h)] = std::max(best_[at(h)], rate);
    }
  }

  /// Where switches are, as far as is known.
  void judge() {
    by_rate_ = true;
    clusters_ = cluster(size_, slowness_, options_.rate_gap);
    if (!clusters_.levels.empty()) return;
    by_rate_ = false;
    clusters_ = cluster(size_, latency_, options_.latency_gap);
  }

  void sample() {
    int batch = options_.landmarks;
    if (batch <= 0) batch = std::max(16, static_cast<int>(std::sqrt(size_)));
    std::vector<int> far(at(size_));  // from all landmarks so far
    std::iota(far.begin(), far.end(), 0);
    std::vector<char> landmark(at(size_), 0);
    for (std::uint64_t round = 0; !far.empty(); ++round) {
      // In an order that says nothing about where they sit.
      std::sort(far.begin(), far.end(), [&](int a, int b) {
        const auto key = [&](int h) { return rng::mix(rng::mix(static_cast<std::uint64_t>(h), round), 0x9b0be); };
        return key(a) < key(b);
      });
      far.resize(std::min(far.size(), at(batch)));
      std::sort(far.begin(), far.end());
      meet_landmarks(far);
      for (int h : far) landmark[at(h)] = 1;
      judge();
      far.clear();
      if (clusters_.levels.empty()) return;  // no difference between near and far: all are near
      const std::vector<int>& finest = clusters_.levels[0];
      std::vector<char> covered(at(size_), 0);
      for (int h = 0; h < size_; ++h)
        if (landmark[at(h)]) covered[at(finest[at(h)])] = 1;
      for (int h = 0; h < size_; ++h)
        if (!covered[at(finest[at(h)])]) far.push_back(h);
    }
  }

  /// Every host meets every landmark.
  void meet_landmarks(const std::vector<int>& landmarks) {
    std::vector<char> landmark(at(size_), 0);
    for (int l : landmarks) landmark[at(l)] = 1;
    for (int shift = 0; shift < size_; ++shift) {
      Round round;
      // Landmark l meets host l + shift; a pair of landmarks meets when the lower one's turn comes, if both are free.
      std::vector<char> taken(at(size_), 0);
      for (int l : landmarks) {
        const int other = (l + shift) % size_;
        if (other == l || taken[at(l)] || taken[at(other)]) continue;
        if (landmark[at(other)] && other < l) continue;
        taken[at(l)] = taken[at(other)] = 1;
        round.emplace_back(l, other);
      }
      if (!round.empty()) meet(round);
    }
  }

  /// One leaf after the other: all its hosts send out of it, each to a host of its own.
  void measure_up_links() {
    if (clusters_.levels.empty()) return;
    const std::vector<int>& leaf = clusters_.levels[0];
    const int leaves = *std::max_element(leaf.begin(), leaf.end()) + 1;
    up_.assign(at(leaves), 0);
    std::vector<std::vector<int>> members(at(leaves));
    for (int h = 0; h < size_; ++h) members[at(leaf[at(h)])].push_back(h);
    for (int l = 0; l < leaves; ++l) {
      if (size_ - static_cast<int>(members[at(l)].size()) < static_cast<int>(members[at(l)].size())) continue;
      // Far leaves get one host each before a second one, so that theirs is not the narrow way.
      Round round;
      std::vector<int> others;
      for (std::size_t depth = 0; others.size() < members[at(l)].size(); ++depth)
        for (int o = 1; o < leaves && others.size() < members[at(l)].size(); ++o)
          if (const auto& there = members[at((l + o) % leaves)]; depth < there.size()) others.push_back(there[depth]);
      for (std::size_t i = 0; i < others.size(); ++i) round.emplace_back(members[at(l)][i], others[i]);
      // All send equally much, so the last one to be done says how long the up-link took for everything; twice, because
      // those that do not begin quite together have more of it.
      double slowest = std::numeric_limits<double>::infinity();
      for (int i = 0; i < 2; ++i)
        for (const Contact& c : measure_(round)) slowest = std::min(slowest, c.forth);
      up_[at(l)] = slowest * static_cast<double>(round.size());
    }
  }

  void build() {
    const double usual = size_ > 1 ? median(best_) : 0;
    std::vector<std::string> slow;
    const auto host_link = [&](int h, int upper) {
      Link link{.lower = h, .upper = upper, .rate = best_[at(h)]};
      if (best_[at(h)] * kSlow < usual) {
        link.reason = "slow";
        slow.push_back(fmt::format("{} ({}/s)", hosts_[at(h)], format_bytes(best_[at(h)])));
      }
      fabric_.links.push_back(std::move(link));
    };
    fabric_.hosts = hosts_;
    std::vector<int> above(at(size_), 0);  // by host or switch of the level below: its switch
    int first = 0;
    for (std::size_t level = 0; level < clusters_.levels.size(); ++level) {
      const std::vector<int>& cluster_of = clusters_.levels[level];
      const int count = *std::max_element(cluster_of.begin(), cluster_of.end()) + 1;
      const int start = static_cast<int>(fabric_.switches.size());
      for (int c = 0; c < count; ++c)
        fabric_.switches.push_back(
            {.name = fmt::format("{}{}", level == 0 ? "leaf" : fmt::format("level{}_", level + 1), c)});
      std::vector<char> done(fabric_.switches.size(), 0);
      for (int h = 0; h < size_; ++h) {
        const int upper = start + cluster_of[at(h)];
        if (level == 0) {
          host_link(h, upper);
        } else if (const int lower = first + clusters_.levels[level - 1][at(h)]; !done[at(lower)]++) {
          fabric_.links.push_back(
              {.below = Link::Below::kSwitch, .lower = lower, .upper = upper, .rate = level == 1 ? up_[at(lower)] : 0});
        }
      }
      first = start;
    }
    const int top = static_cast<int>(fabric_.switches.size());
    fabric_.switches.push_back({.name = "top"});
    if (top == 0)
      for (int h = 0; h < size_; ++h) host_link(h, top);
    for (int s = first; s < top; ++s)
      fabric_.links.push_back(
          {.below = Link::Below::kSwitch, .lower = s, .upper = top, .rate = first == 0 ? up_[at(s)] : 0});
    settle(fabric_);
    tell(slow, usual);
  }

  void tell(const std::vector<std::string>& slow, double usual) {
    if (!clusters_.levels.empty())
      fabric_.source = fmt::format("probing by {} ({:.1f} times as {} outside a switch as below it)",
                                   by_rate_ ? "rates" : "latencies", clusters_.gaps[0], by_rate_ ? "slow" : "long");
    else if (size_ > 2)
      fabric_.source = "probing (neither rates nor latencies tell hosts apart)";
    if (!slow.empty())
      fabric_.notes.push_back(fmt::format("slow towards all others, half of the usual {}/s or less: {}",
                                          format_bytes(usual), fmt::join(slow, ", ")));
  }

  const std::vector<std::string>& hosts_;
  const int size_;
  const Measure& measure_;
  const ProbeOptions options_;
  std::vector<Distant> latency_, slowness_;
  std::vector<double> best_;  // by host: the best rate it had with anybody
  Clusters clusters_;
  std::vector<double> up_;  // by leaf: what comes out of it, 0: not known
  bool by_rate_ = false;
  Fabric fabric_;
};

}  // namespace

std::vector<Round> tournament(int hosts) {
  std::vector<Round> rounds;
  const int seats = hosts + hosts % 2;  // with an odd number somebody sits out
  for (int r = 0; r + 1 < seats; ++r) {
    Round round;
    // Seat 0 stays, the others move around the table.
    const auto seat = [&](int i) { return i == 0 ? 0 : 1 + (i - 1 + r) % (seats - 1); };
    for (int i = 0; i < seats / 2; ++i) {
      const int a = seat(i), b = seat(seats - 1 - i);
      if (std::max(a, b) < hosts) round.emplace_back(std::min(a, b), std::max(a, b));
    }
    rounds.push_back(std::move(round));
  }
  return rounds;
}

Fabric probe(const std::vector<std::string>& hosts, const Measure& measure, const ProbeOptions& options) {
  if (hosts.empty()) throw BugError("no hosts to probe");
  return Prober(hosts, measure, options).run();
}

}  // namespace banyan::comm
