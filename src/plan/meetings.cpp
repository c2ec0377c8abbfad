#include "src/plan/meetings.hpp"

#include "comm/plans/hierarchical.hpp"

namespace banyan::plan {

Meetings meetings_of(const comm::GroupTree& tree, int size) {
  // Divided by whatever numbers of parts a place has, four times over.
  constexpr std::int64_t kElements = std::int64_t{840} * 840 * 840 * 840;
  static_assert(comm::kMostParts <= 8);
  Meetings meetings;
  for (const auto& exchanges : comm::exchanges_of(comm::member_tree(tree, size, comm::kMostParts), kElements)) {
    std::vector<Meeting>& phase = meetings.emplace_back();
    for (const comm::Exchange& x : exchanges)
      for (std::size_t p = 0; p < x.owners.size(); ++p)
        for (std::size_t q = p + 1; q < x.owners.size(); ++q)
          phase.push_back(
              {x.owners[p], x.owners[q],
               static_cast<double>(x.shares[p].count + x.shares[q].count) / static_cast<double>(kElements)});
  }
  return meetings;
}

}  // namespace banyan::plan
