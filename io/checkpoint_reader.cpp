#include "io/checkpoint_reader.hpp"

#include <algorithm>
#include <thread>
#include <vector>

#include "io/run_store.hpp"
#include "src/base/error.hpp"

namespace banyan::io {
namespace {

constexpr std::int64_t kChunk = std::int64_t{4} << 20;
/// Open files kept at a time.
constexpr std::size_t kMaxOpen = 64;

void check_cancel(const std::atomic<bool>* cancel) {
  if (cancel && cancel->load(std::memory_order_relaxed))
    throw IoError("reading was given up because another rank failed");
}

Manifest load_manifest(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / kManifestName;
  if (!path_exists(path)) throw DataError("{} has no {}, so it was never committed", directory.string(), kManifestName);
  return parse_manifest(read_limited(path, kManifestLimit), path.string());
}

}  // namespace

CheckpointReader::CheckpointReader(const std::filesystem::path& directory)
    : CheckpointReader(directory, load_manifest(directory)) {
  check_files();
}

CheckpointReader::CheckpointReader(const std::filesystem::path& directory, Manifest manifest)
    : directory_(directory), manifest_(std::move(manifest)) {
  std::int64_t step = 0, epoch = 0;
  std::filesystem::path clean = directory.lexically_normal();
  if (clean.filename().empty()) clean = clean.parent_path();
  const bool named = parse_checkpoint_name(clean.filename().string(), step, epoch);
  // A link of another name is the user's way to speak of a checkpoint; in a run directory all have names of their own.
  handle_ = File::open_directory(clean, !named);
  if (named && (step != manifest_.step || epoch != manifest_.epoch))
    throw DataError("{} holds the manifest of step {} epoch {}; somebody mixed up directories", directory.string(),
                    manifest_.step, manifest_.epoch);
}

const File& CheckpointReader::file(int index) {
  if (auto found = open_.find(index); found != open_.end()) return found->second;
  if (open_.size() >= kMaxOpen) open_.clear();
  return open_.emplace(index, open(manifest_.files[static_cast<std::size_t>(index)])).first->second;
}

File CheckpointReader::open(const ManifestFile& entry) const {
  const std::filesystem::path path = directory_ / entry.name;
  for (const Clock::time_point start = Clock::now();;) {
    const bool late = patience_ > Seconds::zero() && !path_exists(path);
    try {
      File opened = File::open_for_reading_at(handle_, entry.name);
      const std::int64_t size = opened.size();
      if (size == entry.size) return opened;
      if (patience_ == Seconds::zero())
        throw DataError("{} has {} bytes, the manifest says {}", path.string(), size, entry.size);
    } catch (const IoError&) {
      if (!late) throw;
      if (!path_exists(directory_ / kManifestName))
        throw IoError("{} was removed while it was read", directory_.string());
    }
    check_cancel(cancel_);
    if (Seconds(Clock::now() - start) > patience_)
      throw IoError("{} is not here as others see it, even after {:.0f} s; the run directory must be shared",
                    path.string(), patience_.count());
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

void CheckpointReader::check_files() {
  for (std::size_t i = 0; i < manifest_.files.size(); ++i) {
    const std::filesystem::path path = directory_ / manifest_.files[i].name;
    if (!path_exists(path)) throw DataError("{} is missing", path.string());
    file(static_cast<int>(i));
  }
}

void CheckpointReader::read_shard(const Tensor& tensor, const Shard& shard,
                                  const std::function<void(const Slab&, ConstView)>& use) {
  const File& from = file(shard.file);
  const std::int64_t width = static_cast<std::int64_t>(size_of(tensor.dtype));
  std::vector<std::byte> buffer(static_cast<std::size_t>(std::min(shard.slab.elements() * width, kChunk)));
  Checksum64 sum(shard_seed(manifest_, tensor.key(), shard.slab));
  std::int64_t at = shard.byte_offset;
  for_each_part(shard.slab, kChunk / width, [&](const Slab& part) {
    check_cancel(cancel_);
    const std::int64_t bytes = part.elements() * width;
    from.read_at(at, buffer.data(), static_cast<std::size_t>(bytes));
    sum.update(buffer.data(), static_cast<std::size_t>(bytes));
    use(part, ConstView(buffer.data(), tensor.dtype, part.count));
    at += bytes;
  });
  if (sum.value() != shard.checksum)
    throw DataError("{} of {} is damaged: the values at offset {} do not match their checksum", tensor.key(),
                    from.path().string(), shard.slab.offset.str());
}

void CheckpointReader::read(TensorKind kind, const std::string& name, const Shape& offset, View out) {
  const Tensor* tensor = manifest_.find(kind, name);
  if (!tensor) throw DataError("{} has no tensor {}/{}", directory_.string(), name_of(kind), name);
  if (tensor->dtype != out.dtype)
    throw DataError("{} is stored as {}, {} is wanted", tensor->key(), name_of(tensor->dtype), name_of(out.dtype));
  const Slab wanted{offset, out.shape};
  bool inside = offset.rank() == tensor->shape.rank() && out.shape.rank() == tensor->shape.rank();
  for (int i = 0; inside && i < offset.rank(); ++i)
    inside = offset[i] >= 0 && out.shape[i] >= 0 && offset[i] + out.shape[i] <= tensor->shape[i];
  if (!inside)
    throw DataError("{} has shape {} in {}; offset {} count {} is not inside it", tensor->key(), tensor->shape.str(),
                    directory_.string(), offset.str(), out.shape.str());
  std::int64_t filled = 0;
  for (const Shard& shard : tensor->shards) {
    if (intersect(shard.slab, wanted).elements() == 0) continue;
    read_shard(*tensor, shard,
               [&](const Slab& part, ConstView data) { filled += copy_overlap(part, data, wanted, out); });
  }
  if (filled != out.count()) throw BugError("{} filled {} of {} values", tensor->key(), filled, out.count());
}

std::string CheckpointReader::verify_files() {
  std::vector<char> buffer(static_cast<std::size_t>(kChunk));
  for (std::size_t i = 0; i < manifest_.files.size(); ++i) {
    const ManifestFile& entry = manifest_.files[i];
    try {
      const File& from = file(static_cast<int>(i));
      Checksum128 sum;
      for (std::int64_t at = 0; at < entry.size; at += kChunk) {
        check_cancel(cancel_);
        const auto n = static_cast<std::size_t>(std::min(kChunk, entry.size - at));
        from.read_at(at, buffer.data(), n);
        sum.update(buffer.data(), n);
      }
      if (sum.hex() != entry.digest)
        return fmt::format("{} is damaged: its bytes do not match the digest in the manifest", from.path().string());
    } catch (const DataError& e) {
      return e.what();
    }
  }
  return "";
}

void CheckpointReader::stream(const Tensor& tensor, const std::function<void(const Slab&, ConstView)>& use) {
  for (const Shard& shard : tensor.shards) read_shard(tensor, shard, use);
}

TensorDigest CheckpointReader::digest() {
  TensorDigest sum;
  for (const Tensor& t : manifest_.tensors)
    stream(t, [&](const Slab& part, ConstView data) { sum.add(t.key(), t.shape, part.offset, data); });
  return sum;
}

}  // namespace banyan::io
