#include "src/train/bad_steps.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string_view>

#include "src/base/error.hpp"
#include "src/base/units.hpp"

namespace banyan::train {
namespace {

constexpr const char* kAdvice =
    "the last checkpoint is intact: lower optimizer.lr or raise optimizer.warmup and resume from it, or set "
    "train.on_bad_step";

/// Adds a range to those before it; what touches the last one makes it longer.
void add(std::vector<BatchRange>& ranges, BatchRange range) {
  if (!ranges.empty() && range.first <= ranges.back().second + 1)
    ranges.back() = {std::min(ranges.back().first, range.first), std::max(ranges.back().second, range.second)};
  else
    ranges.push_back(range);
}

}  // namespace

BadSteps::BadSteps(const config::Config& config)
    : policy_(config.train.on_bad_step == "skip"       ? Policy::kSkip
              : config.train.on_bad_step == "rollback" ? Policy::kRollBack
                                                       : Policy::kStop),
      spike_(config.train.spike),
      most_(config.train.bad_steps) {}

Judgement BadSteps::judge(std::int64_t step, std::int64_t batch, double loss, const std::string& wrong) {
  z_ = std::isfinite(loss) ? stats_.z_score(loss) : 0;
  const bool spikes = wrong.empty() && spike_ > 0 && z_ > spike_;
  if (wrong.empty() && !spikes) {
    stats_.add(loss);
    // Good steps between a checkpoint and the bad step come again with every roll-back and are no progress.
    if (policy_ != Policy::kRollBack) in_a_row_ = 0;
    return Judgement::kGood;
  }
  why_ = spikes
             ? fmt::format("the loss of step {} is {:.4f}, {:.1f} deviations above those before it (train.spike = {})",
                           step + 1, loss, z_, spike_)
             : wrong;
  ++seen_;
  given_up_ = policy_ == Policy::kStop || in_a_row_ >= most_;
  if (policy_ == Policy::kStop) throw NumericsError("{}; {}", why_, kAdvice);
  if (++in_a_row_ > most_)
    throw NumericsError("{}; {} bad steps in a row are more than train.bad_steps = {}; {}", why_, in_a_row_, most_,
                        kAdvice);
  add(dropped_, {batch, batch});
  return policy_ == Policy::kSkip ? Judgement::kSkip : Judgement::kRollBack;
}

void BadSteps::roll_back(std::int64_t first, std::int64_t last, std::int64_t in_a_row) {
  while (!dropped_.empty() && dropped_.back().first >= first) dropped_.pop_back();
  add(dropped_, {first, last});
  in_a_row_ = in_a_row;
}

void BadSteps::committed(std::int64_t since) { in_a_row_ = std::min(in_a_row_, since); }

std::string BadSteps::dropped_text() const {
  std::string text;
  for (const auto& [first, last] : dropped_) text += fmt::format("{}{}-{}", text.empty() ? "" : ",", first, last);
  return text;
}

void BadSteps::restore(const std::string& losses, const std::string& dropped, const std::string& source) {
  stats_.restore(losses, source);
  dropped_.clear();
  for (std::size_t at = 0; at < dropped.size();) {
    const std::size_t comma = std::min(dropped.find(',', at), dropped.size());
    const std::string_view range = std::string_view(dropped).substr(at, comma - at);
    const std::size_t dash = std::min(range.find('-'), range.size());
    const std::optional<std::int64_t> first = parse_count(range.substr(0, dash));
    const std::optional<std::int64_t> last = parse_count(range.substr(std::min(dash + 1, range.size())));
    if (!first || !last || *first > *last || (!dropped_.empty() && *first <= dropped_.back().second))
      throw DataError("{}: '{}' is no list of dropped batches", source, dropped.substr(0, 40));
    dropped_.emplace_back(*first, *last);
    at = comma + 1;
  }
}

}  // namespace banyan::train
