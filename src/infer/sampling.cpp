#include "src/infer/sampling.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "src/base/error.hpp"
#include "src/base/rng.hpp"

namespace banyan::infer {
namespace {

/// Uniform in [0, 1) with 53 bits.
double draw(const SamplingOptions& options, std::int64_t prompt, std::int64_t position) {
  const std::uint64_t key = rng::stream_key(options.seed, rng::Purpose::kSampling, 0, 0);
  const rng::Block block = rng::quad(key, prompt, position, 0);
  const std::uint64_t bits = (std::uint64_t{block[0]} << 32 | block[1]) >> 11;
  return static_cast<double>(bits) * 0x1p-53;
}

std::int32_t likeliest(std::span<const float> logits, std::int64_t prompt, std::int64_t position) {
  std::size_t best = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (!std::isfinite(logits[i]))
      throw NumericsError(
          "the logit of token {} for position {} of prompt {} is {}; the checkpoint's parameters are damaged or "
          "diverged",
          i, position, prompt, logits[i]);
    if (logits[i] > logits[best]) best = i;
  }
  return static_cast<std::int32_t>(best);
}

}  // namespace

std::int32_t sample(std::span<const float> logits, const SamplingOptions& options, std::int64_t prompt,
                    std::int64_t position) {
  if (logits.empty()) throw BugError("no logits to sample from");
  const std::int32_t best = likeliest(logits, prompt, position);
  if (options.temperature <= 0 || options.top_k == 1) return best;

  const double highest = static_cast<double>(logits[static_cast<std::size_t>(best)]);
  const auto weight = [&](std::int32_t i) {
    return std::exp((static_cast<double>(logits[static_cast<std::size_t>(i)]) - highest) / options.temperature);
  };
  std::vector<std::int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto likelier = [&](std::int32_t a, std::int32_t b) {
    const float x = logits[static_cast<std::size_t>(a)], y = logits[static_cast<std::size_t>(b)];
    return x > y || (x == y && a < b);
  };
  std::size_t kept = order.size();
  if (options.top_k > 0 && static_cast<std::uint64_t>(options.top_k) < kept) {
    kept = static_cast<std::size_t>(options.top_k);
    std::nth_element(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), order.end(), likelier);
    order.resize(kept);
  }
  // Without a cut the order is that of the vocabulary, which needs no sorting; with one it is that of the probability.
  if (kept < logits.size() || options.top_p < 1) std::sort(order.begin(), order.end(), likelier);

  std::vector<double> cumulative(order.size());
  double sum = 0;
  for (std::size_t i = 0; i < order.size(); ++i) cumulative[i] = sum += weight(order[i]);
  if (options.top_p < 1) {
    const auto end = std::lower_bound(cumulative.begin(), cumulative.end(), options.top_p * sum);
    kept = std::min(order.size(), static_cast<std::size_t>(end - cumulative.begin()) + 1);
    sum = cumulative[kept - 1];
  }
  const double target = draw(options, prompt, position) * sum;
  const auto chosen =
      std::upper_bound(cumulative.begin(), cumulative.begin() + static_cast<std::ptrdiff_t>(kept), target);
  return order[std::min(kept - 1, static_cast<std::size_t>(chosen - cumulative.begin()))];
}

}  // namespace banyan::infer
