// Who is to blame when values differ that should be equal.  Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace banyan::train {

/// Of the checksums of a group's members, those that differ from what most have; all of them when no value has most.
/// Empty when all are equal.
std::vector<int> odd_ones(std::span<const std::uint64_t> sums);

/// Checksums of passes over one batch (trace.hpp).  None of them where nobody else is there to ask.
struct Passes {
  std::span<const std::uint64_t> own, own_again;            ///< by the rank whose batch it is
  std::span<const std::uint64_t> stand_in, stand_in_again;  ///< by the rank that computes it as well
  std::span<const std::uint64_t> third{};                   ///< by another one
};
struct Blame {
  bool own = false, stand_in = false;  ///< both: one of the two, nobody can tell which
  std::size_t at = 0;                  ///< the note that differs
};
/// Who cannot repeat what it made is to blame; if both can, the third decides.  Nobody is where the first difference is
/// in what other stages sent: `made` tells what this stage made itself.
Blame judge(const Passes& passes, const std::function<bool(std::size_t)>& made);

/// What one rank or group found out.
struct Finding {
  std::vector<int> ranks;  ///< of the world; one of them is to blame
  std::string sentence;    ///< "the copies of wte on rank 1 on n0 and rank 3 on n1 differ"
  bool operator==(const Finding&) const = default;
};
/// The ranks that most of the findings are about, those alone that name one rank if there are any: copies that are
/// compared along rows and columns of a mesh cross at the one that is wrong.  Ascending.
std::vector<int> suspects(std::span<const Finding> findings);

std::string encode(std::span<const Finding> findings);
std::vector<Finding> decode(const std::string& text);

}  // namespace banyan::train
