#include "comm/plans/choose.hpp"

#include <algorithm>

#include "comm/plans/direct.hpp"
#include "comm/plans/dissemination_gather.hpp"
#include "comm/plans/recursive_doubling.hpp"
#include "comm/plans/ring.hpp"
#include "comm/plans/spread.hpp"

namespace banyan::comm {
namespace {

constexpr int kDirectRanks = 8;                  // up to here everybody talks to everybody
constexpr std::int64_t kSmallBytes = 16 << 10;   // up to here latency counts more than volume
constexpr std::int64_t kScratchBytes = 1 << 20;  // of one operation
constexpr std::int64_t kPieceBytes = 256 << 10;  // large enough for full speed, small enough to overlap
constexpr std::int64_t kMessageBytes = 8 << 20;  // where pieces buy no overlap

std::int64_t elements(std::int64_t bytes, std::size_t element_bytes) {
  return std::max<std::int64_t>(1, bytes / static_cast<std::int64_t>(element_bytes));
}

// Two sets of size-1 slots share the scratch.
std::int64_t direct_piece(int size, std::size_t element_bytes) {
  return elements(kScratchBytes / (2 * std::max(1, size - 1)), element_bytes);
}

}  // namespace

Plan choose_all_reduce(int rank, int size, std::int64_t count, std::size_t element_bytes) {
  const bool small = count * static_cast<std::int64_t>(element_bytes) <= kSmallBytes;
  if (size <= kDirectRanks)
    return small ? direct_all_reduce_small(rank, size, count)
                 : direct_all_reduce(rank, size, count, direct_piece(size, element_bytes));
  return small ? recursive_doubling_all_reduce(rank, size, count)
               : ring_all_reduce(rank, size, count, elements(kPieceBytes, element_bytes));
}

Plan choose_reduce_scatter(int rank, const Parts& parts, std::size_t element_bytes) {
  return parts.size() <= kDirectRanks ? direct_reduce_scatter(rank, parts, direct_piece(parts.size(), element_bytes))
                                      : ring_reduce_scatter(rank, parts, elements(kPieceBytes, element_bytes));
}

Plan choose_all_gather(int rank, const Parts& parts, std::size_t element_bytes) {
  if (parts.size() <= kDirectRanks) return direct_all_gather(rank, parts, elements(kMessageBytes, element_bytes));
  return parts.total() * static_cast<std::int64_t>(element_bytes) <= kSmallBytes
             ? dissemination_all_gather(rank, parts)
             : ring_all_gather(rank, parts, elements(kPieceBytes, element_bytes));
}

Plan choose_broadcast(int rank, int size, std::int64_t count, int root, std::size_t element_bytes) {
  return binomial_broadcast(rank, size, count, root, elements(kPieceBytes, element_bytes));
}

Plan choose_all_to_all(int rank, const Parts& in, const Parts& out, std::size_t element_bytes) {
  return pairwise_all_to_all(rank, in, out, elements(kMessageBytes, element_bytes));
}

}  // namespace banyan::comm
