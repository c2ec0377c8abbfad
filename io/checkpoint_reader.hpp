// Reads tensors of one checkpoint by name, any slab of them, whatever slabs they were written in.  Every shard that is
// touched is read in full and compared with its checksum; values of a damaged shard never count as read.
// Not thread-safe.  Never opens HDF5.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "io/atomic_file.hpp"
#include "io/manifest.hpp"
#include "src/base/section.hpp"

namespace banyan::io {

class CheckpointReader {
 public:
  /// Reads and checks the manifest in `directory`, and that all files are there with the right size.
  explicit CheckpointReader(const std::filesystem::path& directory);
  /// With a manifest somebody else has checked (rank 0); files are looked at when they are read.
  CheckpointReader(const std::filesystem::path& directory, Manifest manifest);

  const Manifest& manifest() const { return manifest_; }
  const std::filesystem::path& directory() const { return directory_; }

  /// Fills `out` (host memory, shape of the slab, rows may be strided) with the values at `offset` of a tensor.  The
  /// tensor's dtype must be that of `out`.  DataError when a byte is damaged; IoError when the system fails.
  void read(TensorKind kind, const std::string& name, const Shape& offset, View out);
  /// True when the checkpoint has the tensor.
  bool has(TensorKind kind, const std::string& name) const { return manifest_.find(kind, name) != nullptr; }

  /// Every value of a tensor once, in pieces of bounded size; a damaged shard is a DataError after its pieces.
  void stream(const Tensor& tensor, const std::function<void(const Slab&, ConstView)>& use);

  /// Reads every byte of every file against the files' digests; "" or a sentence about the first difference.
  std::string verify_files();
  /// Checks that all files are there with their sizes (links and directories refused).
  void check_files();
  /// Mesh-independent digest over every tensor (checks every shard on the way).
  TensorDigest digest();

  /// Makes long reads end with an IoError soon after it is set.
  void set_cancel(const std::atomic<bool>* cancel) { cancel_ = cancel; }
  /// How long to wait for files that somebody else has seen whole and this host may see late; then an IoError.
  void set_patience(Seconds patience) { patience_ = patience; }

 private:
  const File& file(int index);
  File open(const ManifestFile& entry) const;
  void read_shard(const Tensor& tensor, const Shard& shard, const std::function<void(const Slab&, ConstView)>& use);

  std::filesystem::path directory_;
  File handle_;
  Manifest manifest_;
  std::map<int, File> open_;
  const std::atomic<bool>* cancel_ = nullptr;
  Seconds patience_{0};
};

}  // namespace banyan::io
