#include "io/sample_order.hpp"

#include "src/base/error.hpp"
#include "src/base/rng.hpp"

namespace banyan::io {
namespace {
// Four rounds make a Feistel network indistinguishable from random (Luby and Rackoff); two more cost nothing here.
constexpr std::uint64_t kRounds = 6;
}  // namespace

SampleOrder::SampleOrder(std::uint64_t n, std::uint64_t key) : n_(n), key_(key), half_bits_(1) {
  if (n == 0 || n > (std::uint64_t{1} << 62)) throw BugError("there is no order of {} samples", n);
  while ((std::uint64_t{1} << (2 * half_bits_)) < n) ++half_bits_;
}

std::uint64_t SampleOrder::operator()(std::uint64_t i) const {
  if (i >= n_) throw BugError("sample {} of {} was asked for", i, n_);
  const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
  do {  // the domain is at most four times n, so few walks are needed
    std::uint64_t left = i >> half_bits_, right = i & mask;
    for (std::uint64_t round = 0; round < kRounds; ++round) {
      const std::uint64_t next = left ^ (rng::mix(key_ ^ right, round) & mask);
      left = right;
      right = next;
    }
    i = (left << half_bits_) | right;
  } while (i >= n_);
  return i;
}

}  // namespace banyan::io
