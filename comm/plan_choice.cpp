#include "comm/plan_choice.hpp"

#include <fmt/ranges.h>

#include <algorithm>

#include "comm/plans/choose.hpp"
#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

constexpr double kClearlyFaster = 2.0 / 3;
constexpr std::int64_t kSmallest = 1 << 10, kLargest = 64 << 20, kStep = 4;
constexpr std::int64_t kOneSize = 1 << 20;  // of kinds whose choice cannot depend on the size
constexpr std::int64_t kPieces[] = {64 << 10, 256 << 10};
constexpr int kMostDirect = 32;  // members that all speak to each other
// From here on fewer sizes are looked at, since all ranks wait for the answer.
constexpr int kManyMembers = 64;
constexpr std::int64_t kManyStep = 16;
constexpr int kMostPriced = 1024;  // beyond, what choose() says

bool choice_by_size(CollectiveKind kind) {
  return kind != CollectiveKind::kAllToAll && kind != CollectiveKind::kBarrier;
}

/// The same algorithm everywhere; pieces as choose() would cut them.
std::int64_t usual_piece(std::string_view algorithm, const Call& call, bool window) {
  if (call.kind == CollectiveKind::kBarrier || algorithm == kNative) return 0;
  return algorithm == "direct" ? direct_piece(call.size, window)
                               : std::max(choose(call, window).piece_bytes, kPieces[1]);
}

class Chooser {
 public:
  Chooser(int size, const GroupTree& tree, const Links& links, bool window)
      : size_(size), tree_(tree), links_(links), window_(window) {}

  PlanRange best(CollectiveKind kind, std::int64_t bytes) const {
    const Call call = even_call(kind, size_, bytes);
    PlanRange best{bytes, choose(call, window_), 0};
    if (size_ > kMostPriced) return best;
    best.seconds = price(best.recipe, call, tree_, links_, window_);
    if (window_) return best;
    double limit = kClearlyFaster * best.seconds;
    for (const std::string_view name : algorithms(kind)) {
      if (name == "direct" && size_ > kMostDirect) continue;
      if ((name == "tree" || name == "bine") && !plays_all(size_)) continue;
      for (const std::int64_t piece : kPieces) {
        if (size_ > kManyMembers && piece != kPieces[1]) continue;
        const Recipe recipe{std::string(name), kind == CollectiveKind::kBarrier ? 0
                                               : name == "direct"               ? direct_piece(size_, window_)
                                                                                : piece};
        const double seconds = price(recipe, call, tree_, links_, false);
        if (seconds >= limit) continue;
        limit = seconds;
        best = {bytes, recipe, seconds};
      }
    }
    return best;
  }
  PlanRange wished(CollectiveKind kind, const std::string& algorithm, std::int64_t bytes) const {
    const Call call = even_call(kind, size_, bytes);
    const Recipe recipe{algorithm, usual_piece(algorithm, call, window_)};
    return {bytes, recipe,
            algorithm == kNative || size_ > kMostPriced ? 0 : price(recipe, call, tree_, links_, window_)};
  }

 private:
  const int size_;
  const GroupTree& tree_;
  const Links& links_;
  const bool window_;
};

}  // namespace

PlanWishes no_wishes() {
  PlanWishes wishes;
  wishes.fill("auto");
  return wishes;
}

std::vector<std::string> wishes_for(CollectiveKind kind) {
  std::vector<std::string> names{"auto"};
  for (const std::string_view name : algorithms(kind)) names.emplace_back(name);
  names.emplace_back(kShared);
  names.emplace_back(kNative);
  return names;
}

GroupPlans choose_plans(const std::string& group, int size, const GroupTree& tree, const Links& links, bool window,
                        const PlanWishes& wishes) {
  GroupPlans plans{.group = group, .size = size, .tree = tree, .ranges = {}};
  const Chooser chooser(size, tree, links, window);
  for (std::size_t k = 0; k < plans.ranges.size(); ++k) {
    const auto kind = static_cast<CollectiveKind>(k);
    std::string wish = wishes[k];
    const std::vector<std::string> allowed = wishes_for(kind);
    if (std::count(allowed.begin(), allowed.end(), wish) == 0)
      throw ConfigError("there is no {} called {}; use {}", name_of(kind), wish, fmt::join(allowed, ", "));
    if (wish == kShared) wish = window ? "direct" : "auto";
    std::vector<PlanRange>& ranges = plans.ranges[k];
    if (wish != "auto" || !choice_by_size(kind)) {
      ranges.push_back(wish == "auto" ? chooser.best(kind, kOneSize) : chooser.wished(kind, wish, kOneSize));
    } else {
      for (std::int64_t bytes = kSmallest; bytes <= kLargest; bytes *= size > kManyMembers ? kManyStep : kStep) {
        PlanRange range = chooser.best(kind, bytes);
        if (!ranges.empty() && ranges.back().recipe == range.recipe)
          ranges.back() = std::move(range);
        else
          ranges.push_back(std::move(range));
      }
    }
    ranges.back().up_to = PlanRange::kAnySize;
  }
  return plans;
}

}  // namespace banyan::comm
