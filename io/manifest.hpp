// MANIFEST.json: the one record that makes a directory a checkpoint.  It names every file with size and digest, every
// tensor with the slabs it is made of, and everything else a resumed job needs.  Grammar and worked example: FORMAT.md.
//
// Writing is canonical: equal contents give equal bytes.  The last member is the digest of all bytes before it.
// parse_manifest trusts nothing: it checks the digest, limits, names, ranges, overlaps and gaps, and allocates nothing
// larger than the text itself before that.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "io/checksum.hpp"
#include "io/slab.hpp"
#include "src/base/dtype.hpp"
#include "src/base/view.hpp"

namespace banyan::io {

inline constexpr int kCheckpointFormat = 1;
inline constexpr const char* kManifestName = "MANIFEST.json";
inline constexpr std::size_t kManifestLimit = std::size_t{256} << 20;

/// Parameters, and AdamW's first and second moments.
enum class TensorKind : std::uint8_t { kParam, kM, kV };
std::string_view name_of(TensorKind kind);  ///< "param", "m", "v"

/// Names a checkpoint and pins its contents.
struct CheckpointId {
  std::string name;  ///< "step-000001200.e7"; a path for a checkpoint of another run; empty: none, a fresh start
  HexDigest digest;  ///< of its manifest
  bool operator==(const CheckpointId&) const = default;
};

struct ManifestFile {
  std::string name;
  std::int64_t size = 0;
  HexDigest digest;  ///< XXH3-128 of the whole file
  bool operator==(const ManifestFile&) const = default;
};

/// A slab of a tensor and the bytes that hold it (row-major, little endian).
struct Shard {
  int file = 0;                  ///< index into Manifest::files
  std::int64_t byte_offset = 0;  ///< in that file
  Slab slab;
  std::uint64_t checksum = 0;  ///< XXH3-64, seeded with shard_seed()
  bool operator==(const Shard&) const = default;
};

struct Tensor {
  std::string name;  ///< "blocks.0.attn.q.weight"
  TensorKind kind = TensorKind::kParam;
  DType dtype = DType::kF32;
  Shape shape;  ///< global
  std::vector<Shard> shards;
  bool operator==(const Tensor&) const = default;
  std::string key() const { return std::string(name_of(kind)) + "/" + name; }
};

struct Manifest {
  int format = kCheckpointFormat;
  std::string run_uuid;  ///< of the run directory that wrote it
  std::int64_t epoch = 0, step = 0;
  std::int64_t tokens = 0;                         ///< trained on so far
  std::int64_t cursor = 0;                         ///< index of the next sample of the data order
  CheckpointId base;                               ///< what the attempt that wrote this had started from
  std::string model_hash;                          ///< of the keys that decide the shapes
  std::string config_text, mesh_text, plans_text;  ///< opaque here
  std::map<std::string, std::string> extra;        ///< opaque: the trainer's own small state
  std::map<std::string, std::string> versions;     ///< program and libraries
  std::vector<ManifestFile> files;
  std::vector<Tensor> tensors;  ///< sorted by kind, then name
  HexDigest digest;             ///< own; filled by write_manifest's caller through parse, and by parse_manifest

  const Tensor* find(TensorKind kind, std::string_view name) const;
};

/// Domain of a shard's checksum: another run, step, tensor or place in it gives another value for the same bytes.
std::uint64_t shard_seed(const Manifest& manifest, const std::string& tensor_key, const Slab& slab);

/// Path of a shard's dataset inside its HDF5 file: "/param/blocks.0.attn.q.weight/0,128" (the slab's offset).
std::string dataset_path(const std::string& tensor_key, const Slab& slab);

std::string write_manifest(const Manifest& manifest);
/// `source` is named in messages.  DataError for anything damaged, inconsistent or of another format version.
Manifest parse_manifest(std::string_view text, const std::string& source);

}  // namespace banyan::io
