#include "comm/shared/window.hpp"

#include <atomic>
#include <cstring>
#include <utility>

#include "comm/plans/plan.hpp"

namespace banyan::comm {

namespace {

constexpr std::size_t kPage = 4096, kLine = 64;
constexpr std::uint64_t kDeep = kWindowPiecesPerReader;
constexpr std::size_t kInline = 48;

std::size_t slots_begin(int members) {
  const std::size_t lines = static_cast<std::size_t>(members) * (kDeep + 1);
  return (lines * kLine + kPage - 1) / kPage * kPage;
}

}  // namespace

struct alignas(kLine) SharedWindow::Cell {
  std::atomic<std::uint64_t> number;  // of the piece, from 1
  std::uint32_t bytes, slot;
  std::byte data[kInline];  // if it is no longer
};
struct alignas(kLine) SharedWindow::Taken {
  std::atomic<std::uint64_t> count;
};

SharedWindow::SharedWindow(std::vector<std::shared_ptr<Arena>> arenas, int rank, std::uint64_t key)
    : arenas_(std::move(arenas)),
      size_(static_cast<int>(arenas_.size())),
      rank_(rank),
      key_(key),
      slots_(static_cast<std::size_t>(window_pieces(size_))),
      parts_(arenas_.size()),
      missing_(size_ - 1),
      shown_(arenas_.size()),
      took_(arenas_.size()),
      known_(arenas_.size()),
      uses_(slots_) {
  static_assert(sizeof(Cell) == kLine && sizeof(Taken) == kLine);
  parts_[static_cast<std::size_t>(rank)] =
      arenas_[static_cast<std::size_t>(rank)]->add(key, slots_begin(size_) + slots_ * kSlotBytes);
}

SharedWindow::Cell& SharedWindow::cell(int owner, int reader, std::uint64_t number) const {
  const std::size_t index = static_cast<std::size_t>(reader) * kDeep + number % kDeep;
  return reinterpret_cast<Cell*>(parts_[static_cast<std::size_t>(owner)])[index];
}

SharedWindow::Taken& SharedWindow::taken(int owner, int reader) const {
  const std::size_t index = static_cast<std::size_t>(size_) * kDeep + static_cast<std::size_t>(owner);
  return reinterpret_cast<Taken*>(parts_[static_cast<std::size_t>(reader)])[index];
}

std::byte* SharedWindow::slot(int owner, std::size_t index) const {
  return parts_[static_cast<std::size_t>(owner)] + slots_begin(size_) + index * kSlotBytes;
}

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
  for (const Use& use : uses_[next_slot_])
    if (!reached(use.reader, use.number)) return false;
  return true;
}

void SharedWindow::publish(const std::vector<int>& readers, const std::byte* data, std::size_t bytes) {
  const bool fits = bytes <= kInline;
  auto& uses = uses_[next_slot_];
  if (!fits) {
    copies.copy(slot(rank_, next_slot_), data, bytes);
    uses.clear();
  }
  for (int reader : readers) {
    const std::uint64_t number = shown_[static_cast<std::size_t>(reader)]++;
    Cell& c = cell(rank_, reader, number);
    if (fits && bytes > 0) std::memcpy(c.data, data, bytes);
    c.bytes = static_cast<std::uint32_t>(bytes);
    c.slot = static_cast<std::uint32_t>(next_slot_);
    c.number.store(number + 1, std::memory_order_release);
    if (!fits) uses.push_back({reader, number + 1});
  }
  if (!fits) next_slot_ = (next_slot_ + 1) % slots_;
}

bool SharedWindow::look(int member, Piece& piece) const {
  const std::uint64_t number = took_[static_cast<std::size_t>(member)];
  const Cell& c = cell(member, rank_, number);
  if (c.number.load(std::memory_order_acquire) != number + 1) return false;
  piece = {c.bytes <= kInline ? c.data : slot(member, c.slot), c.bytes};
  return true;
}

void SharedWindow::take(int member) {
  taken(member, rank_).count.store(++took_[static_cast<std::size_t>(member)], std::memory_order_release);
}

}  // namespace banyan::comm
