#include "src/job/fetch_plan.hpp"

#include <cstddef>

namespace banyan::job {
namespace {

std::size_t at(int i) { return static_cast<std::size_t>(i); }

/// The one of `choices` with the least load, the first of several.
int least(const std::vector<int>& choices, const std::vector<std::int64_t>& load) {
  int best = choices.front();
  for (const int c : choices)
    if (load[at(c)] < load[at(best)]) best = c;
  return best;
}

}  // namespace

std::optional<std::vector<Fetch>> plan_fetches(const FetchNeeds& needs) {
  const std::size_t nodes = needs.wants.size();
  std::vector<std::vector<int>> ranks(nodes);
  for (std::size_t r = 0; r < needs.node.size(); ++r) ranks[at(needs.node[r])].push_back(static_cast<int>(r));
  std::vector<std::int64_t> given(nodes, 0), sends(needs.node.size(), 0), receives(needs.node.size(), 0);
  std::vector<Fetch> plan;
  for (std::size_t n = 0; n < nodes; ++n)
    for (const int file : needs.wants[n]) {
      std::vector<int> holders;
      for (std::size_t h = 0; h < nodes; ++h)
        if (h != n && needs.has[h].contains(file)) holders.push_back(static_cast<int>(h));
      if (holders.empty()) return std::nullopt;
      const int holder = least(holders, given);
      const Fetch fetch{file, least(ranks[at(holder)], sends), least(ranks[n], receives)};
      const std::int64_t bytes = needs.size[at(file)];
      given[at(holder)] += bytes;
      sends[at(fetch.from)] += bytes;
      receives[at(fetch.to)] += bytes;
      plan.push_back(fetch);
    }
  return plan;
}

}  // namespace banyan::job
