#include "comm/shared/window.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

#include "comm/plans/plan.hpp"

namespace banyan::comm {

namespace {

constexpr std::size_t kPage = 4096, kLine = 64;
constexpr std::uint64_t kDeep = kWindowPiecesPerReader;
constexpr std::size_t kCell = 1024, kInline = kCell - 16;  // what is small is best kept where it was before
constexpr std::size_t kRing = 2 << 20;

std::size_t ring_begin(int members) {
  const std::size_t bytes = static_cast<std::size_t>(members) * (kDeep * kCell + kLine);
  return (bytes + kPage - 1) / kPage * kPage;
}

}  // namespace

struct alignas(kLine) SharedWindow::Cell {
  std::atomic<std::uint64_t> number;  // of the piece, from 1
  std::uint32_t bytes, offset;        // in the ring
  std::byte data[kInline];            // if it is no longer
};
struct alignas(kLine) SharedWindow::Taken {
  std::atomic<std::uint64_t> count;
};

SharedWindow::SharedWindow(std::vector<std::shared_ptr<Arena>> arenas, int rank, std::uint64_t key)
    : arenas_(std::move(arenas)),
      size_(static_cast<int>(arenas_.size())),
      rank_(rank),
      key_(key),
      // The end of the ring may be left empty where a piece does not fit.
      ring_bytes_(std::max(kRing, static_cast<std::size_t>(window_pieces(size_) + 1) * kPieceBytes)),
      parts_(arenas_.size()),
      missing_(size_ - 1),
      shown_(arenas_.size()),
      took_(arenas_.size()),
      known_(arenas_.size()),
      alike(ring_bytes_),
      single(ring_bytes_) {
  static_assert(sizeof(Cell) == kCell && sizeof(Taken) == kLine);
  parts_[static_cast<std::size_t>(rank)] =
      arenas_[static_cast<std::size_t>(rank)]->add(key, ring_begin(size_) + ring_bytes_);
}

SharedWindow::Cell& SharedWindow::cell(int owner, int reader, std::uint64_t number) const {
  const std::size_t index = static_cast<std::size_t>(reader) * kDeep + number % kDeep;
  return reinterpret_cast<Cell*>(parts_[static_cast<std::size_t>(owner)])[index];
}

SharedWindow::Taken& SharedWindow::taken(int owner, int reader) const {
  std::byte* cells = parts_[static_cast<std::size_t>(reader)];
  return reinterpret_cast<Taken*>(cells + static_cast<std::size_t>(size_) * kDeep * kCell)[owner];
}

std::byte* SharedWindow::ring(int owner, std::size_t offset) const {
  return parts_[static_cast<std::size_t>(owner)] + ring_begin(size_) + offset;
}

std::size_t SharedWindow::place(std::size_t bytes) const { return next_ + bytes <= ring_bytes_ ? next_ : 0; }

bool SharedWindow::complete() {
  if (missing_ == 0) return true;
  for (int m = 0; m < size_; ++m) {
    auto& part = parts_[static_cast<std::size_t>(m)];
    if (part) continue;
    part = arenas_[static_cast<std::size_t>(m)]->find(key_);
    if (part)
      --missing_;
    else
      waiting_for = m;
  }
  return missing_ == 0;
}

// Whether a reader has taken so many pieces.  Its counter is looked at only when what is known of it does not do.
bool SharedWindow::reached(int reader, std::uint64_t number) {
  std::uint64_t& known = known_[static_cast<std::size_t>(reader)];
  if (known < number) known = taken(rank_, reader).count.load(std::memory_order_acquire);
  if (known < number) waiting_for = reader;
  return known >= number;
}

bool SharedWindow::has_room(const std::vector<int>& readers, std::size_t bytes) {
  for (int reader : readers) {
    const std::uint64_t shown = shown_[static_cast<std::size_t>(reader)];
    if (shown >= kDeep && !reached(reader, shown + 1 - kDeep)) return false;
  }
  if (bytes <= kInline) return true;
  // Pieces go round in order: those in the way are the oldest.
  const std::size_t begin = place(bytes), end = begin + bytes;
  while (!in_ring_.empty() && in_the_way(in_ring_.front(), begin, end)) {
    for (const Use& use : in_ring_.front().uses)
      if (!reached(use.reader, use.number)) return false;
    in_ring_.pop_front();
  }
  return true;
}

// Also what lies in the end of the ring that is left empty: it is older than what lies at the beginning.
bool SharedWindow::in_the_way(const Shown& shown, std::size_t begin, std::size_t end) const {
  if (begin < next_ && shown.begin >= next_) return true;
  return shown.begin < end && begin < shown.end;
}

void SharedWindow::publish(const std::vector<int>& readers, const std::byte* data, std::size_t bytes,
                           const CopyChoice& copies) {
  const bool fits = bytes <= kInline;
  const std::size_t begin = fits ? 0 : place(bytes);
  Shown shown{begin, begin + bytes, {}};
  if (!fits) copies.copy(ring(rank_, begin), data, bytes);
  for (int reader : readers) {
    const std::uint64_t number = shown_[static_cast<std::size_t>(reader)]++;
    Cell& c = cell(rank_, reader, number);
    if (fits && bytes > 0) std::memcpy(c.data, data, bytes);
    c.bytes = static_cast<std::uint32_t>(bytes);
    c.offset = static_cast<std::uint32_t>(begin);
    c.number.store(number + 1, std::memory_order_release);
    if (!fits) shown.uses.push_back({reader, number + 1});
  }
  if (fits) return;
  next_ = (begin + bytes + kLine - 1) / kLine * kLine;
  in_ring_.push_back(std::move(shown));
}

bool SharedWindow::look(int member, Piece& piece) const {
  const std::uint64_t number = took_[static_cast<std::size_t>(member)];
  const Cell& c = cell(member, rank_, number);
  if (c.number.load(std::memory_order_acquire) != number + 1) return false;
  piece = {c.bytes <= kInline ? c.data : ring(member, c.offset), c.bytes};
  return true;
}

void SharedWindow::take(int member) {
  taken(member, rank_).count.store(++took_[static_cast<std::size_t>(member)], std::memory_order_release);
}

}  // namespace banyan::comm
