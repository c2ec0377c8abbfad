#include "src/model/stage_spec.hpp"

#include <gtest/gtest.h>

#include <functional>

#include "src/base/error.hpp"
#include "tests/model/testing.hpp"

namespace banyan::model {
namespace {

TEST(StageSpec, ContradictionsAreBugs) {
  StageSpec good;
  good.shape = testing::tiny_llama();
  good.last_block = 2;
  good.length = 8;
  EXPECT_NO_THROW(check_stage_spec(good));
  const std::vector<std::function<void(StageSpec&)>> contradictions{
      [](StageSpec& s) { s.shape.heads = 7; },
      [](StageSpec& s) { s.shape.kv_heads = 3; },
      [](StageSpec& s) { s.shape.width = 24; },  // head size 3 cannot rotate
      [](StageSpec& s) { s.first_block = 1; },   // with the embedding
      [](StageSpec& s) { s.last_block = 1; },    // with the head
      [](StageSpec& s) { s.last_block = 3; },
      [](StageSpec& s) {
        s.chunks = {{0, 1}};
      },  // ends before the last block
      [](StageSpec& s) {
        s.chunks = {{0, 2}, {1, 2}};
      },  // one block in two chunks
      [](StageSpec& s) {
        s.chunks = {{0, 2}, {2, 2}};
      },  // an empty one
      [](StageSpec& s) { s.tensor_size = 8; },
      [](StageSpec& s) { s.tensor_rank = 1; },
      [](StageSpec& s) { s.length = 17; },
      [](StageSpec& s) { s.sequence = true, s.tensor_size = 2, s.length = 7; },
      [](StageSpec& s) {
        s.part_blocks = {1, 2};
      },
      [](StageSpec& s) { s.slots = -1; },
  };
  for (std::size_t i = 0; i < contradictions.size(); ++i) {
    StageSpec bad = good;
    contradictions[i](bad);
    EXPECT_THROW(check_stage_spec(bad), BugError) << i;
  }
}

TEST(StageSpec, SequenceParallelismDividesTheStream) {
  StageSpec spec;
  spec.sequences = 3;
  spec.length = 8;
  spec.tensor_size = 4;
  EXPECT_EQ(spec.stream_rows(), 24);
  spec.sequence = true;
  EXPECT_EQ(spec.stream_rows(), 6);
}

}  // namespace
}  // namespace banyan::model
