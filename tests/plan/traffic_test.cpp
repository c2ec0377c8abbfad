#include "src/plan/traffic.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "tests/plan/placement_fabrics.hpp"

namespace banyan::plan {
namespace {

TEST(Traffic, OfAPartIsTwiceAllButOneShare) {
  EXPECT_EQ(sent_by_part(12, 1), 0);
  EXPECT_EQ(sent_by_part(12, 2), 12) << "a stream of its bytes in both directions";
  EXPECT_EQ(sent_by_part(12, 4), 18);
}

TEST(Demand, OfAStepOfGpt2) {
  const Layout layout = layout_of(2, 2, 2);
  const Demand d = demand_of(layout);
  const double stream = 1024.0 * 768 * 4;
  ASSERT_EQ(d.tensor.size(), 2u);
  ASSERT_EQ(d.tensor_calls.size(), 2u);
  for (std::size_t s = 0; s < 2; ++s) {
    const auto blocks = static_cast<double>(layout.places[s].count());
    EXPECT_EQ(d.tensor_calls[s].forward, 8 * (2 * blocks + 1))
        << "eight microbatches, two reductions each way of a block, "
           "one of the embedding or of the head";
    EXPECT_EQ(d.tensor_calls[s].backward, 8 * 2 * blocks);
    EXPECT_EQ(d.tensor[s], 8 * (4 * blocks + 1) * stream);
  }
  EXPECT_EQ(d.microbatches, 8);
  EXPECT_TRUE(d.trains);
  EXPECT_NE(d.tensor[0], d.tensor[1]) << "the head stands for some";
  EXPECT_EQ(d.pipeline, 8 * stream);
  EXPECT_EQ(d.tied, 50257.0 * 768 / 2 * 4);
  ASSERT_EQ(d.data.size(), 2u);
  EXPECT_GT(d.data[0], d.tied) << "the embedding is one of its parameters";
  Layout again = layout;
  again.recompute = model::Recompute::kBlock;
  EXPECT_EQ(demand_of(again).tensor_calls[0].backward, 2 * d.tensor_calls[0].backward);
}

TEST(Demand, KnowsTheSchedule) {
  config::Config c = gpt2_124m();
  c.parallel.pipeline = 2;
  const auto of = [&](const char* schedule) {
    c.parallel.schedule = schedule;
    return demand_of(make_layout(c, 2, 0));
  };
  EXPECT_EQ(of("1f1b").fill, 1);
  EXPECT_EQ(of("interleaved").fill, 0.5);
  EXPECT_EQ(of("interleaved").chunks, 2);
  const double h1 = of("zb-h1").fill;
  EXPECT_LT(h1, 0.5);
  EXPECT_LT(of("zb-v").fill, h1);
  EXPECT_EQ(of("zb-v").around, 0);
  EXPECT_TRUE(of("gpipe").gpipe);
}

// Each group of the mesh once, with its own ranks.
TEST(Flows, AreTheGroupsOfTheMesh) {
  const Layout layout = layout_of(2, 2, 3);
  const Demand demand = demand_of(layout);
  std::map<std::pair<MeshAxis, std::vector<int>>, double> seen;
  for (const Flow& f : flows_of(layout.mesh, demand))
    EXPECT_TRUE(seen.emplace(std::pair{f.axis, f.members}, f.bytes).second);
  EXPECT_EQ(seen.size(), 6u + 6 + 2 * 4 + 4) << "tensor groups, data groups, neighbours of four columns, tied ends";
  for (const Flow& f : flows_of(layout.mesh, demand)) EXPECT_EQ(f.stage, f.members.front() / 4);
  EXPECT_EQ(seen.at({MeshAxis::kTensor, {0, 1}}), demand.tensor[0]);
  EXPECT_EQ(seen.at({MeshAxis::kTensor, {10, 11}}), demand.tensor[2]);
  EXPECT_EQ(seen.at({MeshAxis::kData, {5, 7}}), demand.data[1]);
  EXPECT_EQ(seen.at({MeshAxis::kPipeline, {4, 8}}), demand.pipeline);
  EXPECT_EQ(seen.at({MeshAxis::kData, {3, 11}}), demand.tied);
}

TEST(Flows, ChunksSendAroundThePipeline) {
  config::Config c = gpt2_124m();
  c.parallel.pipeline = 3;
  const Demand plain = demand_of(make_layout(c, 3, 0));
  EXPECT_EQ(plain.around, 0);
  c.parallel.schedule = "interleaved";
  const Layout layout = make_layout(c, 3, 0);
  const Demand demand = demand_of(layout);
  EXPECT_DOUBLE_EQ(demand.pipeline, 2 * plain.pipeline);
  EXPECT_DOUBLE_EQ(demand.around, plain.pipeline);
  const auto flows = flows_of(layout.mesh, demand);
  EXPECT_TRUE(std::any_of(flows.begin(), flows.end(), [&](const Flow& f) {
    return f.axis == MeshAxis::kPipeline && f.members == std::vector{2, 0} && f.bytes == demand.around;
  }));
}

}  // namespace
}  // namespace banyan::plan
