// An HDF5 file that HDF5 builds in memory and we write.  A driver of our own keeps what HDF5 writes, which is metadata
// only as long as nobody calls H5Dwrite; space for values is merely counted.  The caller then writes values at the
// offsets HDF5 gave, and the metadata last: a file cut short has no superblock and refuses to open.
//
// Why not let HDF5 write: after a write that failed (full disk), HDF5 1.10 keeps the file half open and crashes the
// process at exit.  Here no call of HDF5 touches a disk, so none can fail for a disk's sake.
#pragma once

#include <memory>
#include <string>

#include "io/atomic_file.hpp"
#include "io/hdf5_handle.hpp"

namespace banyan::io {

class Hdf5Image {
 public:
  /// Creates the file in memory, in format V110.  `name` is for messages.  The first `user_block` bytes of the file
  /// (0 or a power of two from 512) are the caller's.
  explicit Hdf5Image(const std::string& name, std::size_t user_block = 0);
  ~Hdf5Image();
  Hdf5Image(const Hdf5Image&) = delete;
  Hdf5Image& operator=(const Hdf5Image&) = delete;

  /// For H5Gcreate, H5Dcreate and the like.  Datasets need early allocation and no fill to get an offset.
  hid_t file() const { return *file_; }
  /// Ends the building; closes the file.
  void finish();
  /// Bytes of the finished file, values included.
  std::int64_t size() const;
  /// Metadata of the finished file; bytes that are the caller's, or nobody's, are zero.
  void read(std::int64_t at, void* out, std::size_t bytes) const;
  /// Writes the metadata of the finished file, the superblock last.
  void write_to(File& out) const;

  struct Memory;

 private:
  std::unique_ptr<Memory> memory_;
  std::unique_ptr<Hdf5Handle> file_;
};

}  // namespace banyan::io
