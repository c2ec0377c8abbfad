#include "src/train/loss_stats.hpp"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <sstream>

#include "src/base/error.hpp"

namespace banyan::train {

double LossStats::z_score(double loss) const {
  if (last_.size() < kEnough) return 0;
  const double n = static_cast<double>(last_.size());
  double mean = 0, squares = 0;
  for (double x : last_) mean += x;
  mean /= n;
  for (double x : last_) squares += (x - mean) * (x - mean);
  const double deviation = std::sqrt(squares / (n - 1));
  // Below this the losses are equal but for the rounding of their sum.
  return deviation > 1e-12 * std::abs(mean) ? (loss - mean) / deviation : 0;
}

void LossStats::add(double loss) {
  last_.push_back(loss);
  if (last_.size() > kWindow) last_.pop_front();
}

std::string LossStats::text() const {
  std::string text;
  for (double x : last_) text += fmt::format("{}{:a}", text.empty() ? "" : " ", x);
  return text;
}

void LossStats::restore(const std::string& text, const std::string& source) {
  last_.clear();
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    char* end = nullptr;
    const double loss = std::strtod(word.c_str(), &end);
    if (*end != '\0' || !std::isfinite(loss) || last_.size() == kWindow)
      throw DataError("{}: the losses it keeps are damaged", source);
    last_.push_back(loss);
  }
}

}  // namespace banyan::train
