// A small model of known values for checkpoint tests, and its distribution over ranks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/slab.hpp"
#include "src/base/rng.hpp"
#include "src/job/checkpoint.hpp"

namespace banyan::test {

struct Logical {
  std::string name;
  Shape shape;
};

inline std::vector<Logical> logical_model() {
  return {{"embed.token.weight", {13, 8}},
          {"blocks.0.attn.q.weight", {8, 8}},
          {"blocks.0.attn.q.bias", {8}},
          {"norm.weight", {7}}};
}

inline constexpr io::TensorKind kKinds[] = {io::TensorKind::kParam, io::TensorKind::kM, io::TensorKind::kV};

/// The value at a linear index of a tensor in generation `age` of the model.
inline float value_at(const std::string& name, io::TensorKind kind, std::int64_t index, int age) {
  const std::uint64_t key =
      rng::named_key(static_cast<std::uint64_t>(age) * 8 + static_cast<std::uint64_t>(kind), name);
  return rng::uniform(static_cast<std::uint32_t>(rng::mix(key, static_cast<std::uint64_t>(index))));
}

inline io::Slab whole_of(const Shape& shape) {
  io::Slab s{shape, shape};
  for (int i = 0; i < shape.rank(); ++i) s.offset[i] = 0;
  return s;
}

/// Values of a slab, row-major.
inline std::vector<float> values_of(const Logical& t, io::TensorKind kind, const io::Slab& slab, int age) {
  std::vector<float> values;
  const std::int64_t columns = t.shape.rank() == 2 ? t.shape[1] : 1;
  const std::int64_t c0 = t.shape.rank() == 2 ? slab.offset[1] : 0, cn = t.shape.rank() == 2 ? slab.count[1] : 1;
  for (std::int64_t r = 0; r < slab.count[0]; ++r)
    for (std::int64_t c = 0; c < cn; ++c)
      values.push_back(value_at(t.name, kind, (slab.offset[0] + r) * columns + c0 + c, age));
  return values;
}

/// What rank `rank` of `ranks` holds: matrices split by columns over pairs of ranks where possible, rows over the rest.
inline io::Slab part_of(const Shape& shape, int rank, int ranks) {
  io::Slab s = whole_of(shape);
  if (shape.rank() == 2 && ranks % 2 == 0) {
    s.count[1] = shape[1] / 2;
    s.offset[1] = rank % 2 * s.count[1];
    return io::row_slice(s, rank / 2, ranks / 2);
  }
  return io::row_slice(s, rank, ranks);
}

/// Owns the values that one rank saves.
struct Holding {
  std::vector<std::vector<float>> memory;
  std::vector<job::SaveTensor> tensors;
  Holding(int rank, int ranks, int age) {
    for (io::TensorKind kind : kKinds)
      for (const Logical& t : logical_model()) {
        const io::Slab slab = part_of(t.shape, rank, ranks);
        memory.push_back(values_of(t, kind, slab, age));
        tensors.push_back({t.name, kind, t.shape, slab.offset, ConstView(memory.back().data(), slab.count)});
      }
  }
};

/// A fill callback for load() that checks every value this rank reads against generation age(manifest); `wrong` counts
/// differences.
template <class Age>
auto checking_fill(int rank, int ranks, const Age& age, int& wrong) {
  return [=, &wrong](job::Source& source) {
    wrong = 0;
    for (io::TensorKind kind : kKinds)
      for (const Logical& t : logical_model()) {
        // Another cut than the writer's: rows from the other end.
        const io::Slab slab = io::row_slice(whole_of(t.shape), ranks - 1 - rank, ranks);
        std::vector<float> out(static_cast<std::size_t>(slab.elements()), -1.0f);
        source.read_slab(kind, t.name, slab.offset, View(out.data(), slab.count));
        wrong += out != values_of(t, kind, slab, age(source.manifest()));
      }
  };
}

}  // namespace banyan::test
