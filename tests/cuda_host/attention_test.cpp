// What the list of operations does not ask of attention: the wide heads, sequences without keys, rows of no sequence,
// and the tiles that blocks work on.
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "kernels/cuda/attention_plan.hpp"
#include "src/base/rng.hpp"
#include "tests/cuda_host/case_check.hpp"
#include "tests/cuda_host/small_backend.hpp"
#include "tests/sanitized.hpp"

namespace banyan::kernels::test {
namespace {

Backend& backend() {
  static SmallCudaBackend b;
  return b;
}

void expect_both_types(const OpCase& c) {
  SCOPED_TRACE(c.name());
  expect_right(backend(), c);
  expect_right(backend(), in_bf16(c));
}

/// Every width that there are kernels for, and what lies behind it.
TEST(CudaAttention, TakesWideHeads) {
#if BANYAN_SANITIZED
  const std::vector<int> sizes{128};
#else
  const std::vector<int> sizes{72, 128, 136, 256};
#endif
  for (const int size : sizes)
    for (const bool plain : {true, false}) {
      AttentionShape s{2, 1, size, {5, 36}, {5, 40}, {0, 4}};
      s.strided = !plain;
      s.dropout = plain ? 0 : 0.25f;
      expect_both_types(attention_forward(s));
      expect_both_types(attention_backward(s));
    }
}

/// Queries as in generation: of sequences of all lengths, in groups of one head, a few and more than a block takes.
AttentionShape generating(int size, int group, std::int32_t block) {
  return {2 * group, 2, size, {1, 0, 1, 1, 1}, {300, 5, 1, 129, 128}, {299, 0, 0, 100, 127}, block == 0, block};
}

TEST(CudaAttention, TakesSingleQueries) {
#if BANYAN_SANITIZED
  const std::vector<int> sizes{20, 256}, groups{1, 5};
#else
  const std::vector<int> sizes{20, 64, 72, 128, 136, 256}, groups{1, 3, 5};
#endif
  for (const int size : sizes)
    for (const int group : groups)
      for (const std::int32_t block : {0, 7, 64}) expect_both_types(attention_forward(generating(size, group, block)));
}

/// Where the workspace is too small for the parts, queries are tiles of one; keys of a part are seen by who may.
TEST(CudaAttention, SingleQueriesDoWithoutRoom) {
  const OpCase c = attention_forward(generating(20, 3, 16));
  cuda::CudaBackend little({.products = std::size_t{4} << 10, .workspace = 1024, .staging = std::size_t{64} << 10});
  expect_right(little, c);
  expect_right(little, in_bf16(c));
}

TEST(CudaAttention, RefusesWiderHeads) {
  const OpCase c = attention_forward(whole_sequences(1, 1, 264, 1, 2));
  Bound t(c.tensors, c.initial(), 0, &backend());
  EXPECT_THROW(c.run(backend(), t), ConfigError);
}

/// Two sequences in the middle of the rows, the second without keys.
struct Sparse {
  static constexpr std::int64_t rows = 9, width = 2 * 8;
  std::vector<std::int32_t> q_offsets{2, 5, 7}, kv_offsets{1, 5, 5}, q_position{1, 0};
  Attention a;
  std::vector<TensorSpec> tensors{
      in("q", {rows, width}),      in("k", {rows, width}),      in("v", {rows, width}),
      in("d_out", {rows, width}),  inout("out", {rows, width}), inout("lse", {2, rows}),
      inout("d_q", {rows, width}), inout("d_k", {rows, width}), inout("d_v", {rows, width})};
  Sparse() {
    a.heads = a.kv_heads = 2;
    a.head_size = 8;
    a.q_offsets = q_offsets;
    a.kv_offsets = kv_offsets;
    a.q_position = q_position;
  }
  void run(Backend& b, Bound& t) const {
    b.attention_forward({}, t["out"], t["lse"], t["q"], t["k"], t["v"], a);
    b.attention_backward({}, t["d_q"], t["d_k"], t["d_v"], t["d_out"], t["q"], t["k"], t["v"], t["out"], t["lse"], a);
  }
};

TEST(CudaAttention, LeavesRowsOfNoSequenceAloneAndGivesThemNoGradient) {
  const Sparse sparse;
  OpCase values;
  values.tensors = sparse.tensors;
  Bound here(sparse.tensors, values.initial(), 0, &backend()), there(sparse.tensors, values.initial());
  sparse.run(backend(), here);
  sparse.run(*make_cpu_backend({.threads = 1, .max_isa = ""}), there);
  for (const char* name : {"out", "lse", "d_q", "d_k", "d_v"})
    EXPECT_LE(error_of(here.read(name), there.read(name)), 1e-5) << name;
  EXPECT_EQ(emu::reports(), "");
}

TEST(CudaAttention, RefusesWhatDoesNotFit) {
  Sparse sparse;
  OpCase values;
  values.tensors = sparse.tensors;
  Bound t(sparse.tensors, values.initial(), 0, &backend());
  const auto refused = [&] { EXPECT_THROW(sparse.run(backend(), t), BugError); };
  sparse.kv_offsets.back() = 10;
  refused();
  sparse.kv_offsets.back() = 5;
  sparse.a.kv_heads = 3;
  refused();
  sparse.a.kv_heads = 2;
  const std::vector<std::int64_t> sample(9);
  const std::vector<std::int32_t> position(9);
  sparse.a.dropout = {0.5f, 1, sample, position, 2};
  refused();
}

TEST(CudaAttention, ASingleQueryWithoutKeysGetsZeros) {
  Sparse sparse;
  sparse.q_offsets = {2, 3, 4};
  OpCase values;
  values.tensors = sparse.tensors;
  Bound here(sparse.tensors, values.initial(), 0, &backend()), there(sparse.tensors, values.initial());
  const auto run = [&](Backend& b, Bound& t) {
    b.attention_forward({}, t["out"], t["lse"], t["q"], t["k"], t["v"], sparse.a);
  };
  run(backend(), here);
  run(*make_cpu_backend({.threads = 1, .max_isa = ""}), there);
  for (const char* name : {"out", "lse"}) EXPECT_LE(error_of(here.read(name), there.read(name)), 1e-5) << name;
  EXPECT_EQ(here.read("out")[3 * Sparse::width], 0);
  EXPECT_EQ(emu::reports(), "");
}

// ---- the tiles

/// Random sequences.
struct Drawn {
  std::vector<std::int32_t> q_offsets{3}, kv_offsets{1}, q_position;
  Attention a;
  explicit Drawn(std::uint64_t seed) {
    std::uint64_t n = 0;
    const auto draw = [&](std::uint64_t most) { return static_cast<std::int32_t>(rng::mix(seed, n++) % (most + 1)); };
    const int sequences = draw(5);
    for (int s = 0; s < sequences; ++s) {
      const std::int32_t queries = draw(200), position = draw(1) * draw(150);
      q_offsets.push_back(q_offsets.back() + queries);
      kv_offsets.push_back(kv_offsets.back() + draw(1) * (position + queries));
      q_position.push_back(position);
    }
    a.q_offsets = q_offsets;
    a.kv_offsets = kv_offsets;
    a.q_position = q_position;
  }
};

TEST(CudaAttention, TilesHaveEveryQueryAndEveryKeyOnce) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const Drawn d(seed);
    for (const int rows : {32, 64}) {
      std::vector<int> queries(static_cast<std::size_t>(d.q_offsets.back())),
          keys(static_cast<std::size_t>(d.kv_offsets.back()));
      int before = INT32_MAX;
      for (const cuda::QueryTile& t : cuda::query_tiles(d.a, rows)) {
        ASSERT_TRUE(t.count > 0 && t.count <= rows);
        const auto s = static_cast<std::size_t>(std::upper_bound(d.q_offsets.begin(), d.q_offsets.end(), t.row) -
                                                d.q_offsets.begin() - 1);
        EXPECT_LE(t.row + t.count, d.q_offsets[s + 1]) << "tiles end with their sequence";
        EXPECT_EQ(t.position, d.q_position[s] + t.row - d.q_offsets[s]);
        EXPECT_EQ(t.key, d.kv_offsets[s]);
        EXPECT_EQ(t.keys, std::min(d.kv_offsets[s + 1] - d.kv_offsets[s], t.position + t.count));
        EXPECT_LE(t.keys, before) << "the costly ones come first";
        before = t.keys;
        for (int i = 0; i < t.count; ++i) ++queries[static_cast<std::size_t>(t.row + i)];
      }
      for (const cuda::KeyTile& t : cuda::key_tiles(d.a, rows)) {
        ASSERT_TRUE(t.count > 0 && t.count <= rows);
        const auto s = static_cast<std::size_t>(std::upper_bound(d.kv_offsets.begin(), d.kv_offsets.end(), t.row) -
                                                d.kv_offsets.begin() - 1);
        EXPECT_LE(t.row + t.count, d.kv_offsets[s + 1]);
        EXPECT_EQ(t.first, t.row - d.kv_offsets[s]);
        EXPECT_EQ(t.first % 4, 0);
        EXPECT_EQ(t.q_row, d.q_offsets[s]);
        EXPECT_EQ(t.q_count, d.q_offsets[s + 1] - d.q_offsets[s]);
        EXPECT_EQ(t.position, d.q_position[s]);
        for (int i = 0; i < t.count; ++i) ++keys[static_cast<std::size_t>(t.row + i)];
      }
      for (std::size_t i = 0; i < queries.size(); ++i) ASSERT_EQ(queries[i], i >= 3 ? 1 : 0) << "seed " << seed;
      for (std::size_t i = 0; i < keys.size(); ++i) ASSERT_EQ(keys[i], i >= 1 ? 1 : 0) << "seed " << seed;
    }
  }
}

TEST(CudaAttention, PartsHaveEveryKeyThatASingleQuerySees) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    Drawn d(seed);
    const bool more = std::any_of(d.q_position.begin(), d.q_position.end(), [&](const std::int32_t& p) {
      const auto s = static_cast<std::size_t>(&p - d.q_position.data());
      return d.q_offsets[s + 1] - d.q_offsets[s] > 1;
    });
    EXPECT_EQ(!cuda::single_queries(d.a).has_value(), more) << "seed " << seed;
    for (std::size_t s = 0; s < d.q_position.size(); ++s) d.q_offsets[s + 1] = d.q_offsets[s] + (s % 3 == 1 ? 0 : 1);
    const std::optional<cuda::SingleQueries> plan = cuda::single_queries(d.a);
    ASSERT_TRUE(plan);
    std::size_t rows = 0, parts = 0;
    for (std::size_t s = 0; s < d.q_position.size(); ++s) {
      if (d.q_offsets[s + 1] == d.q_offsets[s]) continue;
      const cuda::RowParts& r = plan->rows.at(rows++);
      EXPECT_EQ(r.row, d.q_offsets[s]);
      EXPECT_EQ(static_cast<std::size_t>(r.first), parts);
      int keys = 0;
      for (int i = 0; i < r.count; ++i) {
        const cuda::KeyPart& p = plan->parts.at(parts++);
        EXPECT_EQ(p.row, r.row);
        EXPECT_EQ(p.key, d.kv_offsets[s]);
        EXPECT_EQ(p.first, keys);
        EXPECT_TRUE(p.count > 0 && p.count <= cuda::kPartKeys);
        keys += p.count;
      }
      EXPECT_EQ(keys, std::min(d.kv_offsets[s + 1] - d.kv_offsets[s], d.q_position[s] + 1));
    }
    EXPECT_EQ(rows, plan->rows.size());
    EXPECT_EQ(parts, plan->parts.size());
  }
}

}  // namespace
}  // namespace banyan::kernels::test
