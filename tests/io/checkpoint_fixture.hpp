// Makes small checkpoints for the tests of this folder: two tensors with moments, cut as asked, in as many files as
// asked.
#pragma once

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "io/atomic_file.hpp"
#include "io/manifest.hpp"
#include "io/shard_file.hpp"

namespace banyan::test {

struct WholeTensor {
  std::string name;
  io::TensorKind kind;
  Shape shape;
  std::vector<float> values;
};

/// Values that tell their place.
inline WholeTensor make_tensor(const std::string& name, io::TensorKind kind, const Shape& shape, float base = 0) {
  WholeTensor t{name, kind, shape, {}};
  for (std::int64_t i = 0; i < shape.count(); ++i)
    t.values.push_back(base + static_cast<float>(i) + 1000.0f * static_cast<float>(kind));
  return t;
}

inline std::vector<WholeTensor> small_model(float base = 0) {
  std::vector<WholeTensor> all;
  for (io::TensorKind kind : {io::TensorKind::kParam, io::TensorKind::kM, io::TensorKind::kV}) {
    all.push_back(make_tensor("blocks.0.attn.q.weight", kind, {6, 4}, base));
    all.push_back(make_tensor("norm.weight", kind, {5}, base));
  }
  return all;
}

/// A view of a slab inside the whole tensor (2-D: strided rows; 1-D: contiguous).
inline ConstView slab_view(const WholeTensor& t, const io::Slab& slab) {
  ConstView v(t.values.data(), t.shape);
  if (t.shape.rank() == 0) return v;
  v = v.rows(slab.offset[0], slab.offset[0] + slab.count[0]);
  if (t.shape.rank() == 2) v = v.columns(slab.offset[1], slab.offset[1] + slab.count[1]);
  return v;
}

inline io::ShardData shard_of(const WholeTensor& t, const io::Slab& slab) {
  return {t.name, t.kind, t.shape, slab.offset, slab_view(t, slab)};
}

/// All of a tensor as one slab.
inline io::Slab whole(const Shape& shape) {
  Shape zero = shape;
  for (int i = 0; i < zero.rank(); ++i) zero[i] = 0;
  return {zero, shape};
}

inline io::Manifest blank_manifest(std::int64_t step = 7, std::int64_t epoch = 2) {
  io::Manifest m;
  m.run_uuid = "0123456789abcdef0123456789abcdef";
  m.step = step;
  m.epoch = epoch;
  m.tokens = 4096;
  m.cursor = 16;
  m.model_hash = "cafe";
  m.config_text = "[run]\ndir = \"x\"\n";
  m.mesh_text = "tensor 1";
  m.plans_text = "{}";
  m.extra["loss"] = "0x1.8p+1";
  m.versions["banyan"] = "test";
  return m;
}

/// Writes the files (one per element of `files`) and the manifest into `directory`, which is created.
inline io::Manifest write_checkpoint(const std::filesystem::path& directory, io::Manifest m,
                                     const std::vector<std::vector<io::ShardData>>& files) {
  io::make_directories(directory);
  std::map<std::pair<io::TensorKind, std::string>, io::Tensor> tensors;
  for (std::size_t f = 0; f < files.size(); ++f) {
    const std::string name = "shard-0000" + std::to_string(f) + ".h5";
    const io::WrittenFile written = io::write_shard_file(directory, name, m, files[f]);
    m.files.push_back(written.file);
    for (std::size_t i = 0; i < files[f].size(); ++i) {
      const io::ShardData& d = files[f][i];
      io::Tensor& t = tensors[{d.kind, d.name}];
      t.name = d.name;
      t.kind = d.kind;
      t.dtype = d.data.dtype;
      t.shape = d.global_shape;
      t.shards.push_back(written.shards[i]);
      t.shards.back().file = static_cast<int>(f);
    }
  }
  for (auto& [key, tensor] : tensors) m.tensors.push_back(std::move(tensor));
  io::write_atomic(directory / io::kManifestName, io::write_manifest(m));
  return m;
}

/// The small model: matrix in four quadrants over two files, vector whole.
inline io::Manifest write_small_checkpoint(const std::filesystem::path& directory,
                                           const std::vector<WholeTensor>& model, std::int64_t step = 7,
                                           std::int64_t epoch = 2) {
  std::vector<std::vector<io::ShardData>> files(2);
  for (const WholeTensor& t : model) {
    if (t.shape.rank() == 2) {
      files[0].push_back(shard_of(t, {{0, 0}, {3, 2}}));
      files[0].push_back(shard_of(t, {{0, 2}, {3, 2}}));
      files[1].push_back(shard_of(t, {{3, 0}, {3, 1}}));
      files[1].push_back(shard_of(t, {{3, 1}, {3, 3}}));
    } else {
      files[1].push_back(shard_of(t, whole(t.shape)));
    }
  }
  return write_checkpoint(directory, blank_manifest(step, epoch), files);
}

}  // namespace banyan::test
