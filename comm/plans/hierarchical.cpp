#include "comm/plans/hierarchical.hpp"

#include <algorithm>
#include <utility>

#include "comm/plans/to_messages.hpp"

namespace banyan::comm {
namespace {

using Phases = std::vector<std::vector<Exchange>>;  // by height of the place, from 1

struct Owned {
  std::int64_t begin, count;
  int owner;
};

// Who owns what of [begin, begin + count) when the place has added up, in order of elements; notes the exchanges that
// lead to it.  Where parts are cut differently, the common refinement counts.
std::vector<Owned> add_up(const MemberTree& place, std::int64_t begin, std::int64_t count, Phases& phases) {
  if (place.parts.empty()) return {{begin, count, place.members.front()}};
  std::vector<std::vector<Owned>> by_part;
  for (const MemberTree& part : place.parts) by_part.push_back(add_up(part, begin, count, phases));
  std::vector<Owned> result;
  std::vector<std::size_t> at(by_part.size());
  for (std::int64_t from = begin; from < begin + count;) {
    std::int64_t to = begin + count;
    Exchange exchange;
    for (std::size_t p = 0; p < by_part.size(); ++p) {
      while (by_part[p][at[p]].begin + by_part[p][at[p]].count <= from) ++at[p];
      to = std::min(to, by_part[p][at[p]].begin + by_part[p][at[p]].count);
      exchange.owners.push_back(by_part[p][at[p]].owner);
    }
    const Parts shares = Parts::even(to - from, static_cast<int>(by_part.size()));
    for (int p = 0; p < shares.size(); ++p) {
      exchange.shares.push_back({Buffer::kOutput, from + shares.begin(p), shares.count(p)});
      if (shares.count(p) > 0)
        result.push_back({from + shares.begin(p), shares.count(p), exchange.owners[static_cast<std::size_t>(p)]});
    }
    phases[static_cast<std::size_t>(place.height - 1)].push_back(std::move(exchange));
    from = to;
  }
  return result;
}

std::size_t index_of(const Exchange& x, int rank) {
  return static_cast<std::size_t>(std::find(x.owners.begin(), x.owners.end(), rank) - x.owners.begin());
}

void show_up(Plan& plan, const Exchange& x, std::size_t me) {
  for (std::size_t d = 1; d < x.owners.size(); ++d) {
    const std::size_t p = (me + d) % x.owners.size();
    if (x.shares[p].count > 0) plan.publish({x.owners[p]}, x.shares[p]);
  }
}

void fold_up(Plan& plan, const Exchange& x, std::size_t me) {
  if (x.shares[me].count == 0) return;
  std::vector<Operand> terms;
  for (std::size_t p = 0; p < x.owners.size(); ++p)
    terms.push_back(p == me ? Operand{.slice = x.shares[me]} : Operand{.peer = x.owners[p]});
  plan.fold(x.shares[me], std::move(terms));
}

void show_down(Plan& plan, const Exchange& x, std::size_t me) {
  if (x.shares[me].count == 0) return;
  std::vector<int> others;
  for (std::size_t d = 1; d < x.owners.size(); ++d) others.push_back(x.owners[(me + d) % x.owners.size()]);
  plan.publish(std::move(others), x.shares[me]);
}

void take_down(Plan& plan, const Exchange& x, std::size_t me) {
  for (std::size_t d = 1; d < x.owners.size(); ++d) {
    const std::size_t p = (me + d) % x.owners.size();
    if (x.shares[p].count > 0) plan.fold(x.shares[p], {{.peer = x.owners[p]}});
  }
}

// The member of a place through which part `q` of a reduce-scatter passes: its owner, if it is there, else one that
// depends on q, so that all carry their share.  The proxy of a place is that of one of its parts.
int proxy(const MemberTree& place, int q) {
  const MemberTree* at = &place;
  while (!at->parts.empty()) {
    const auto own = std::find_if(at->parts.begin(), at->parts.end(), [&](auto& p) { return p.has(q); });
    std::size_t stride = 1;  // of a part, in members
    for (const MemberTree& part : at->parts) stride = std::max(stride, part.members.size());
    at = own != at->parts.end() ? &*own : &at->parts[static_cast<std::size_t>(q) / stride % at->parts.size()];
  }
  return at->members.front();
}

// The places that a rank is in, innermost first.
std::vector<const MemberTree*> places_of(const MemberTree& tree, int rank) {
  std::vector<const MemberTree*> places;
  for (const MemberTree* at = &tree; !at->parts.empty();) {
    places.push_back(at);
    at = &*std::find_if(at->parts.begin(), at->parts.end(), [&](auto& p) { return p.has(rank); });
  }
  std::reverse(places.begin(), places.end());
  return places;
}

std::vector<int> proxies(const MemberTree& place, int q) {
  std::vector<int> list;
  for (const MemberTree& part : place.parts) list.push_back(proxy(part, q));
  return list;
}

}  // namespace

std::vector<std::vector<Exchange>> exchanges_of(const MemberTree& tree, std::int64_t count) {
  Phases phases(static_cast<std::size_t>(tree.height));
  if (tree.height > 0) add_up(tree, 0, count, phases);
  return phases;
}

Plan hierarchical_all_reduce(const MemberTree& tree, int rank, std::int64_t count, std::int64_t piece) {
  Plan plan{.name = "hierarchical all-reduce", .steps = {}};
  const auto height = static_cast<std::size_t>(tree.height);
  if (height == 0) return plan;
  // A place has two parts or more, so that the largest message is half a segment.
  std::vector<Phases> segments;
  for (const Slice& s : pieces({Buffer::kOutput, 0, count}, 2 * piece)) {
    segments.emplace_back(height);
    add_up(tree, s.begin, s.count, segments.back());
    for (auto& phase : segments.back())
      std::erase_if(phase, [&](const Exchange& x) { return index_of(x, rank) == x.owners.size(); });
  }
  // At turn t segment t - f is in phase f: up through the heights, then down again.  Everything is shown before
  // anything is waited for.
  const std::size_t phases = 2 * height;
  for (std::size_t t = 0; t + 1 < segments.size() + phases; ++t)
    for (bool shows : {true, false})
      for (std::size_t f = 0; f < phases; ++f) {
        if (t < f || t - f >= segments.size()) continue;
        const bool up = f < height;
        for (const Exchange& x : segments[t - f][up ? f : phases - 1 - f]) {
          const std::size_t me = index_of(x, rank);
          if (up)
            shows ? show_up(plan, x, me) : fold_up(plan, x, me);
          else
            shows ? show_down(plan, x, me) : take_down(plan, x, me);
        }
      }
  return to_messages(std::move(plan));
}

Plan hierarchical_reduce_scatter(const MemberTree& tree, int rank, const Parts& parts, std::int64_t piece) {
  Plan plan{.name = "hierarchical reduce-scatter", .steps = {}};
  for (const MemberTree* place : places_of(tree, rank)) {
    for (bool shows : {true, false})
      for (int q = 0; q < parts.size(); ++q) {
        const std::vector<int> terms = proxies(*place, q);
        const int target = proxy(*place, q);
        if (std::find(terms.begin(), terms.end(), rank) == terms.end()) continue;
        for (const Slice& s : pieces(parts.slice(Buffer::kInput, q), piece)) {
          if (shows && target != rank) plan.publish({target}, s);
          if (shows || target != rank) continue;
          std::vector<Operand> operands;
          for (int m : terms) operands.push_back(m == rank ? Operand{.slice = s} : Operand{.peer = m});
          plan.fold(s, std::move(operands));
        }
      }
  }
  plan.copy({Buffer::kOutput, 0, parts.count(rank)}, parts.slice(Buffer::kInput, rank));
  return to_messages(std::move(plan));
}

Plan hierarchical_all_gather(const MemberTree& tree, int rank, const Parts& parts, std::int64_t piece) {
  Plan plan{.name = "hierarchical all-gather", .steps = {}};
  plan.copy(parts.slice(Buffer::kOutput, rank), {Buffer::kInput, 0, parts.count(rank)});
  auto places = places_of(tree, rank);
  std::reverse(places.begin(), places.end());
  for (const MemberTree* place : places) {
    for (bool shows : {true, false})
      for (int q = 0; q < parts.size(); ++q) {
        std::vector<int> others = proxies(*place, q);
        const int source = proxy(*place, q);
        if (std::find(others.begin(), others.end(), rank) == others.end()) continue;
        std::erase(others, source);
        for (const Slice& s : pieces(parts.slice(Buffer::kOutput, q), piece)) {
          if (shows && source == rank) plan.publish(others, s);
          if (!shows && source != rank) plan.fold(s, {{.peer = source}});
        }
      }
  }
  return to_messages(std::move(plan));
}

}  // namespace banyan::comm
