#include "io/shard_file.hpp"

#include <algorithm>
#include <optional>
#include <vector>

#include "io/atomic_file.hpp"
#include "io/block_writer.hpp"
#include "io/hdf5_handle.hpp"
#include "io/hdf5_image.hpp"
#include "io/stored_file.hpp"
#include "src/base/error.hpp"

namespace banyan::io {
namespace {

/// Summed up and passed on at a time, so that the sums and the copy find it in the processor's cache.
constexpr std::int64_t kPiece = 256 << 10;

/// Adds one contiguous dataset for each slab.  Returns their places.
std::vector<std::int64_t> lay_out(hid_t file, const Manifest& m, std::span<const ShardData> shards) {
  hdf5_put_text(file, "run", m.run_uuid);
  hdf5_put_integers(file, "step", Shape{m.step});
  hdf5_put_integers(file, "epoch", Shape{m.epoch});
  Hdf5Handle layout(hdf5_contiguous(), H5Pclose, "dataset properties");
  std::vector<std::int64_t> places;
  for (const ShardData& s : shards) {
    const std::string name = dataset_path(std::string(name_of(s.kind)) + "/" + s.name, s.slab());
    Hdf5Handle space(hdf5_space(s.data.shape), H5Sclose, name);
    hdf5_make_groups(file, name);
    Hdf5Handle dataset(H5Dcreate2(file, name.c_str(), hdf5_type(s.data.dtype), space, H5P_DEFAULT, layout, H5P_DEFAULT),
                       H5Dclose, name);
    hdf5_put_text(dataset, "dtype", std::string(name_of(s.data.dtype)));
    hdf5_put_integers(dataset, "global_shape", s.global_shape);
    hdf5_put_integers(dataset, "offset", s.offset);
    const haddr_t place = H5Dget_offset(dataset);
    hdf5_require(place != HADDR_UNDEF, name);
    places.push_back(static_cast<std::int64_t>(place));
  }
  return places;
}

void check_cancel(const std::atomic<bool>* cancel) {
  if (cancel && cancel->load(std::memory_order_relaxed))
    throw IoError("writing was given up because another rank failed");
}

/// Appends a slab end to end; returns its checksum, taken from the caller's memory.  `whole`: the digest of the file,
/// which has come to this place.
std::uint64_t append_values(BlockWriter& out, const ShardData& s, std::uint64_t seed, Checksum128& whole,
                            const std::atomic<bool>* cancel) {
  Checksum64 sum(seed);
  const std::int64_t width = static_cast<std::int64_t>(size_of(s.data.dtype));
  std::vector<std::byte> packed;  // short runs are gathered
  auto put = [&](const std::byte* data, std::int64_t bytes) {
    for (std::int64_t at = 0; at < bytes; at += kPiece) {
      check_cancel(cancel);
      const auto n = static_cast<std::size_t>(std::min(kPiece, bytes - at));
      sum.update(data + at, n);
      whole.update(data + at, n);
      out.append(data + at, n);
    }
  };
  if (s.data.contiguous()) {
    put(s.data.data, static_cast<std::int64_t>(s.data.bytes()));
    return sum.value();
  }
  packed.reserve(static_cast<std::size_t>(kPiece));
  for_each_run(s.data.shape, s.data.shape, s.data.row_stride,
               [&](const Shape&, std::int64_t element, std::int64_t run) {
                 const std::byte* data = s.data.data + element * width;
                 if (std::ssize(packed) + run * width > kPiece) {
                   put(packed.data(), std::ssize(packed));
                   packed.clear();
                 }
                 packed.insert(packed.end(), data, data + run * width);
               });
  put(packed.data(), std::ssize(packed));
  return sum.value();
}

/// The order in which the slabs lie in the file.
std::vector<std::size_t> by_place(const std::vector<std::int64_t>& places) {
  std::vector<std::size_t> order(places.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](auto a, auto b) { return places[a] < places[b]; });
  return order;
}

}  // namespace

std::map<std::string, std::string> library_versions() {
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  return {{"hdf5", fmt::format("{}.{}.{}", major, minor, release)}, {"compiler", __VERSION__}};
}

std::int64_t shard_file_bytes(std::span<const ShardData> shards) {
  std::int64_t bytes = 1 << 16;  // metadata: measured below 2 KiB for each dataset
  for (const ShardData& s : shards) bytes += static_cast<std::int64_t>(s.data.bytes()) + 2048;
  return bytes;
}

WrittenFile write_shard_file(const std::filesystem::path& directory, const std::string& name, const Manifest& manifest,
                             std::span<const ShardData> shards, const WriteOptions& options) {
  const std::string path = (directory / name).string();
  for (const ShardData& s : shards)
    if (s.data.count() == 0 || s.data.kind == MemoryKind::kDevice)
      throw BugError("the slab of {} to be written is empty or not in host memory", s.name);
  Hdf5Image image(path);
  const std::vector<std::int64_t> places = lay_out(image.file(), manifest, shards);
  image.finish();

  WrittenFile written;
  written.shards.resize(shards.size());
  File file = File::create(path);
  file.resize(image.size());
  file.reserve(image.size());
  std::optional<BlockWriter> out(std::in_place, file);
  Checksum128 whole;
  std::int64_t at = 0;
  std::vector<std::byte> gap;
  const auto pass_metadata = [&](std::int64_t end) {
    gap.resize(static_cast<std::size_t>(end - at));
    image.read(at, gap.data(), gap.size());
    whole.update(gap.data(), gap.size());
    out->append(gap.data(), gap.size());
    at = end;
  };
  for (const std::size_t i : by_place(places)) {
    const ShardData& s = shards[i];
    pass_metadata(places[i]);
    const std::uint64_t seed = shard_seed(manifest, std::string(name_of(s.kind)) + "/" + s.name, s.slab());
    const std::uint64_t sum = append_values(*out, s, seed, whole, options.cancel);
    if (!options.checksums.empty() && sum != options.checksums[i])
      throw IoError("the copy of {} in memory changed before it was written to {}; the memory of this host is damaged",
                    s.name, path);
    written.shards[i] = {0, at, s.slab(), sum};
    at += static_cast<std::int64_t>(s.data.bytes());
  }
  pass_metadata(image.size());
  out->finish();
  out.reset();  // and with it its memory
  file.sync();
  written.file = {name, file.size(), whole.hex()};
  file.close();
  if (options.verify) require_stored(path, written.file.digest, options.cancel);
  return written;
}

}  // namespace banyan::io
