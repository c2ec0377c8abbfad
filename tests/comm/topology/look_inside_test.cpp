#include "comm/topology/look_inside.hpp"

#include <gtest/gtest.h>

#include "src/base/error.hpp"
#include "tests/comm/topology/host_xml.hpp"

namespace banyan::comm {
namespace {

NodeInside synthetic(const std::string& text) { return look_inside({Sight::What::kSynthetic, text}); }

const Device& device(const NodeInside& inside, const std::string& name) {
  for (const Device& d : inside.devices)
    if (d.name == name) return d;
  throw BugError("no device {}", name);
}

TEST(LookInside, CountsWhatASyntheticHostHas) {
  const NodeInside in = synthetic("package:2 numa:2 core:3 pu:2");
  EXPECT_EQ(in.packages, 2);
  ASSERT_EQ(in.numa.size(), 4u);
  EXPECT_EQ(in.numa[1].cpus, (CpuSet{6, 7, 8, 9, 10, 11}));
  ASSERT_EQ(in.cores.size(), 12u);
  EXPECT_EQ(in.cores[1], (CpuSet{2, 3}));
  EXPECT_EQ(in.cpus().size(), 24u);
  EXPECT_EQ(in.distance[2], (std::vector<int>{20, 20, 10, 20})) << "firmware tells nothing";
  EXPECT_TRUE(in.devices.empty());
}

TEST(LookInside, TakesThreadsForCoresWhereNobodyTellsOfCores) {
  const NodeInside in = synthetic("pu:3");
  EXPECT_EQ(in.cores.size(), 3u);
  EXPECT_EQ(in.numa.size(), 1u);
}

TEST(LookInside, FindsGpusAndAdaptersAndHowFarTheyAre) {
  const NodeInside in = look_inside({Sight::What::kXml, host_with_gpus()});
  EXPECT_EQ(in.packages, 2);
  EXPECT_EQ(in.cores.size(), 16u);
  EXPECT_EQ(in.numa[1].cpus, read_cpus("8-15,24-31"));
  EXPECT_EQ(in.distance, (std::vector<std::vector<int>>{{10, 32}, {32, 10}}));
  ASSERT_EQ(in.devices.size(), 17u) << "the screen of the board's manager does not count";

  const Device& nic = device(in, "mlx5_5");
  EXPECT_EQ(nic.kind, Device::Kind::kNic);
  EXPECT_TRUE(nic.rdma);
  EXPECT_EQ(nic.other, (std::vector<std::string>{"ib5"}));
  EXPECT_EQ(nic.bus, "0000:63:00.0");
  EXPECT_EQ(nic.model, "ConnectX-7");
  EXPECT_EQ(nic.nearest, (std::vector<int>{1}));
  EXPECT_EQ(nic.distance, (std::vector<int>{32, 10}));

  const Device& gpu = device(in, "0000:62:00.0");
  EXPECT_EQ(gpu.kind, Device::Kind::kGpu);
  EXPECT_EQ(gpu.model, "H100");
  EXPECT_EQ(gpu.nics, (std::vector<std::string>{"mlx5_5"})) << "the one below the same PCI switch";
  EXPECT_FALSE(device(in, "eth0").rdma);
}

TEST(LookInside, RefusesWhatIsNoDescriptionOfAHost) {
  EXPECT_THROW(synthetic("package:two"), DataError);
  EXPECT_THROW(look_inside({Sight::What::kXml, "<topology"}), DataError);
  EXPECT_THROW(look_inside({Sight::What::kXml, ""}), DataError);
}

TEST(LookInside, HereThereAreCpus) {
  const NodeInside in = look_inside();
  EXPECT_FALSE(in.numa.empty());
  EXPECT_FALSE(in.cores.empty());
  const CpuSet all = in.cpus();
  for (int cpu : bound_cpus()) EXPECT_TRUE(std::find(all.begin(), all.end(), cpu) != all.end()) << cpu;
}

TEST(LookInside, RanksTellEachOther) {
  run_loopback(
      4,
      [](World& world) {
        const auto everyone = world.group({0, 1, 2, 3}, 1, "world");
        const auto hosts = look_inside_all(world, *everyone);
        ASSERT_EQ(hosts.size(), 2u);
        for (const HostInside& h : hosts) {
          EXPECT_EQ(h.inside, look_inside());
          EXPECT_EQ(h.ranks.size(), 2u);
        }
      },
      2);
}

}  // namespace
}  // namespace banyan::comm
