#include "io/view_file.hpp"

#include <algorithm>
#include <vector>

#include "io/atomic_file.hpp"
#include "io/hdf5_handle.hpp"
#include "src/base/error.hpp"

namespace banyan::io {
namespace {

std::vector<hsize_t> extents_of(const Shape& shape) {
  std::vector<hsize_t> list;
  for (int i = 0; i < shape.rank(); ++i) list.push_back(static_cast<hsize_t>(shape[i]));
  return list;
}

void put_about(hid_t file, const Manifest& m) {
  hdf5_put_text(file, "run", m.run_uuid);
  hdf5_put_text(file, "config", m.config_text);
  hdf5_put_integers(file, "step", Shape{m.step});
  hdf5_put_integers(file, "tokens", Shape{m.tokens});
}

}  // namespace

std::string view_path(const Tensor& tensor) {
  std::string path = tensor.name;
  std::replace(path.begin(), path.end(), '.', '/');
  return (tensor.kind == TensorKind::kParam ? "/params/" : "/optimizer/" + std::string(name_of(tensor.kind)) + "/") +
         path;
}

void write_view(const std::filesystem::path& directory, const Manifest& manifest) {
  hdf5_quiet();
  const std::string path = (directory / kViewName).string();
  Hdf5Handle file(hdf5_create_file(path), H5Fclose, path);
  Hdf5Handle links(hdf5_link_properties(), H5Pclose, "link properties");
  put_about(file, manifest);
  for (const Tensor& t : manifest.tensors) {
    const std::string name = view_path(t);
    if (t.shape.rank() == 0) {  // a single value cannot be virtual; a link does
      const Shard& only = t.shards.front();
      hdf5_require(
          H5Lcreate_external(manifest.files[static_cast<std::size_t>(only.file)].name.c_str(),
                             dataset_path(t.key(), only.slab).c_str(), file, name.c_str(), links, H5P_DEFAULT) >= 0,
          name);
      continue;
    }
    Hdf5Handle layout(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, "dataset properties");
    Hdf5Handle space(hdf5_space(t.shape), H5Sclose, name);
    for (const Shard& s : t.shards) {
      const std::vector<hsize_t> offset = extents_of(s.slab.offset), count = extents_of(s.slab.count);
      Hdf5Handle source(hdf5_space(s.slab.count), H5Sclose, name);
      hdf5_require(H5Sselect_hyperslab(space, H5S_SELECT_SET, offset.data(), nullptr, count.data(), nullptr) >= 0 &&
                       H5Pset_virtual(layout, space, manifest.files[static_cast<std::size_t>(s.file)].name.c_str(),
                                      dataset_path(t.key(), s.slab).c_str(), source) >= 0,
                   name);
    }
    hdf5_require(H5Sselect_all(space) >= 0, name);
    Hdf5Handle dataset(H5Dcreate2(file, name.c_str(), hdf5_type(t.dtype), space, links, layout, H5P_DEFAULT), H5Dclose,
                       name);
    hdf5_put_text(dataset, "dtype", std::string(name_of(t.dtype)));
  }
  file.close();
  File synced = File::open_for_writing(path);
  synced.sync();
  synced.close();
}

void write_merged(CheckpointReader& reader, const std::filesystem::path& out,
                  const std::function<void(std::int64_t, std::int64_t)>& progress) {
  hdf5_quiet();
  const Manifest& m = reader.manifest();
  std::int64_t done = 0, total = 0;
  for (const Tensor& t : m.tensors) total += t.shape.count() * static_cast<std::int64_t>(size_of(t.dtype));
  std::filesystem::path tmp = out;
  tmp += ".tmp";
  remove_tree(tmp);
  try {
    Hdf5Handle file(hdf5_create_file(tmp.string()), H5Fclose, tmp.string());
    Hdf5Handle links(hdf5_link_properties(), H5Pclose, "link properties");
    put_about(file, m);
    for (const Tensor& t : m.tensors) {
      const std::string name = view_path(t);
      Hdf5Handle space(hdf5_space(t.shape), H5Sclose, name);
      Hdf5Handle dataset(H5Dcreate2(file, name.c_str(), hdf5_type(t.dtype), space, links, H5P_DEFAULT, H5P_DEFAULT),
                         H5Dclose, name);
      hdf5_put_text(dataset, "dtype", std::string(name_of(t.dtype)));
      reader.stream(t, [&](const Slab& part, ConstView data) {
        const std::vector<hsize_t> offset = extents_of(part.offset), count = extents_of(part.count);
        Hdf5Handle memory(hdf5_space(part.count), H5Sclose, name);
        hdf5_require((part.count.rank() == 0 ||
                      H5Sselect_hyperslab(space, H5S_SELECT_SET, offset.data(), nullptr, count.data(), nullptr) >= 0) &&
                         H5Dwrite(dataset, hdf5_type(t.dtype), memory, space, H5P_DEFAULT, data.data) >= 0,
                     name);
        done += static_cast<std::int64_t>(data.bytes());
        if (progress) progress(done, total);
      });
      dataset.close();
    }
    file.close();
    File synced = File::open_for_writing(tmp);
    synced.sync();
    synced.close();
    rename_path(tmp, out);
  } catch (...) {
    try {
      remove_tree(tmp);
    } catch (const Error&) {  // the first error is the one to tell
    }
    throw;
  }
  fsync_dir(out.parent_path());
}

}  // namespace banyan::io
