#include "comm/shared/window.hpp"

#include <atomic>
#include <utility>

#include "comm/plans/plan.hpp"

namespace banyan::comm {

struct alignas(64) SharedWindow::Line {
  std::atomic<std::uint64_t> published;
  struct Where {
    std::uint32_t slot, bytes;
  } where[kWindowPiecesPerReader];
};
struct alignas(64) SharedWindow::Taken {
  std::atomic<std::uint64_t> count;
};

namespace {

constexpr std::size_t kPage = 4096;
constexpr std::uint64_t kDeep = kWindowPiecesPerReader;

std::size_t slots_begin(int members) { return (static_cast<std::size_t>(members) * 128 + kPage - 1) / kPage * kPage; }

}  // namespace

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
      uses_(slots_) {
  static_assert(sizeof(Line) == 64 && sizeof(Taken) == 64 && kWindowPiecesPerReader <= 7);
  parts_[static_cast<std::size_t>(rank)] =
      arenas_[static_cast<std::size_t>(rank)]->add(key, slots_begin(size_) + slots_ * kSlotBytes);
}

SharedWindow::Line& SharedWindow::line(int owner, int reader) const {
  return reinterpret_cast<Line*>(parts_[static_cast<std::size_t>(owner)])[reader];
}

SharedWindow::Taken& SharedWindow::taken(int owner, int reader) const {
  return reinterpret_cast<Taken*>(parts_[static_cast<std::size_t>(reader)] + size_ * sizeof(Line))[owner];
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

std::byte* SharedWindow::room(const std::vector<int>& readers) {
  for (const Use& use : uses_[next_slot_])
    if (taken(rank_, use.reader).count.load(std::memory_order_acquire) < use.number) {
      waiting_for = use.reader;
      return nullptr;
    }
  uses_[next_slot_].clear();
  for (int reader : readers) {
    const std::uint64_t shown = shown_[static_cast<std::size_t>(reader)];
    if (shown < kDeep || taken(rank_, reader).count.load(std::memory_order_acquire) + kDeep > shown) continue;
    waiting_for = reader;
    return nullptr;
  }
  return slot(rank_, next_slot_);
}

void SharedWindow::publish(const std::vector<int>& readers, std::size_t bytes) {
  for (int reader : readers) {
    const std::uint64_t number = shown_[static_cast<std::size_t>(reader)]++;
    Line& l = line(rank_, reader);
    l.where[number % kDeep] = {static_cast<std::uint32_t>(next_slot_), static_cast<std::uint32_t>(bytes)};
    l.published.store(number + 1, std::memory_order_release);
    uses_[next_slot_].push_back({reader, number + 1});
  }
  next_slot_ = (next_slot_ + 1) % slots_;
}

bool SharedWindow::look(int member, Piece& piece) const {
  const std::uint64_t next = took_[static_cast<std::size_t>(member)];
  const Line& l = line(member, rank_);
  if (l.published.load(std::memory_order_acquire) <= next) return false;
  const auto& where = l.where[next % kDeep];
  piece = {slot(member, where.slot), where.bytes};
  return true;
}

void SharedWindow::take(int member) {
  taken(member, rank_).count.store(++took_[static_cast<std::size_t>(member)], std::memory_order_release);
}

}  // namespace banyan::comm
