#include "src/model/param_store.hpp"

#include <gtest/gtest.h>

#include <cstring>

#include "src/base/bf16.hpp"
#include "src/base/error.hpp"
#include "tests/model/testing.hpp"

namespace banyan::model {
namespace {

StageSpec spec_of(const ModelShape& shape) {
  StageSpec spec;
  spec.shape = shape;
  spec.last_block = shape.layers;
  return spec;
}

TEST(ParamStore, HandlesNameParametersAndFusedGroups) {
  const ModelShape shape = testing::tiny_llama();
  ParamStore store(spec_of(shape), testing::backend());
  const ParamHandle qkv = store.fused({"blocks.0.attn.q.weight", "blocks.0.attn.k.weight", "blocks.0.attn.v.weight"});
  {
    const ParamUse use = qkv.acquire();
    EXPECT_EQ(use.view().shape, (Shape{32 + 16 + 16, 32}));
    EXPECT_EQ(qkv.grad().shape, use.view().shape);
    EXPECT_EQ(use.view().data - store.param_arena().data, qkv.grad().data - store.grad_arena().data);
  }
  EXPECT_FALSE(store.handle("blocks.0.attn.q.bias"));
  EXPECT_FALSE(ParamHandle().acquire().view());
  EXPECT_FALSE(ParamHandle().grad());
  EXPECT_THROW(store.fused({"blocks.0.attn.q.weight", "blocks.0.attn.o.weight"}), BugError);
  EXPECT_THROW(store.fused({"blocks.0.attn.q.weight", "nothing"}), BugError);
}

TEST(ParamStore, ParametersMayNotChangeWhileInUse) {
  ParamStore store(spec_of(testing::tiny_gpt2()), testing::backend());
  const ParamHandle norm = store.handle("norm.weight");
  {
    const ParamUse use = norm.acquire();
    EXPECT_THROW(store.changed(), BugError);
  }
  EXPECT_NO_THROW(store.changed());
}

TEST(ParamStore, GapsBetweenGroupsStayZero) {
  ModelShape shape = testing::tiny_gpt2();
  shape.vocab = 3;
  shape.width = 12;  // biases of 12 leave gaps
  ParamStore store(spec_of(shape), testing::backend());
  store.init(shape, 1);
  std::vector<bool> used(static_cast<std::size_t>(store.param_arena().count()));
  for (const LocalParam& p : store.params())
    for (std::int64_t i = 0; i < p.count.count(); ++i) used[static_cast<std::size_t>(p.begin + i)] = true;
  int gaps = 0;
  for (std::size_t i = 0; i < used.size(); ++i) {
    if (used[i]) continue;
    ++gaps;
    ASSERT_EQ(store.param_arena().as<float>()[i], 0.0f);
    ASSERT_EQ(store.grad_arena().as<float>()[i], 0.0f);
  }
  EXPECT_GT(gaps, 0);
}

TEST(ParamStore, RoundedMatricesFollowTheParameters) {
  for (const ModelShape& shape : testing::tiny_shapes()) {
    SCOPED_TRACE(testing::kind_name(shape));
    StageSpec spec = spec_of(shape);
    spec.activations = DType::kBF16;
    ParamStore store(spec, testing::backend());
    store.init(shape, 1);
    for (const LocalParam& p : store.params()) {
      const ParamHandle handle = store.handle(p.logical.name);
      const auto same = [&] {
        const ParamUse use = handle.acquire();
        if (!p.rounded) return use.view().data == p.param.data;
        for (std::int64_t i = 0; i < p.count.count(); ++i)
          if (use.view().as<BF16>()[i].bits != BF16(p.param.as<float>()[i]).bits) return false;
        return true;
      };
      EXPECT_EQ(static_cast<bool>(p.rounded), p.count.rank() == 2 && p.logical.name != "embed.position.weight");
      EXPECT_TRUE(same()) << p.logical.name << " after initialisation";
      p.param.as<float>()[0] += 1;
      EXPECT_EQ(same(), !p.rounded) << p.logical.name;
      store.changed(true);
      EXPECT_EQ(same(), !p.rounded) << p.logical.name << " was said to be rounded already";
      store.changed();
      EXPECT_TRUE(same()) << p.logical.name;
    }
    EXPECT_EQ(store.fused({"blocks.0.attn.q.weight", "blocks.0.attn.k.weight"}).acquire().view().dtype, DType::kBF16);
  }
}

TEST(ParamStore, SpreadMatricesKeepTheirOwnRowsAndAllOfTheRoundedCopy) {
  for (const ModelShape& shape : testing::tiny_shapes()) {
    SCOPED_TRACE(testing::kind_name(shape));
    StageSpec spec = spec_of(shape);
    spec.activations = DType::kBF16;
    ParamStore whole(spec, testing::backend());
    whole.init(shape, 1);
    spec.master_ranks = 3;
    std::int64_t elements = 0;
    for (spec.master_rank = 0; spec.master_rank < 3; ++spec.master_rank) {
      ParamStore store(spec, testing::backend());
      store.init(shape, 1);
      EXPECT_LT(store.param_arena().count(), store.grad_arena().count());
      EXPECT_EQ(store.param_arena().count(), value_bytes(store.params(), DType::kF32).wide);
      EXPECT_EQ(store.fused({"blocks.0.attn.q.weight", "blocks.0.attn.k.weight"}).acquire().view().dtype, DType::kBF16);
      for (std::size_t i = 0; i < store.params().size(); ++i) {
        const LocalParam &p = store.params()[i], &all = whole.params()[i];
        SCOPED_TRACE(p.logical.name);
        EXPECT_EQ(p.spread, static_cast<bool>(all.rounded));
        EXPECT_EQ(p.param.shape[0], p.master.count());
        EXPECT_EQ(p.grad.shape, all.grad.shape);
        const View same = param_rows(all, p.master);
        EXPECT_EQ(std::memcmp(p.param.data, same.data, same.bytes()), 0);
        if (!p.spread) continue;
        elements += p.param.count();
        EXPECT_EQ(std::memcmp(p.rounded.data, all.rounded.data, all.rounded.bytes()), 0);
        EXPECT_THROW(param_rows(p, {0, p.count[0]}), BugError);
      }
      store.changed();  // has nothing to round these matrices from, and leaves them
      const View rounded = store.params()[0].rounded;
      if (rounded) {
        EXPECT_EQ(std::memcmp(rounded.data, whole.params()[0].rounded.data, rounded.bytes()), 0);
      }
    }
    for (const LocalParam& p : whole.params())
      if (p.rounded) elements -= p.count.count();
    EXPECT_EQ(elements, 0) << "every row has one owner";
  }
}

TEST(ParamStore, NarrowMatricesLieSideBySideAndNothingHoldsThemInFp32) {
  for (const ModelShape& shape : testing::tiny_shapes())
    for (const DType weights : {DType::kBF16, DType::kI8}) {
      SCOPED_TRACE(testing::kind_name(shape) + " " + std::string(name_of(weights)));
      StageSpec spec = spec_of(shape);
      spec.gradients = false;
      spec.weights = weights;
      ParamStore store(spec, testing::backend());
      EXPECT_FALSE(store.param_arena());
      const ParamHandle qkv =
          store.fused({"blocks.1.attn.q.weight", "blocks.1.attn.k.weight", "blocks.1.attn.v.weight"});
      const ConstView all = qkv.acquire().view(), v = store.handle("blocks.1.attn.v.weight").acquire().view();
      EXPECT_EQ(all.dtype, weights);
      EXPECT_EQ(all.rows(all.shape[0] - v.shape[0], all.shape[0]).data, v.data);
      EXPECT_THROW(qkv.grad(), BugError);
      if (shape.bias) {
        const ConstView biases =
            store.fused({"blocks.1.attn.q.bias", "blocks.1.attn.k.bias", "blocks.1.attn.v.bias"}).acquire().view();
        EXPECT_EQ(biases.dtype, DType::kF32);
        EXPECT_EQ(biases.shape[0], all.shape[0]);
      }
      std::int64_t wide = 0, narrow = 0;
      for (const LocalParam& p : store.params())
        if (p.param)
          wide += p.count.count();
        else
          narrow += p.count[0] * kernels::narrow_row_bytes(weights, p.count[1]);
      const ValueBytes need = value_bytes(store.params(), weights);
      EXPECT_EQ(need.narrow, narrow);
      EXPECT_GE(need.wide, wide);
      EXPECT_LE(need.wide, wide + 16 * static_cast<std::int64_t>(store.params().size()));
    }
}

TEST(ParamStore, NarrowWeightsHaveNoGradients) {
  StageSpec spec = spec_of(testing::tiny_gpt2());
  spec.weights = DType::kBF16;
  EXPECT_THROW(ParamStore(spec, testing::backend()), BugError);
}

TEST(ParamStore, WithoutGradientsThereIsNoSecondArena) {
  StageSpec spec = spec_of(testing::tiny_gpt2());
  spec.gradients = false;
  ParamStore store(spec, testing::backend());
  EXPECT_FALSE(store.grad_arena());
  EXPECT_THROW(store.zero_grads(), BugError);
  EXPECT_THROW(store.handle("norm.weight").grad(), BugError);
}

}  // namespace
}  // namespace banyan::model
