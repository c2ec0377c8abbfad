#include "io/view_file.hpp"

#include <algorithm>
#include <vector>

#include "io/atomic_file.hpp"
#include "io/hdf5_handle.hpp"
#include "io/hdf5_image.hpp"
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

/// Creates a file from its image and its values; nothing is left of it after a failure.
void put_file(const std::filesystem::path& path, const Hdf5Image& image, const std::function<void(File&)>& values) {
  File file = File::create(path);
  try {
    file.resize(image.size());
    values(file);
    image.write_to(file);
    file.sync();
    file.close();
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
    throw;
  }
}

}  // namespace

std::string view_path(const Tensor& tensor) {
  std::string path = tensor.name;
  std::replace(path.begin(), path.end(), '.', '/');
  return (tensor.kind == TensorKind::kParam ? "/params/" : "/optimizer/" + std::string(name_of(tensor.kind)) + "/") +
         path;
}

void write_view(const std::filesystem::path& directory, const Manifest& manifest) {
  const std::filesystem::path path = directory / kViewName;
  Hdf5Image image(path.string());
  const hid_t file = image.file();
  put_about(file, manifest);
  for (const Tensor& t : manifest.tensors) {
    const std::string name = view_path(t);
    hdf5_make_groups(file, name);
    if (t.shape.rank() == 0) {  // a single value cannot be virtual; a link does
      const Shard& only = t.shards.front();
      hdf5_require(H5Lcreate_external(manifest.files[static_cast<std::size_t>(only.file)].name.c_str(),
                                      dataset_path(t.key(), only.slab).c_str(), file, name.c_str(), H5P_DEFAULT,
                                      H5P_DEFAULT) >= 0,
                   name);
      continue;
    }
    Hdf5Handle layout(hdf5_dataset_properties(), H5Pclose, "dataset properties");
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
    Hdf5Handle dataset(H5Dcreate2(file, name.c_str(), hdf5_type(t.dtype), space, H5P_DEFAULT, layout, H5P_DEFAULT),
                       H5Dclose, name);
    hdf5_put_text(dataset, "dtype", std::string(name_of(t.dtype)));
  }
  image.finish();
  put_file(path, image, [](File&) {});
}

void write_merged(CheckpointReader& reader, const std::filesystem::path& out,
                  const std::function<void(std::int64_t, std::int64_t)>& progress) {
  const Manifest& m = reader.manifest();
  Hdf5Image image(out.string());
  put_about(image.file(), m);
  std::vector<std::int64_t> places;
  std::int64_t done = 0, total = 0;
  {
    Hdf5Handle layout(hdf5_contiguous(), H5Pclose, "dataset properties");
    for (const Tensor& t : m.tensors) {
      const std::string name = view_path(t);
      hdf5_make_groups(image.file(), name);
      Hdf5Handle space(hdf5_space(t.shape), H5Sclose, name);
      Hdf5Handle dataset(
          H5Dcreate2(image.file(), name.c_str(), hdf5_type(t.dtype), space, H5P_DEFAULT, layout, H5P_DEFAULT), H5Dclose,
          name);
      hdf5_put_text(dataset, "dtype", std::string(name_of(t.dtype)));
      places.push_back(static_cast<std::int64_t>(H5Dget_offset(dataset)));
      total += t.shape.count() * static_cast<std::int64_t>(size_of(t.dtype));
    }
  }
  image.finish();
  std::filesystem::path tmp = out;
  tmp += ".tmp";
  remove_tree(tmp);
  put_file(tmp, image, [&](File& file) {
    for (std::size_t i = 0; i < places.size(); ++i) {
      const Tensor& t = m.tensors[i];
      const auto width = static_cast<std::int64_t>(size_of(t.dtype));
      reader.stream(t, [&](const Slab& part, ConstView data) {
        // Runs of the piece that lie end to end in the whole tensor.
        for_each_run(part.count, part.count, part.count.row_count(),
                     [&](const Shape& at, std::int64_t element, std::int64_t run) {
                       std::int64_t index = 0;
                       for (int a = 0; a < at.rank(); ++a) index = index * t.shape[a] + part.offset[a] + at[a];
                       file.write_at(places[i] + index * width, data.data + element * width,
                                     static_cast<std::size_t>(run * width));
                     });
        done += static_cast<std::int64_t>(data.bytes());
        if (progress) progress(done, total);
      });
    }
  });
  rename_path(tmp, out);
  fsync_dir(out.parent_path());
}

}  // namespace banyan::io
