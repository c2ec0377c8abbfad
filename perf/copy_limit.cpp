#include "perf/copy_limit.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>

#include "comm/shared/copy_choice.hpp"
#include "src/base/section.hpp"

namespace banyan::perf {
namespace {

constexpr std::size_t kPage = 4096, kPiece = 128 << 10, kPieces = 16;

template <class Done>
void wait_for(const Done& done) {
  const Section section("a rank that measures the limit of copies", Seconds{60});
  for (Backoff backoff; !done(); backoff.pause())
    if (backoff.sleeps()) section.check();
}

// MPI puts parts anywhere in memory that begins with a page: 8 bytes behind a line of the cache, say.
std::vector<std::byte*> of_whole_pages(std::vector<std::byte*> parts) {
  for (std::byte*& part : parts) part += (kPage - reinterpret_cast<std::uintptr_t>(part) % kPage) % kPage;
  return parts;
}

}  // namespace

struct CopyLimit::Counters {
  struct alignas(64) Counter {
    std::atomic<std::uint64_t> count;
  };
  Counter shown;
  Counter took[kMostRanks];  // by this rank, of each other
};

std::size_t CopyLimit::part_bytes() { return kPage + kPage + kPieces * kPiece; }

CopyLimit::CopyLimit(std::vector<std::byte*> parts, int rank)
    : parts_(of_whole_pages(std::move(parts))),
      rank_(rank),
      ranks_(static_cast<int>(parts_.size())),
      took_(parts_.size()) {}

CopyLimit::Counters& CopyLimit::counters(int rank) const {
  return *reinterpret_cast<Counters*>(parts_[static_cast<std::size_t>(rank)]);
}

void CopyLimit::in(std::size_t bytes, bool past_caches) {
  wait_for([&] {
    for (int r = 0; r < ranks_; ++r)
      if (r != rank_ && shown_ - counters(r).took[rank_].count.load(std::memory_order_acquire) >= kPieces) return false;
    return true;
  });
  std::byte* const to = parts_[static_cast<std::size_t>(rank_)] + kPage + shown_ % kPieces * kPiece;
  if (from_at_ + bytes > from_.size()) from_at_ = 0;
  if (past_caches)
    comm::copy_past_caches(to, from_.data() + from_at_, bytes);
  else
    std::memcpy(to, from_.data() + from_at_, bytes);
  from_at_ += bytes;
  counters(rank_).shown.count.store(++shown_, std::memory_order_release);
}

void CopyLimit::out(int from, std::size_t bytes) {
  std::uint64_t& took = took_[static_cast<std::size_t>(from)];
  wait_for([&] { return counters(from).shown.count.load(std::memory_order_acquire) > took; });
  if (to_at_ + bytes > to_.size()) to_at_ = 0;
  if (bytes > 0)
    std::memcpy(to_.data() + to_at_, parts_[static_cast<std::size_t>(from)] + kPage + took % kPieces * kPiece, bytes);
  to_at_ += bytes;
  counters(rank_).took[from].count.store(++took, std::memory_order_release);
}

void CopyLimit::call(const Case& c, bool past_caches) {
  const auto size = std::max(static_cast<std::size_t>(c.bytes()), kPiece);
  if (from_.size() != size) {
    from_.assign(size, std::byte{1});
    to_.assign(size, std::byte{2});
  }
  std::int64_t most = c.copied_in();
  for (int r = 0; r < ranks_; ++r) most = std::max(most, c.copied_out_of(r));
  const std::size_t pieces = (static_cast<std::size_t>(most) + kPiece - 1) / kPiece;
  const auto piece = [](std::int64_t bytes, std::size_t i) {
    const auto all = static_cast<std::size_t>(bytes);
    return std::min(kPiece, all - std::min(all, i * kPiece));
  };
  for (std::size_t i = 0; i < pieces + 1; ++i) {
    if (i < pieces) in(piece(c.copied_in(), i), past_caches);
    if (i == 0) continue;
    for (int k = 1; k < ranks_; ++k) {
      const int from = (rank_ + k) % ranks_;
      out(from, piece(c.copied_out_of(from), i - 1));
    }
  }
}

}  // namespace banyan::perf
