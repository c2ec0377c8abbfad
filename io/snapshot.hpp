// Copies of slabs as they were at one moment, in memory of their own, so that they can be written while the originals
// change.  Checksums are taken while copying: what a copy is written from can be compared with what it was.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "io/manifest.hpp"
#include "io/shard_file.hpp"

namespace banyan::io {

class Snapshot {
 public:
  Snapshot() = default;
  ~Snapshot();
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

  /// Bytes of memory that copies of the slabs take.
  static std::size_t room_for(std::span<const ShardData> slabs);
  /// Takes memory for take() beforehand, with pages behind it, which may take the system ten times as long as the
  /// copying; ends early when `cancel` is set.  IoError as take().
  void make_room(std::size_t bytes, const std::atomic<bool>& cancel);
  /// Copies the slabs; `manifest` supplies run, step and epoch for the checksums.  Memory is taken at the first call
  /// and again only for a larger set.  IoError when the system gives none; what was copied before is gone then.
  void take(const Manifest& manifest, std::span<const ShardData> slabs);

  /// The copies, end to end, in the order given.
  std::span<const ShardData> slabs() const { return slabs_; }
  /// As WriteOptions::checksums.
  std::span<const std::uint64_t> checksums() const { return checksums_; }
  /// Bytes of memory held.
  std::size_t capacity() const { return capacity_; }

 private:
  void hold(std::size_t bytes);

  std::byte* memory_ = nullptr;
  std::size_t capacity_ = 0;
  std::vector<ShardData> slabs_;
  std::vector<std::uint64_t> checksums_;
};

}  // namespace banyan::io
