#include "src/parallel/stages.hpp"

#include <algorithm>
#include <charconv>
#include <limits>

#include "src/base/error.hpp"

namespace banyan::parallel {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

/// Cost of a stage that holds blocks [begin, end).
class StageCost {
 public:
  StageCost(std::span<const double> block_costs, double first_extra, double last_extra)
      : prefix_(block_costs.size() + 1, 0.0), first_extra_(first_extra), last_extra_(last_extra) {
    for (std::size_t i = 0; i < block_costs.size(); ++i) prefix_[i + 1] = prefix_[i] + block_costs[i];
  }
  double operator()(std::size_t begin, std::size_t end) const {
    return prefix_[end] - prefix_[begin] + (begin == 0 ? first_extra_ : 0) +
           (end + 1 == prefix_.size() ? last_extra_ : 0);
  }

 private:
  std::vector<double> prefix_;
  double first_extra_, last_extra_;
};

/// Smallest possible cost of the dearest stage.  best[i] is that of the first `s` stages holding the first i blocks; it
/// grows with i while the cost of the stage behind it falls, so the best cut lies where the two cross.
double smallest_maximum(const StageCost& cost, std::size_t blocks, std::size_t stages) {
  std::vector<double> best(blocks + 1, kNever);
  for (std::size_t i = 1; i <= blocks; ++i) best[i] = cost(0, i);
  for (std::size_t s = 2; s <= stages; ++s) {
    std::vector<double> next(blocks + 1, kNever);
    for (std::size_t i = s; i <= blocks; ++i) {
      std::size_t low = s - 1, high = i - 1;  // first cut where the front is at least as dear as the stage behind it
      while (low < high) {
        const std::size_t middle = (low + high) / 2;
        if (best[middle] >= cost(middle, i))
          high = middle;
        else
          low = middle + 1;
      }
      next[i] = std::max(best[low], cost(low, i));
      if (low > s - 1) next[i] = std::min(next[i], std::max(best[low - 1], cost(low - 1, i)));
    }
    best = std::move(next);
  }
  return best[blocks];
}

}  // namespace

std::vector<BlockRange> balance_stages(std::span<const double> block_costs, int stages, double first_extra,
                                       double last_extra) {
  const std::size_t n = block_costs.size(), p = static_cast<std::size_t>(stages);
  if (stages < 1 || n < p) throw BugError("{} blocks cannot fill {} stages", n, stages);
  const StageCost cost(block_costs, first_extra, last_extra);
  const double limit = smallest_maximum(cost, n, p);

  // Of the cuts that stay within the limit, the one with the smallest sum of squares.  Only cuts whose stage fits the
  // limit are looked at, so this is short where the limit is tight.
  std::vector<double> best(n + 1, kNever);
  std::vector<std::vector<std::size_t>> cut(p, std::vector<std::size_t>(n + 1, 0));
  for (std::size_t i = 1; i <= n; ++i)
    if (cost(0, i) <= limit) best[i] = cost(0, i) * cost(0, i);
  for (std::size_t s = 1; s < p; ++s) {
    std::vector<double> next(n + 1, kNever);
    for (std::size_t i = s + 1; i <= n; ++i)
      for (std::size_t j = i; j-- > s;) {
        const double c = cost(j, i);
        if (c > limit) break;
        if (best[j] + c * c < next[i]) {
          next[i] = best[j] + c * c;
          cut[s][i] = j;
        }
      }
    best = std::move(next);
  }

  std::vector<BlockRange> ranges(p);
  std::size_t end = n;
  for (std::size_t s = p; s-- > 0;) {
    const std::size_t begin = s == 0 ? 0 : cut[s][end];
    ranges[s] = {static_cast<std::int64_t>(begin), static_cast<std::int64_t>(end)};
    end = begin;
  }
  return ranges;
}

std::vector<BlockRange> parse_stages(std::string_view text, std::int64_t blocks, int stages) {
  std::vector<BlockRange> ranges;
  std::int64_t begin = 0;
  std::string_view rest = text;
  for (bool more = true; more;) {
    const std::size_t comma = rest.find(',');
    std::string_view item = rest.substr(0, comma);
    more = comma != std::string_view::npos;
    rest = more ? rest.substr(comma + 1) : std::string_view();
    while (!item.empty() && item.front() == ' ') item.remove_prefix(1);
    while (!item.empty() && item.back() == ' ') item.remove_suffix(1);
    std::int64_t count = 0;
    const auto [end, error] = std::from_chars(item.data(), item.data() + item.size(), count);
    if (error != std::errc() || end != item.data() + item.size() || count < 1 || count > blocks)
      throw ConfigError(
          "parallel.stages = {} has '{}' where a number of blocks between 1 and model.layers = {} belongs; write auto, "
          "or one number for each pipeline stage, for example 5,7",
          text, item, blocks);
    ranges.push_back({begin, begin + count});
    begin += count;
  }
  if (static_cast<int>(ranges.size()) != stages)
    throw ConfigError("parallel.stages = {} names {} stage{}, but the pipeline has {}; name one number per stage", text,
                      ranges.size(), ranges.size() == 1 ? "" : "s", stages);
  if (begin != blocks)
    throw ConfigError(
        "parallel.stages = {} adds up to {} blocks, but model.layers = {}; make them agree, or write auto", text, begin,
        blocks);
  return ranges;
}

std::string format_stages(std::span<const BlockRange> stages) {
  std::string s;
  for (const BlockRange& range : stages) s += fmt::format("{}{}", s.empty() ? "" : ",", range.count());
  return s;
}

}  // namespace banyan::parallel
