#include "src/model/local_params.hpp"

#include <gtest/gtest.h>

#include <map>

#include "src/base/error.hpp"
#include "tests/model/testing.hpp"

namespace banyan::model {
namespace {

StageSpec spec_of(const ModelShape& shape, int rank, int size) {
  StageSpec spec;
  spec.shape = shape;
  spec.last_block = shape.layers;
  spec.tensor_rank = rank;
  spec.tensor_size = size;
  spec.length = 4;
  return spec;
}

TEST(LocalParams, SlabsOfAllTensorRanksCoverEveryTensorOnce) {
  for (const ModelShape& shape : testing::tiny_shapes())
    for (const int size : {1, 2, 4}) {
      std::map<std::string, std::vector<int>> covered;
      for (const LogicalParam& p : logical_params(shape))
        covered[p.name].assign(static_cast<std::size_t>(p.shape.count()), 0);
      for (int rank = 0; rank < size; ++rank)
        for (const LocalParam& p : local_params(spec_of(shape, rank, size))) {
          if (p.replicated && rank > 0) continue;
          const bool matrix = p.count.rank() == 2;
          for (std::int64_t r = 0; r < p.count[0]; ++r)
            for (std::int64_t c = 0; c < (matrix ? p.count[1] : 1); ++c) {
              const std::int64_t width = matrix ? p.logical.shape[1] : 1, first = matrix ? p.offset[1] : 0;
              ++covered[p.logical.name].at(static_cast<std::size_t>((p.offset[0] + r) * width + first + c));
            }
        }
      for (const auto& [name, counts] : covered)
        for (const int n : counts) ASSERT_EQ(n, 1) << name << " over " << size;
    }
}

TEST(LocalParams, ArenaIsOrderedByPartAndWithoutOverlap) {
  for (const ModelShape& shape : testing::tiny_shapes()) {
    StageSpec spec = spec_of(shape, 1, 2);
    spec.part_blocks = {1, 0, 1};
    const std::vector<LocalParam> params = local_params(spec);
    std::int64_t end = 0;
    int part = 0;
    for (const LocalParam& p : params) {
      EXPECT_GE(p.begin, end) << p.logical.name;
      EXPECT_GE(p.part, part) << p.logical.name;
      end = p.begin + p.count.count();
      part = p.part;
    }
    EXPECT_GE(arena_count(params), end);
    EXPECT_EQ(part, 2);
  }
}

TEST(LocalParams, FusedGroupsAreNeighboursOnAlignedPlaces) {
  for (const ModelShape& shape : testing::tiny_shapes()) {
    std::map<std::string, LocalParam> by_name;
    for (const LocalParam& p : local_params(spec_of(shape, 1, 2))) by_name.emplace(p.logical.name, p);
    const auto follows = [&](const std::string& a, const std::string& b) {
      EXPECT_EQ(by_name.at(a).begin + by_name.at(a).count.count(), by_name.at(b).begin) << b;
    };
    EXPECT_EQ(by_name.at("blocks.0.attn.q.weight").begin % 16, 0);
    follows("blocks.0.attn.q.weight", "blocks.0.attn.k.weight");
    follows("blocks.0.attn.k.weight", "blocks.0.attn.v.weight");
    if (shape.bias) follows("blocks.1.attn.k.bias", "blocks.1.attn.v.bias");
    if (shape.mlp == Mlp::kSwiglu) follows("blocks.1.mlp.gate.weight", "blocks.1.mlp.up.weight");
  }
}

TEST(LocalParams, StagesHoldTheirShareAndTiedTablesTwice) {
  const ModelShape shape = testing::tiny_gpt2();
  StageSpec first = spec_of(shape, 0, 1), last = first;
  first.last_block = last.first_block = 1;
  first.has_head = last.has_embedding = false;
  std::map<std::string, int> seen;
  for (const StageSpec& spec : {first, last})
    for (const LocalParam& p : local_params(spec)) {
      ++seen[p.logical.name];
      const bool table = p.logical.name == "embed.token.weight";
      EXPECT_EQ(p.tied, table && spec.has_embedding) << p.logical.name;
      EXPECT_EQ(p.tied_copy, table && spec.has_head) << p.logical.name;
    }
  for (const LogicalParam& p : logical_params(shape))
    EXPECT_EQ(seen[p.name], p.name == "embed.token.weight" ? 2 : 1) << p.name;
}

TEST(LocalParams, OnlySequenceParallelismMakesPartialGradients) {
  StageSpec spec = spec_of(testing::tiny_gpt2(), 0, 2);
  for (const LocalParam& p : local_params(spec)) EXPECT_FALSE(p.partial_over_tensor);
  spec.sequence = true;
  for (const LocalParam& p : local_params(spec)) EXPECT_EQ(p.partial_over_tensor, p.replicated) << p.logical.name;
}

TEST(LocalParams, LateMembersOfALargeGroupMayHoldNoVocabulary) {
  ModelShape shape = testing::tiny_gpt2();
  shape.vocab = 5;  // shares of 2, 2, 1, 0
  for (const LocalParam& p : local_params(spec_of(shape, 3, 4)))
    if (p.logical.name == "embed.token.weight") {
      EXPECT_EQ(p.count[0], 0);
    }
}

TEST(LocalParams, LaterChunksComeFirst) {
  StageSpec spec = spec_of(testing::tiny_gpt2(), 0, 1);
  spec.shape.layers = spec.last_block = 6;
  spec.chunks = {{0, 2}, {3, 6}};
  EXPECT_EQ(part_count(spec), 2);
  EXPECT_EQ(block_count(spec), 5);
  EXPECT_EQ(blocks_of_part(spec, 0).begin, 3);
  EXPECT_EQ(blocks_of_part(spec, 1).end, 2);
  spec.part_blocks = {2, 1, 1, 1};
  EXPECT_EQ(parts_of_chunk(spec, 1).end, 2);
  EXPECT_EQ(parts_of_chunk(spec, 0).begin, 2);
  EXPECT_EQ(blocks_of_part(spec, 1).begin, 3);
  EXPECT_EQ(blocks_of_part(spec, 2).begin, 1);
  EXPECT_EQ(blocks_of_part(spec, 3).begin, 0);
  int part = 0;
  for (const LocalParam& p : local_params(spec)) {
    EXPECT_NE(p.logical.block, 2) << p.logical.name;  // is on another rank
    EXPECT_GE(p.part, part) << p.logical.name;
    part = p.part;
    if (p.logical.block >= 0 && p.logical.block < 6) {
      EXPECT_GE(p.logical.block, blocks_of_part(spec, p.part).begin) << p.logical.name;
      EXPECT_LT(p.logical.block, blocks_of_part(spec, p.part).end) << p.logical.name;
    }
  }
  spec.part_blocks = {4, 1};  // not where a chunk ends
  EXPECT_THROW(local_params(spec), BugError);
}

TEST(LocalParams, PartsTileTheBlocksFromTheTop) {
  StageSpec spec = spec_of(testing::tiny_gpt2(), 0, 1);
  spec.part_blocks = {1, 1};
  EXPECT_EQ(blocks_of_part(spec, 0).begin, 1);
  EXPECT_EQ(blocks_of_part(spec, 1).begin, 0);
  EXPECT_EQ(blocks_of_part(spec, 1).end, 1);
  EXPECT_THROW(blocks_of_part(spec, 2), BugError);
  spec.part_blocks = {1};
  EXPECT_THROW(local_params(spec), BugError);
}

}  // namespace
}  // namespace banyan::model
