#include "comm/calibrate.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "comm/measured.hpp"
#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

constexpr std::int64_t kLongBytes = 512 << 10;
constexpr int kShortRounds = 12, kLongRounds = 3, kLocalRounds = 5;
constexpr std::int64_t kLocalCount = 1 << 20;  // floats: more than most caches hold for a core

/// Half a round trip of `view`, the median of some.
double half_round_trip(Communicator& c, int peer, bool leads, View view, int rounds) {
  std::vector<double> times;
  for (int i = 0; i <= rounds; ++i) {  // the first one sets things up
    const Clock::time_point start = Clock::now();
    if (leads) c.send({}, view, peer, 0, "measuring links").wait();
    c.receive({}, view, peer, 0, "measuring links").wait();
    if (!leads) c.send({}, view, peer, 0, "measuring links").wait();
    if (i > 0) times.push_back(seconds_since(start) / 2);
  }
  return median(std::move(times));
}

/// The median of what the ranks have to say; nothing when nobody says anything.
std::vector<double> medians(Communicator& c, const std::vector<double>& mine, const char* what) {
  std::string text;
  for (double v : mine) text += fmt::format("{} ", v);
  std::vector<std::vector<double>> all;
  for (const std::string& one : all_gather_strings(c, text, what)) {
    const char* at = one.c_str();
    char* end = nullptr;
    std::size_t i = 0;
    for (double v = std::strtod(at, &end); end != at; v = std::strtod(at, &end), ++i) {
      if (i == all.size()) all.emplace_back();
      all[i].push_back(v);
      at = end;
    }
  }
  std::vector<double> result;
  for (auto& values : all) result.push_back(two_digits(median(std::move(values))));
  return result;
}

}  // namespace

double two_digits(double value) { return std::strtod(fmt::format("{:.1e}", value).c_str(), nullptr); }

std::vector<int> partners(Distance distance, const std::vector<int>& node, const std::vector<int>& leaf) {
  std::vector<int> partner(node.size(), -1), first;
  std::map<int, int> waiting;  // by place: who still looks for a partner
  std::set<int> seen;          // places that sent somebody
  for (std::size_t r = 0; r < node.size(); ++r) {
    const int rank = static_cast<int>(r);
    // Inside a node everybody takes part, outside one rank of each node or leaf.
    if (distance == Distance::kLeaf && !seen.insert(node[r]).second) continue;
    if (distance == Distance::kAcross && !seen.insert(leaf[r]).second) continue;
    const int place = distance == Distance::kNode ? node[r] : distance == Distance::kLeaf ? leaf[r] : 0;
    const auto found = waiting.find(place);
    if (found == waiting.end()) {
      waiting[place] = rank;
      continue;
    }
    partner[r] = found->second;
    partner[static_cast<std::size_t>(found->second)] = rank;
    waiting.erase(found);
  }
  return partner;
}

Links measure_links(Communicator& everyone, World& world,
                    const std::function<void(View out, ConstView a, ConstView b)>& reduce,
                    const std::function<void(View out, ConstView in)>& copy) {
  std::vector<int> node, leaf;
  for (int r = 0; r < world.size(); ++r) {
    node.push_back(world.node(r));
    leaf.push_back(world.leaf(r));
  }
  Links links;
  links.measured = true;
  std::vector<std::byte> bytes(static_cast<std::size_t>(kLongBytes));
  const View empty(bytes.data(), DType::kU8, {8}), whole(bytes.data(), DType::kU8, {kLongBytes});
  for (int d = 0; d < kDistances; ++d) {
    const int peer = partners(static_cast<Distance>(d), node, leaf)[static_cast<std::size_t>(world.rank())];
    std::vector<double> mine;
    if (peer >= 0) {
      const bool leads = world.rank() < peer;
      const double latency = half_round_trip(everyone, peer, leads, empty, kShortRounds);
      const double longer = half_round_trip(everyone, peer, leads, whole, kLongRounds);
      mine = {latency, static_cast<double>(kLongBytes) / std::max(longer - latency, 0.05 * longer)};
    }
    // Also keeps the distances apart in time.
    const std::vector<double> all = medians(everyone, mine, "the links that were measured");
    if (all.size() == 2) links.at(static_cast<Distance>(d)) = {all[0], all[1]};
    // What came through to another leaf came up from its node as well.
    if (static_cast<Distance>(d) == Distance::kAcross && all.size() == 2)
      links.leaf.rate = std::max(links.leaf.rate, links.across.rate);
  }

  std::vector<float> a(kLocalCount, 1.0f), b(kLocalCount, 2.0f), c(kLocalCount, 0.0f);
  const auto view = [](std::vector<float>& v) { return View(v.data(), {kLocalCount}); };
  std::vector<double> copies, sums;
  for (int i = 0; i <= kLocalRounds; ++i) {
    const Clock::time_point start = Clock::now();
    copy(view(c), view(a));
    const double copied = seconds_since(start);
    reduce(view(c), view(a), view(b));
    const double both = seconds_since(start);
    if (i == 0) continue;
    copies.push_back(4.0 * kLocalCount / copied);
    sums.push_back(4.0 * kLocalCount / std::max(1e-9, both - copied));
  }
  const std::vector<double> local =
      medians(everyone, {median(std::move(copies)), median(std::move(sums))}, "the rates that were measured");
  links.copy_rate = local.at(0);
  links.reduce_rate = local.at(1);
  return links;
}

}  // namespace banyan::comm
