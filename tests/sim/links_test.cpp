#include "sim/links.hpp"

#include <gtest/gtest.h>

#include "src/base/error.hpp"

namespace banyan::sim {
namespace {

constexpr const char* kMachine = R"([machine]
name = a fabric
source = this test
[compute]
fp32 = 20e12
gemm_efficiency = 0.8
attention_efficiency = 0.5
kernel_seconds = 1e-6
[memory]
bytes = 64GB
rate = 600GB
[node]
ranks = 8
latency = 5e-7
rate = 50GB
[leaf]
nodes = 4
latency = 1e-6
rate = 1.5GB
[spine]
latency = 2e-6
taper = 2
)";

TEST(Links, AreThoseOfNodesAndLeavesTogether) {
  const comm::Links links = links_of(plan::parse_machine(kMachine, "m.ini"));
  EXPECT_EQ(links.node, (comm::LinkCost{5e-7, 50e9}));
  EXPECT_EQ(links.leaf, (comm::LinkCost{1e-6, 8 * 1.5e9}));
  EXPECT_EQ(links.across, (comm::LinkCost{2e-6, 4 * 8 * 1.5e9 / 2}));
  EXPECT_EQ(links.copy_rate, 300e9);
  EXPECT_EQ(links.reduce_rate, 200e9);
}

TEST(Links, TheDeviceHasTheMachinesRates) {
  const kernels::DryOptions device = device_of(plan::parse_machine(kMachine, "m.ini"));
  EXPECT_EQ(device.flops, 16e12);
  EXPECT_EQ(device.attention_flops, 10e12);
  EXPECT_EQ(device.memory_rate, 600e9);
  EXPECT_EQ(device.start, 1e-6);
}

TEST(Links, RefusesWhatIsNotPlayed) {
  const std::string text = kMachine;
  EXPECT_THROW(links_of(plan::parse_machine(text.substr(0, text.find("[spine]")), "m.ini")), ConfigError);
  EXPECT_THROW(device_of(plan::parse_machine(std::string(text).insert(text.find("latency"), "cores = 2\n"), "m.ini")),
               ConfigError);
}

}  // namespace
}  // namespace banyan::sim
