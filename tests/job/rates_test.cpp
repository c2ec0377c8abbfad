#include "src/job/rates.hpp"

#include <gtest/gtest.h>

#include "src/plan/block_price.hpp"
#include "src/plan/cost.hpp"
#include "tests/plan/test_config.hpp"

namespace banyan::job {
namespace {

plan::Layout small(int ranks) {
  config::Config c = plan::gpt2_124m();
  c.model.layers = 2;
  c.model.width = 64;
  c.model.heads = 4;
  c.model.context = 32;
  c.model.vocab = 100;
  return plan::make_layout(c, ranks, 0);
}

TEST(Rates, AMachineIsMeasured) {
  const auto backend = kernels::make_cpu_backend({.threads = 1, .max_isa = ""});
  const plan::Machine m = measure_machine(*backend, small(1), {.node_ranks = 1, .cores = 2, .threads = 1});
  EXPECT_GT(m.fp32, 1e6);
  EXPECT_GT(m.memory_rate, 1e3);
  EXPECT_EQ(m.cores, 0);  // the rank has a core of its own
  EXPECT_GT(plan::step_cost(small(1), m).step, 0);
}

TEST(Rates, RanksThatShareCoresTakeTurns) {
  const auto backend = kernels::make_cpu_backend({.threads = 1, .max_isa = ""});
  const plan::Machine m = measure_machine(*backend, small(4), {.node_ranks = 4, .cores = 2, .threads = 1});
  EXPECT_EQ(m.cores, 2);
  EXPECT_EQ(plan::rank_speed(m, plan::Precision::kFp32, 4).flops, m.fp32);
}

TEST(Rates, LinksAreThoseOfTheRanks) {
  plan::Machine m;
  m.ranks_per_node = 4;
  comm::Links links;
  links.node = {1e-6, 4e9};
  links.leaf = {5e-6, 8e9};
  use_links(m, links);
  ASSERT_EQ(m.links.size(), 2u);
  EXPECT_EQ(m.links[0].rate, 4e9);
  EXPECT_EQ(m.links[1].rate, 2e9);  // four ranks share a node's adapter
  EXPECT_EQ(m.links[1].latency, 5e-6);
}

}  // namespace
}  // namespace banyan::job
