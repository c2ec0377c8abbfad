#include "io/hdf5_handle.hpp"

#include <algorithm>
#include <vector>

#include "src/base/error.hpp"

namespace banyan::io {

Hdf5Handle::Hdf5Handle(hid_t id, Closer closer, std::string what) : id_(id), closer_(closer), what_(std::move(what)) {
  hdf5_require(id_ >= 0, what_);
}

Hdf5Handle::~Hdf5Handle() {
  if (id_ >= 0) closer_(id_);
}

void Hdf5Handle::close() {
  const hid_t id = id_;
  id_ = -1;
  if (id >= 0 && closer_(id) < 0) throw IoError("HDF5 cannot finish {}; see whether the disk is full", what_);
}

void hdf5_require(bool ok, const std::string& what) {
  if (ok) return;
  throw IoError("HDF5 cannot make or read {}; see whether its disk is full or failing", what);
}

void hdf5_quiet() {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  H5PLset_loading_state(0);
}

void hdf5_make_groups(hid_t file, const std::string& path) {
  Hdf5Handle properties(H5Pcreate(H5P_GROUP_CREATE), H5Pclose, "group properties");
  hdf5_require(H5Pset_obj_track_times(properties, false) >= 0, "group properties");
  for (auto end = path.find('/', 1); end != std::string::npos; end = path.find('/', end + 1)) {
    const std::string group = path.substr(0, end);
    if (H5Lexists(file, group.c_str(), H5P_DEFAULT) > 0) continue;
    Hdf5Handle made(H5Gcreate2(file, group.c_str(), H5P_DEFAULT, properties, H5P_DEFAULT), H5Gclose, group.c_str());
  }
}

hid_t hdf5_dataset_properties() {
  const hid_t layout = H5Pcreate(H5P_DATASET_CREATE);
  hdf5_require(layout >= 0 && H5Pset_obj_track_times(layout, false) >= 0, "dataset properties");
  return layout;
}

hid_t hdf5_contiguous() {
  const hid_t layout = hdf5_dataset_properties();
  hdf5_require(H5Pset_layout(layout, H5D_CONTIGUOUS) >= 0 && H5Pset_alloc_time(layout, H5D_ALLOC_TIME_EARLY) >= 0 &&
                   H5Pset_fill_time(layout, H5D_FILL_TIME_NEVER) >= 0,
               "dataset properties");
  return layout;
}

hid_t hdf5_space(const Shape& shape) {
  if (shape.rank() == 0) return H5Screate(H5S_SCALAR);
  std::vector<hsize_t> extents;
  for (int i = 0; i < shape.rank(); ++i) extents.push_back(static_cast<hsize_t>(shape[i]));
  return H5Screate_simple(shape.rank(), extents.data(), nullptr);
}

hid_t hdf5_type(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return H5T_IEEE_F32LE;
    case DType::kF64:
      return H5T_IEEE_F64LE;
    case DType::kI32:
      return H5T_STD_I32LE;
    case DType::kI64:
      return H5T_STD_I64LE;
    case DType::kU8:
      return H5T_STD_U8LE;
    case DType::kBF16:
    case DType::kU16:
      return H5T_STD_U16LE;
    case DType::kU32:
      return H5T_STD_U32LE;
    case DType::kI8:
      return H5T_STD_I8LE;
  }
  throw BugError("no HDF5 type for dtype {}", static_cast<int>(dtype));
}

void hdf5_put_text(hid_t owner, const char* name, const std::string& value) {
  Hdf5Handle type(H5Tcopy(H5T_C_S1), H5Tclose, name);
  hdf5_require(H5Tset_size(type, std::max<std::size_t>(1, value.size())) >= 0 &&
                   H5Tset_strpad(type, H5T_STR_NULLPAD) >= 0 && H5Tset_cset(type, H5T_CSET_UTF8) >= 0,
               name);
  Hdf5Handle space(H5Screate(H5S_SCALAR), H5Sclose, name);
  Hdf5Handle attribute(H5Acreate2(owner, name, type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose, name);
  hdf5_require(H5Awrite(attribute, type, value.empty() ? "\0" : value.data()) >= 0, name);
}

void hdf5_put_integers(hid_t owner, const char* name, const Shape& values) {
  std::vector<std::int64_t> list;
  for (int i = 0; i < values.rank(); ++i) list.push_back(values[i]);
  const hsize_t extent = list.size();
  Hdf5Handle space(list.empty() ? H5Screate(H5S_NULL) : H5Screate_simple(1, &extent, nullptr), H5Sclose, name);
  Hdf5Handle attribute(H5Acreate2(owner, name, H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose, name);
  if (!list.empty()) hdf5_require(H5Awrite(attribute, H5T_NATIVE_INT64, list.data()) >= 0, name);
}

}  // namespace banyan::io
