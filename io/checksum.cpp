#include "io/checksum.hpp"

#include <xxhash.h>

#include <bit>
#include <cstring>
#include <new>
#include <utility>
#include <vector>

#include "io/atomic_file.hpp"
#include "io/slab.hpp"
#include "src/base/error.hpp"
#include "src/base/rng.hpp"

namespace banyan::io {
namespace {

static_assert(std::endian::native == std::endian::little, "checkpoints hold little-endian values");

void* new_state() {
  XXH3_state_t* state = XXH3_createState();
  if (!state) throw std::bad_alloc();
  return state;
}

XXH3_state_t* state_of(void* state) { return static_cast<XXH3_state_t*>(state); }

/// Value bits of element i.
template <class T>
std::uint64_t bits_at(const std::byte* data, std::int64_t i) {
  T value;
  std::memcpy(&value, data + static_cast<std::size_t>(i) * sizeof(T), sizeof(T));
  return value;
}

/// Adds `count` elements that lie end to end both in memory and in the tensor.
template <class T>
void add_run(std::uint64_t key, std::int64_t first_index, const std::byte* data, std::int64_t count, std::uint64_t& a,
             std::uint64_t& b) {
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint64_t place = rng::mix(key, static_cast<std::uint64_t>(first_index + i));
    const std::uint64_t h = rng::mix(place ^ bits_at<T>(data, i));
    a += h;
    b += h * (place | 1);
  }
}

}  // namespace

HexDigest hex64(std::uint64_t value) { return fmt::format("{:016x}", value); }

bool parse_hex64(std::string_view text, std::uint64_t& value) {
  if (text.size() != 16) return false;
  value = 0;
  for (char c : text) {
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
    value = value << 4 | static_cast<std::uint64_t>(c <= '9' ? c - '0' : c - 'a' + 10);
  }
  return true;
}

Checksum64::Checksum64(std::uint64_t seed) : state_(new_state()) { XXH3_64bits_reset_withSeed(state_of(state_), seed); }
Checksum64::~Checksum64() { XXH3_freeState(state_of(state_)); }
Checksum64::Checksum64(Checksum64&& o) noexcept : state_(std::exchange(o.state_, nullptr)) {}
Checksum64& Checksum64::operator=(Checksum64&& o) noexcept {
  std::swap(state_, o.state_);
  return *this;
}
void Checksum64::update(const void* data, std::size_t bytes) { XXH3_64bits_update(state_of(state_), data, bytes); }
std::uint64_t Checksum64::value() const { return XXH3_64bits_digest(state_of(state_)); }

std::uint64_t checksum64(const void* data, std::size_t bytes) {
  Checksum64 sum;
  sum.update(data, bytes);
  return sum.value();
}

Checksum128::Checksum128() : state_(new_state()) { XXH3_128bits_reset(state_of(state_)); }
Checksum128::~Checksum128() { XXH3_freeState(state_of(state_)); }
Checksum128::Checksum128(Checksum128&& o) noexcept : state_(std::exchange(o.state_, nullptr)) {}
Checksum128& Checksum128::operator=(Checksum128&& o) noexcept {
  std::swap(state_, o.state_);
  return *this;
}
void Checksum128::update(const void* data, std::size_t bytes) { XXH3_128bits_update(state_of(state_), data, bytes); }
HexDigest Checksum128::hex() const {
  const XXH128_hash_t h = XXH3_128bits_digest(state_of(state_));
  return hex64(h.high64) + hex64(h.low64);
}

HexDigest digest_bytes(std::string_view bytes) {
  Checksum128 sum;
  sum.update(bytes.data(), bytes.size());
  return sum.hex();
}

HexDigest digest_file(const std::filesystem::path& path) {
  const File file = File::open_for_reading(path);
  Checksum128 sum;
  std::vector<char> buffer(std::size_t{1} << 20);
  const std::int64_t size = file.size();
  for (std::int64_t at = 0; at < size;) {
    const std::size_t n = static_cast<std::size_t>(std::min<std::int64_t>(size - at, std::ssize(buffer)));
    file.read_at(at, buffer.data(), n);
    sum.update(buffer.data(), n);
    at += static_cast<std::int64_t>(n);
  }
  return sum.hex();
}

void TensorDigest::add(std::string_view name, const Shape& global_shape, const Shape& offset, ConstView slab) {
  if (slab.kind == MemoryKind::kDevice || offset.rank() != global_shape.rank() || slab.shape.rank() != offset.rank())
    throw BugError("a slab of {} for the digest is not host memory or has another rank than {}", name,
                   global_shape.str());
  if (slab.count() == 0) return;
  std::uint64_t key = rng::named_key(static_cast<std::uint64_t>(slab.dtype), name);
  for (int i = 0; i < global_shape.rank(); ++i) key = rng::mix(key, static_cast<std::uint64_t>(global_shape[i]));

  const std::size_t width = size_of(slab.dtype);
  for_each_run(slab.shape, slab.shape, slab.row_stride, [&](const Shape& at, std::int64_t element, std::int64_t run) {
    std::int64_t index = 0;
    for (int i = 0; i < at.rank(); ++i) index = index * global_shape[i] + offset[i] + at[i];
    const std::byte* data = slab.data + static_cast<std::size_t>(element) * width;
    switch (width) {
      case 1:
        return add_run<std::uint8_t>(key, index, data, run, a_, b_);
      case 2:
        return add_run<std::uint16_t>(key, index, data, run, a_, b_);
      case 4:
        return add_run<std::uint32_t>(key, index, data, run, a_, b_);
      default:
        return add_run<std::uint64_t>(key, index, data, run, a_, b_);
    }
  });
}

void TensorDigest::add(const TensorDigest& other) {
  a_ += other.a_;
  b_ += other.b_;
}

HexDigest TensorDigest::hex() const { return hex64(a_) + hex64(b_); }

TensorDigest TensorDigest::from_sums(std::uint64_t a, std::uint64_t b) {
  TensorDigest d;
  d.a_ = a;
  d.b_ = b;
  return d;
}

}  // namespace banyan::io
