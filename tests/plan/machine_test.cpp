#include "src/plan/machine.hpp"

#include <gtest/gtest.h>

#include <filesystem>

#include "src/base/error.hpp"

namespace banyan::plan {
namespace {

const std::string kSmall = R"([machine]
name = two nodes
source = a test
[compute]
fp32 = 1e12
gemm_efficiency = 0.5
[memory]
bytes = 16GiB
rate = 100GB
[node]
ranks = 4
latency = 1e-6
rate = 50GB
efficiency = 0.8
[leaf]
nodes = 2
latency = 5e-6
rate = 10GB
[spine]
taper = 4
)";

std::string refusal(const std::string& text) {
  try {
    parse_machine(text, "m.ini");
  } catch (const ConfigError& e) {
    return e.what();
  }
  return "";
}

std::string with(const std::string& from, const std::string& to) {
  std::string text = kSmall;
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos);
  return text.replace(at, from.size(), to);
}

TEST(Machine, ReadsLevels) {
  const Machine m = parse_machine(kSmall, "m.ini");
  EXPECT_EQ(m.name, "two nodes");
  EXPECT_EQ(m.fp32, 1e12);
  EXPECT_EQ(m.ranks_per_node, 4);
  EXPECT_EQ(m.memory_bytes, 16.0 * (1 << 30));
  ASSERT_EQ(m.links.size(), 3u);
  EXPECT_DOUBLE_EQ(m.links[0].rate, 40e9);
  EXPECT_EQ(m.links[1].ranks, 8);
  EXPECT_DOUBLE_EQ(m.links[2].rate, 2.5e9);
  EXPECT_EQ(m.links[2].latency, 5e-6);  // of the level below
  EXPECT_EQ(m.links[2].ranks, 0);
  EXPECT_EQ(m.host_link, 0);  // said of machines with devices
  EXPECT_EQ(parse_machine(with("ranks = 4", "ranks = 4\nhost_link = 20GB"), "m.ini").host_link, 20e9);
}

TEST(Machine, EveryFileOfTheRepositoryIsRead) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(BANYAN_SOURCE_DIR "/configs/machines"))
    if (entry.path().extension() == ".ini") {
      ++files;
      EXPECT_GT(load_machine(entry.path().string()).fp32, 0) << entry.path();
    }
  EXPECT_GE(files, 2);
}

TEST(Machine, SaysWhereAndWhat) {
  for (const auto& [text, words] : std::vector<std::pair<std::string, std::string>>{
           {with("gemm_efficiency", "gem_efficiency"),
            "m.ini:6: compute.gem_efficiency is no key of a machine, did you "
            "mean compute.gemm_efficiency"},
           {with("0.5", "1.5"), "m.ini:6: compute.gemm_efficiency = 1.5 is refused; write a share above 0"},
           {with("0.5", "nan"), "is refused"},
           {with("ranks = 4", "ranks = 4\nhost_link = 0"), "node.host_link = 0 is refused; write bytes/s such as 25GB"},
           {with("16GiB", "-1"), "memory.bytes = -1 is refused; write a size such as 80GB"},
           {with("ranks = 4", "ranks = 4\nranks = 5"), "m.ini:12: node.ranks was set on line 11 already"},
           {with("fp32 = 1e12\n", ""), "compute.fp32 is missing; write FLOP/s"},
           {with("nodes = 2", "nodes = 1"), "[leaf] holds 4 ranks, no more than the level below"},
           {with("nodes = 2\n", ""), "the level below [spine] has no `nodes`"},
           {with("rate = 10GB\n", ""), "[leaf] is the first level above the node and has no rate"},
           {with("rate = 100GB", "rate = 100GB\nreserved = 17GiB"), "memory.reserved leaves nothing"},
           {std::string(2 << 20, '#'), "is it the right file?"},
           {"[machine\n", "m.ini:1"}})
    EXPECT_NE(refusal(text).find(words), std::string::npos) << refusal(text) << "\ninstead of\n" << words;
  EXPECT_THROW(load_machine("/nonexistent/m.ini"), ConfigError);
}

}  // namespace
}  // namespace banyan::plan
