#include "src/job/rates.hpp"

#include <gtest/gtest.h>

#include <string>

#include "comm/communicator.hpp"
#include "src/config/load.hpp"
#include "src/job/setup.hpp"
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

/// What carries the device memory of a job of so many ranks, in words; without NCCL, which no rank has here.
std::string carried(int ranks, const std::string& device, double host_link) {
  std::string messages;
  comm::run_loopback(ranks, [&](comm::World& world) {
    config::Config c = config::defaults();
    c.run.threads = 1;
    c.run.backend = "cuda";
    c.comm.device = device;
    const Job job(world, "train", c, "");
    plan::Machine m;
    m.host_link = host_link;
    use_links(m, {});
    m.messages = "what was there before";
    carry_messages(m, job);
    for (const comm::TreeLevel& level : m.links) EXPECT_EQ(level.host.copy > 0, !m.messages.empty());
    if (job.root()) messages = m.messages;
  });
  return messages;
}

TEST(Rates, WhatCarriesTheMemoryOfDevicesIsWhatTheJobCameTo) {
  EXPECT_EQ(carried(1, "staged", 1e9), "") << "nobody to send to";
  EXPECT_EQ(carried(2, "auto", 1e9).substr(0, 23), "all through host memory") << "not all ranks have NCCL";
  EXPECT_EQ(carried(2, "staged", 1e9).substr(0, 23), "all through host memory");
  EXPECT_EQ(carried(2, "ucx", 1e9).substr(0, 31), "collectives through host memory");
  EXPECT_EQ(carried(2, "staged", 0), "") << "nobody knows what copies take";
}

}  // namespace
}  // namespace banyan::job
