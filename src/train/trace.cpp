#include "src/train/trace.hpp"

#include <fmt/core.h>

#include "io/checksum.hpp"

namespace banyan::train {

void Trace::note(What what, int index, ConstView values) {
  notes_.push_back({what, index});
  sums_.push_back(io::checksum64(values.data, values.bytes()));
}

void Trace::note(What what, int index, double value) {
  notes_.push_back({what, index});
  sums_.push_back(io::checksum64(&value, sizeof value));
}

std::string Trace::describe(std::size_t i, const std::vector<model::LocalParam>& params) const {
  const Note n = notes_[i];
  switch (n.what) {
    case What::kGivenActivation:
      return fmt::format("the activations that microbatch {} came with", n.index + 1);
    case What::kGivenGradient:
      return fmt::format("the gradient that came back for microbatch {}", n.index + 1);
    case What::kActivation:
      return fmt::format("the activations of microbatch {}", n.index + 1);
    case What::kInputGradient:
      return fmt::format("the gradient of the input of microbatch {}", n.index + 1);
    case What::kLoss:
      return fmt::format("the loss of microbatch {}", n.index + 1);
    case What::kGradient:
      return "the gradient of " + params[static_cast<std::size_t>(n.index)].logical.name;
  }
  return "";
}

}  // namespace banyan::train
