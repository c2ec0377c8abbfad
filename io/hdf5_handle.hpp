// The little of HDF5 that this folder's writers share: handles that close themselves, types, attributes, the properties
// every file of ours is made with.  Included by .cpp files of io only; nothing else sees hdf5.h.
#pragma once

#include <hdf5.h>

#include <cstddef>
#include <string>

#include "src/base/dtype.hpp"
#include "src/base/view.hpp"

namespace banyan::io {

/// An HDF5 identifier that closes itself.  A negative id is an IoError naming `what`.
class Hdf5Handle {
 public:
  using Closer = herr_t (*)(hid_t);
  Hdf5Handle(hid_t id, Closer closer, std::string what);
  ~Hdf5Handle();
  Hdf5Handle(const Hdf5Handle&) = delete;
  Hdf5Handle& operator=(const Hdf5Handle&) = delete;
  operator hid_t() const { return id_; }
  /// Closes now; a failure, which for a file means that not everything was written, is an IoError.
  void close();

 private:
  hid_t id_;
  Closer closer_;
  std::string what_;
};

/// IoError naming `what` unless `ok`.
void hdf5_require(bool ok, const std::string& what);
/// Stops HDF5 from printing on stderr (in this thread) and from loading plug-ins; call before using it.
void hdf5_quiet();
/// Creates the groups on the way to a link that are missing.  They do not tell when, as those that HDF5 would create do.
void hdf5_make_groups(hid_t file, const std::string& path);
/// Properties of datasets that do not tell when they were made: the bytes of a file are a function of what is in it.
hid_t hdf5_dataset_properties();
/// Properties of contiguous datasets that get their place at once and are not filled.
hid_t hdf5_contiguous();
/// Dataspace of a shape; scalar for rank 0.
hid_t hdf5_space(const Shape& shape);
/// The file's type of a dtype.  bf16 is raw 16-bit; the attribute "dtype" of a dataset says which it is.
hid_t hdf5_type(DType dtype);
void hdf5_put_text(hid_t owner, const char* name, const std::string& value);
void hdf5_put_integers(hid_t owner, const char* name, const Shape& values);

}  // namespace banyan::io
