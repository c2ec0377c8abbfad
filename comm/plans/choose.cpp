#include "comm/plans/choose.hpp"

#include <algorithm>
#include <numeric>

#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

constexpr int kDirectRanks = 8;                  // up to here everybody turns to everybody
constexpr std::int64_t kSmallBytes = 16 << 10;   // up to here latency counts more than volume
constexpr std::int64_t kScratchBytes = 1 << 20;  // of one operation: two sets of pieces, one of each other rank
constexpr std::int64_t kPieceBytes = 128 << 10;   // in a window: large enough for full speed, small enough to overlap
// In messages two pieces are under way at a time, and a rank that computes looks after them every few milliseconds.
constexpr std::int64_t kMessageBytes = 512 << 10;
constexpr std::int64_t kSmallestPiece = 256;  // what is smaller is all latency
constexpr std::int64_t kRingPieceBytes = 256 << 10;

}  // namespace

std::int64_t total_bytes(const Call& call) {
  return std::accumulate(call.counts.begin(), call.counts.end(), std::int64_t{0}) *
         static_cast<std::int64_t>(call.element_bytes);
}

std::int64_t direct_piece(int size, bool window) {
  return std::clamp<std::int64_t>(kScratchBytes / (2 * std::max(1, size - 1)), kSmallestPiece,
                                  window ? kPieceBytes : kMessageBytes);
}

Recipe choose(const Call& call, bool window) {
  const std::int64_t piece = direct_piece(call.size, window);
  const bool few = call.size <= kDirectRanks, small = total_bytes(call) <= kSmallBytes;
  switch (call.kind) {
    case CollectiveKind::kAllReduce:
      return few ? Recipe{"direct", piece} : Recipe{small ? "doubling" : "ring", kRingPieceBytes};
    case CollectiveKind::kReduceScatter:
      return few ? Recipe{"direct", piece} : Recipe{"ring", kRingPieceBytes};
    case CollectiveKind::kAllGather:
      return few ? Recipe{"direct", piece} : Recipe{small ? "dissemination" : "ring", kRingPieceBytes};
    case CollectiveKind::kBroadcast:
      return window ? Recipe{"direct", piece} : Recipe{"binomial", kRingPieceBytes};
    case CollectiveKind::kBarrier:
      return {window ? "direct" : "dissemination", 0};
    case CollectiveKind::kAllToAll:
      return window ? Recipe{"direct", piece} : Recipe{"pairwise", kRingPieceBytes};
  }
  throw BugError("unknown collective {}", static_cast<int>(call.kind));
}

}  // namespace banyan::comm
