// Checksums of bytes (XXH3, for accidents, not against forgers) and the digest of a tensor's values, which is the same
// however the tensor is cut into slabs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "src/base/view.hpp"

namespace banyan::io {

/// 128 bits as 32 hexadecimal digits, 64 bits as 16.
using HexDigest = std::string;
HexDigest hex64(std::uint64_t value);
/// False when `text` is not 16 lower-case hexadecimal digits.
bool parse_hex64(std::string_view text, std::uint64_t& value);

/// Streaming XXH3.  The seed puts a name into the checksum's domain: equal bytes under another name differ.
class Checksum64 {
 public:
  explicit Checksum64(std::uint64_t seed = 0);
  ~Checksum64();
  Checksum64(Checksum64&&) noexcept;
  Checksum64& operator=(Checksum64&&) noexcept;
  void update(const void* data, std::size_t bytes);
  std::uint64_t value() const;

 private:
  void* state_;
};

/// Of bytes in one piece.
std::uint64_t checksum64(const void* data, std::size_t bytes);

class Checksum128 {
 public:
  Checksum128();
  ~Checksum128();
  Checksum128(Checksum128&&) noexcept;
  Checksum128& operator=(Checksum128&&) noexcept;
  void update(const void* data, std::size_t bytes);
  HexDigest hex() const;

 private:
  void* state_;
};

HexDigest digest_bytes(std::string_view bytes);
/// Streams the file.
HexDigest digest_file(const std::filesystem::path& path);

/// Two sums mod 2^64 over the elements of mix(name, global index, value bits).  Addition is associative and
/// commutative, so slabs may come in any order, from any partition; the digests of different tensors add up to that of
/// the set.
class TensorDigest {
 public:
  /// Adds a slab at `offset` of a tensor.  `name` is the full name ("param/norm.weight"); rows may be strided, host
  /// memory.
  void add(std::string_view name, const Shape& global_shape, const Shape& offset, ConstView slab);
  void add(const TensorDigest& other);
  HexDigest hex() const;
  bool operator==(const TensorDigest&) const = default;
  /// The sums, for adding up over ranks.
  std::uint64_t a() const { return a_; }
  std::uint64_t b() const { return b_; }
  static TensorDigest from_sums(std::uint64_t a, std::uint64_t b);

 private:
  std::uint64_t a_ = 0, b_ = 0;
};

}  // namespace banyan::io
