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

/// Copied and summed up at a time, so that the sum finds the copy in the cache.
constexpr std::int64_t kPiece = 256 << 10;
constexpr std::size_t kAlignment = 64;

std::size_t aligned(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

/// Copies one slab end to end to `to`; its checksum.
std::uint64_t copy(const ShardData& s, std::uint64_t seed, std::byte* to) {
  Checksum64 sum(seed);
  const auto width = static_cast<std::int64_t>(size_of(s.data.dtype));
  const std::byte* summed = to;
  const auto put = [&](const std::byte* from, std::int64_t bytes) {
    while (bytes > 0) {
      const std::int64_t n = std::min(bytes, kPiece);
      std::memcpy(to, from, static_cast<std::size_t>(n));
      to += n;
      from += n;
      bytes -= n;
      if (to - summed < kPiece) continue;
      sum.update(summed, static_cast<std::size_t>(to - summed));
      summed = to;
    }
  };
  if (s.data.contiguous())
    put(s.data.data, static_cast<std::int64_t>(s.data.bytes()));
  else
    for_each_run(
        s.data.shape, s.data.shape, s.data.row_stride,
        [&](const Shape&, std::int64_t element, std::int64_t run) { put(s.data.data + element * width, run * width); });
  sum.update(summed, static_cast<std::size_t>(to - summed));
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

void Snapshot::take(const Manifest& manifest, std::span<const ShardData> slabs) {
  slabs_.clear();
  checksums_.clear();
  std::size_t bytes = 0;
  for (const ShardData& s : slabs) {
    if (s.data.kind == MemoryKind::kDevice) throw BugError("the slab of {} to be copied is not in host memory", s.name);
    bytes += aligned(s.data.bytes());
  }
  hold(bytes);
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
