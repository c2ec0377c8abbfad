// One HDF5 file of a checkpoint, written by one rank.  HDF5 lays the file out in memory (contiguous datasets of fixed
// types, one for each slab); it is written from its second block to its end, values at the offsets HDF5 gave, with
// checksums taken from the caller's memory on the way, its first block last; then it is synced and, if wanted, read
// back. Reading for restore never opens HDF5: see checkpoint_reader.hpp.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "io/manifest.hpp"

namespace banyan::io {

/// A slab to write.  `data` has slab.count's shape, host memory; rows may be strided.
struct ShardData {
  std::string name;
  TensorKind kind = TensorKind::kParam;
  Shape global_shape;
  Shape offset;
  ConstView data;
  Slab slab() const { return {offset, data.shape}; }
};

/// What writing a file yields for the manifest.  shards[i] belongs to the i-th ShardData; Shard::file is left 0.
struct WrittenFile {
  ManifestFile file;
  std::vector<Shard> shards;
};

struct WriteOptions {
  /// When set, writing ends with an IoError soon.
  const std::atomic<bool>* cancel = nullptr;
  /// Of every slab, as it was when somebody copied it (io::Snapshot): memory that has changed since is an IoError.
  /// Empty: nobody knows.
  std::span<const std::uint64_t> checksums{};
  /// The file is read again, from storage and not from the page cache where the system can do that; what does not match
  /// is an IoError.
  bool verify = true;
};

/// Writes DIRECTORY/NAME; returns when the bytes are on storage.  `manifest` supplies run, step and epoch.  Empty slabs
/// are not allowed.
WrittenFile write_shard_file(const std::filesystem::path& directory, const std::string& name, const Manifest& manifest,
                             std::span<const ShardData> shards, const WriteOptions& options = {});

/// For Manifest::versions: what wrote the files.
std::map<std::string, std::string> library_versions();

/// Bytes the file will have at most: for reserving space.
std::int64_t shard_file_bytes(std::span<const ShardData> shards);

}  // namespace banyan::io
