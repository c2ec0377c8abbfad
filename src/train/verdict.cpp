#include "src/train/verdict.hpp"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

namespace banyan::train {
namespace {

constexpr std::size_t kNowhere = static_cast<std::size_t>(-1);

std::size_t first_difference(std::span<const std::uint64_t> a, std::span<const std::uint64_t> b) {
  const auto [x, y] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return x == a.end() && y == b.end() ? kNowhere : static_cast<std::size_t>(x - a.begin());
}

}  // namespace

std::vector<int> odd_ones(std::span<const std::uint64_t> sums) {
  std::map<std::uint64_t, int> votes;
  for (const std::uint64_t s : sums) ++votes[s];
  std::vector<int> odd;
  if (votes.size() < 2) return odd;
  const auto most =
      std::max_element(votes.begin(), votes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  const bool majority = 2 * most->second > std::ssize(sums);
  for (std::size_t i = 0; i < sums.size(); ++i)
    if (!majority || sums[i] != most->first) odd.push_back(static_cast<int>(i));
  return odd;
}

Blame judge(const Passes& p, const std::function<bool(std::size_t)>& made) {
  const std::size_t own = first_difference(p.own, p.own_again);
  const std::size_t stand_in = first_difference(p.stand_in, p.stand_in_again);
  Blame blame;
  if (stand_in != kNowhere && made(stand_in)) blame = {.stand_in = true, .at = stand_in};
  if (own != kNowhere && made(own)) blame = {.own = true, .stand_in = blame.stand_in, .at = own};
  if (own != kNowhere || stand_in != kNowhere) return blame;
  const std::size_t at = first_difference(p.own, p.stand_in);
  if (at == kNowhere || !made(at)) return blame;
  const bool others = at < p.third.size() && at < p.own.size() && at < p.stand_in.size();
  if (others && p.third[at] == p.own[at]) return {.stand_in = true, .at = at};
  if (others && p.third[at] == p.stand_in[at]) return {.own = true, .at = at};
  return {.own = true, .stand_in = true, .at = at};
}

std::vector<int> suspects(std::span<const Finding> findings) {
  std::vector<Finding> different;
  for (const Finding& f : findings)
    if (std::find(different.begin(), different.end(), f) == different.end()) different.push_back(f);
  const bool certain =
      std::any_of(different.begin(), different.end(), [](const Finding& f) { return f.ranks.size() == 1; });
  std::map<int, int> times;
  for (const Finding& f : different)
    if (!certain || f.ranks.size() == 1)
      for (const int r : f.ranks) ++times[r];
  int most = 0;
  for (const auto& [rank, n] : times) most = std::max(most, n);
  std::vector<int> ranks;
  for (const auto& [rank, n] : times)
    if (certain || n == most) ranks.push_back(rank);
  return ranks;
}

std::string encode(std::span<const Finding> findings) {
  nlohmann::json all = nlohmann::json::array();
  for (const Finding& f : findings) all.push_back({f.ranks, f.sentence});
  return all.dump();
}

std::vector<Finding> decode(const std::string& text) {
  std::vector<Finding> findings;
  for (const nlohmann::json& f : nlohmann::json::parse(text))
    findings.push_back({f.at(0).get<std::vector<int>>(), f.at(1).get<std::string>()});
  return findings;
}

}  // namespace banyan::train
