#include "io/stored_file.hpp"

#include <algorithm>

#include "io/atomic_file.hpp"
#include "io/block_writer.hpp"
#include "src/base/error.hpp"

namespace banyan::io {
namespace {

/// Read at a time.
constexpr std::int64_t kChunk = std::int64_t{8} << 20;

/// Calls use(bytes, count) for every piece, in order; returns their digest.
template <class Use>
HexDigest read_all(File& file, const std::atomic<bool>* cancel, const Use& use) {
  file.forget_cached();
  file.bypass_cache(true);
  Checksum128 whole;
  const DirectMemory buffer = direct_memory(static_cast<std::size_t>(kChunk));
  const std::int64_t size = file.size(), end = size / File::kDirectUnit * File::kDirectUnit;
  for (std::int64_t at = 0; at < size;) {
    if (cancel && cancel->load(std::memory_order_relaxed))
      throw IoError("reading {} was given up because another rank failed", file.path().string());
    const std::int64_t n = at < end ? std::min(kChunk, end - at) : size - at;
    file.read_at(at, buffer.get(), static_cast<std::size_t>(n));
    whole.update(buffer.get(), static_cast<std::size_t>(n));
    use(buffer.get(), static_cast<std::size_t>(n));
    at += n;
  }
  return whole.hex();
}

}  // namespace

HexDigest stored_digest(const std::filesystem::path& path, const std::atomic<bool>* cancel) {
  File file = File::open_for_reading(path);
  return read_all(file, cancel, [](const std::byte*, std::size_t) {});
}

void require_stored(const std::filesystem::path& path, const HexDigest& digest, const std::atomic<bool>* cancel) {
  if (stored_digest(path, cancel) != digest)
    throw IoError("{} does not hold what was written to it; the storage, or memory on its way there, is damaged",
                  path.string());
}

void copy_stored(const std::filesystem::path& from, const std::filesystem::path& to, const ManifestFile& file,
                 bool verify, const std::atomic<bool>* cancel) {
  const std::filesystem::path source_path = from / file.name, copy_path = to / file.name;
  File source = File::open_for_reading(source_path);
  if (const std::int64_t size = source.size(); size != file.size)
    throw DataError("{} has {} bytes instead of {}", source_path.string(), size, file.size);
  File copy = File::create(copy_path);
  copy.resize(file.size);
  copy.reserve(file.size);
  {
    BlockWriter out(copy);
    const HexDigest digest =
        read_all(source, cancel, [&](const std::byte* bytes, std::size_t n) { out.append(bytes, n); });
    if (digest != file.digest)
      throw DataError("{} does not hold what was written to it; the storage, or memory on its way there, is damaged",
                      source_path.string());
    out.finish();
  }
  copy.sync();
  copy.close();
  if (verify) require_stored(copy_path, file.digest, cancel);
}

}  // namespace banyan::io
