// The order of samples without an index: a keyed bijection of [0, n).  Any position is computed from one integer, so a
// resumed job, another mesh or another thread count sees the same order, nothing twice and nothing left out.
// Balanced Feistel network with cycle walking: J. Black, P. Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA
// 2002, sections 4 and 5.
#pragma once

#include <cstdint>

namespace banyan::io {

class SampleOrder {
 public:
  /// Of [0, n), n >= 1, chosen by `key`.
  SampleOrder(std::uint64_t n, std::uint64_t key);
  /// Image of i < n.
  std::uint64_t operator()(std::uint64_t i) const;

 private:
  std::uint64_t n_, key_;
  int half_bits_;  // the network permutes [0, 4^half_bits), the smallest such domain that holds n
};

}  // namespace banyan::io
