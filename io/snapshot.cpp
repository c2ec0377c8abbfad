#include "io/snapshot.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>

#include "io/checksum.hpp"
#include "src/base/error.hpp"

namespace banyan::io {
namespace {

/// Summed up and copied at a time, so that the copying finds it in the nearest cache.
constexpr std::int64_t kPiece = 64 << 10;
constexpr std::size_t kAlignment = 64;
/// No page of any system is smaller.
constexpr std::size_t kPage = 4096;

std::size_t aligned(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

/// Copies one slab end to end to `to`; its checksum.
std::uint64_t copy(const ShardData& s, std::uint64_t seed, std::byte* to) {
  Checksum64 sum(seed);
  const auto width = static_cast<std::int64_t>(size_of(s.data.dtype));
  const auto put = [&](const std::byte* from, std::int64_t bytes) {
    while (bytes > 0) {
      const auto n = static_cast<std::size_t>(std::min(bytes, kPiece));
      sum.update(from, n);  // of the original: what goes wrong in copying is noticed, too
      std::memcpy(to, from, n);
      to += n;
      from += n;
      bytes -= static_cast<std::int64_t>(n);
    }
  };
  if (s.data.contiguous())
    put(s.data.data, static_cast<std::int64_t>(s.data.bytes()));
  else
    for_each_run(
        s.data.shape, s.data.shape, s.data.row_stride,
        [&](const Shape&, std::int64_t element, std::int64_t run) { put(s.data.data + element * width, run * width); });
  return sum.value();
}

}  // namespace

Snapshot::~Snapshot() {
  if (memory_) ::munmap(memory_, capacity_);
}

void Snapshot::hold(std::size_t bytes) {
  if (bytes <= capacity_) return;
  if (memory_) ::munmap(memory_, capacity_);
  memory_ = nullptr;
  capacity_ = 0;
  void* const memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    throw IoError("no {} bytes of memory for the copy of a checkpoint: {}; set checkpoint.async = off", bytes,
                  std::generic_category().message(errno));
  ::madvise(memory, bytes, MADV_HUGEPAGE);  // fewer faults at the first copy, where the system has them
  memory_ = static_cast<std::byte*>(memory);
  capacity_ = bytes;
}

std::size_t Snapshot::room_for(std::span<const ShardData> slabs) {
  std::size_t bytes = 0;
  for (const ShardData& s : slabs) bytes += aligned(s.data.bytes());
  return bytes;
}

void Snapshot::make_room(std::size_t bytes, const std::atomic<bool>& cancel) {
  hold(bytes);
  for (std::size_t at = 0; at < bytes && !cancel; at += kPage)
    *static_cast<volatile std::byte*>(memory_ + at) = std::byte{0};
}

void Snapshot::take(const Manifest& manifest, std::span<const ShardData> slabs) {
  slabs_.clear();
  checksums_.clear();
  for (const ShardData& s : slabs)
    if (s.data.kind == MemoryKind::kDevice) throw BugError("the slab of {} to be copied is not in host memory", s.name);
  hold(room_for(slabs));
  std::byte* to = memory_;
  for (const ShardData& s : slabs) {
    const std::string key = std::string(name_of(s.kind)) + "/" + s.name;
    checksums_.push_back(copy(s, shard_seed(manifest, key, s.slab()), to));
    ShardData& mine = slabs_.emplace_back(s);
    mine.data = ConstView(to, s.data.dtype, s.data.shape);
    to += aligned(s.data.bytes());
  }
}

}  // namespace banyan::io
