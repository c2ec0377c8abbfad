#include "comm/topology/node_inside.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <set>

#include "comm/topology/look_inside.hpp"
#include "src/base/error.hpp"
#include "src/base/json.hpp"
#include "tests/comm/topology/host_xml.hpp"

namespace banyan::comm {
namespace {

const NodeInside& host() {
  static const NodeInside in = look_inside({Sight::What::kXml, host_with_gpus()});
  return in;
}

std::vector<Bound> bound(const std::vector<std::string>& cpus, const std::string& devices = "") {
  std::vector<Bound> ranks;
  for (const std::string& c : cpus) ranks.push_back({read_cpus(c), devices});
  return ranks;
}

using Words = std::vector<std::string>;

RC_GTEST_PROP(NodeInside, CpusAreReadAsTheyWereWritten, (const std::set<std::uint8_t>& numbers)) {
  const CpuSet cpus(numbers.begin(), numbers.end());
  RC_ASSERT(read_cpus(write_cpus(cpus)) == cpus);
}

TEST(NodeInside, RefusesWhatIsNoListOfCpus) {
  EXPECT_EQ(write_cpus({0, 1, 2, 3, 8, 10, 11}), "0-3,8,10,11");
  for (const char* wrong : {"a", "3-1", "1,1", "2,1", "1,", ",1", "-1", "0-", "0-99999999", "1 2", "99999999999999"})
    EXPECT_THROW(read_cpus(wrong), DataError) << wrong;
}

TEST(NodeInside, NothingIsWrongWithRanksOnCoresOfTheirOwn) {
  EXPECT_EQ(warnings_of(host(), bound({"0-3,16-19", "4-7,20-23", "8-15,24-31"}), true), Words{});
  EXPECT_EQ(warnings_of(host(), bound({"", "", ""}), true), Words{}) << "not bound";
  EXPECT_EQ(warnings_of(host(), bound({"0-7,16-23", "0-7,16-23"}), true), Words{}) << "eight cores for two ranks";
}

TEST(NodeInside, WarnsOfRanksAcrossNumaNodes) {
  EXPECT_EQ(warnings_of(host(), bound({"0-3", "6-9", "10-11", "5,12"}), true),
            (Words{"local ranks 1,3 are bound to cores of NUMA nodes 0,1, so that some of the memory is always far "
                   "away; bind inside one (mpirun --bind-to numa, srun --cpu-bind=ldoms)"}));
}

TEST(NodeInside, WarnsOfRanksOnTheSameCore) {
  const std::string advice = "; give each its own (mpirun --map-by core --bind-to core, srun --cpu-bind=cores)";
  EXPECT_EQ(warnings_of(host(), bound({"0", "1", "16"}), true),
            (Words{"local ranks 0,2 are bound to the same core (CPUs 0,16)" + advice}))
      << "two threads of one core";
  EXPECT_EQ(warnings_of(host(), bound({"0-1", "0-1", "0-1"}), true),
            (Words{"local ranks 0-2 are bound to the same 2 cores (CPUs 0,1,16,17)" + advice}));
  EXPECT_EQ(
      warnings_of(host(), bound({"0-3", "3-5", "4-7"}), true),
      (Words{"local rank 0 and local rank 1 are bound to unlike sets of cores that share some (CPUs 3,19)" + advice}));
}

TEST(NodeInside, WarnsOfRanksFarFromTheirAdapter) {
  NodeInside in = host();
  std::erase_if(in.devices, [](const Device& d) { return d.rdma && d.nearest != std::vector<int>{1}; });
  const Words far{
      "local ranks 0,1 are bound to NUMA node 0, but the network adapter to use from there, mlx5_4, hangs from NUMA "
      "node 1 (distance 32): messages go through both"};
  EXPECT_EQ(warnings_of(in, bound({"0", "1", "8"}), true), far);
  EXPECT_EQ(warnings_of(in, bound({"0", "1", "8"}), false), Words{}) << "nothing leaves the host";
  EXPECT_EQ(warnings_of(in, bound({"0", "1"}, "eth0:1"), true), Words{}) << "UCX was told to use the near one";
  EXPECT_EQ(warnings_of(host(), bound({"0"}, "mlx5_7:1,mlx5_6:1"), true).size(), 1u);
  EXPECT_EQ(warnings_of(host(), bound({"0"}, "ib0"), true), Words{});
  EXPECT_EQ(warnings_of(host(), bound({"8"}, "all"), true), Words{}) << "the nearest of all";
  // Firmware that does not say where an adapter is.
  for (Device& d : in.devices) d.nearest = {}, d.distance = {};
  EXPECT_EQ(warnings_of(in, bound({"0", "8"}), true), Words{});
  EXPECT_EQ(warnings_of({}, bound({"0", "8"}), true), Words{}) << "nothing is known";
}

TEST(NodeInside, FoldsHostsThatAreAlike) {
  NodeInside other = host();
  other.devices.pop_back();
  const auto kinds = kinds_of({{"n1", host(), bound({"0", "8"})},
                               {"n2", host(), bound({"0", "8"})},
                               {"n3", other, bound({"0", "8"})},
                               {"n4", host(), bound({"0", "0"})},
                               {"n5", {}, bound({""})}},
                              true);
  ASSERT_EQ(kinds.size(), 4u);
  EXPECT_EQ(kinds[0].hosts, (Words{"n1", "n2"}));
  EXPECT_EQ(kinds[2].warnings.size(), 1u);
  const std::string text = draw(kinds);
  EXPECT_NE(
      text.find("inside n[1-2] (2 hosts that are alike): 2 packages, 2 NUMA nodes, 16 cores, 32 threads, 8 GPUs, "
                "9 NICs\n  NUMA node 0: CPUs 0-7,16-23; GPUs 0000:12:00.0 0000:22:00.0 0000:32:00.0 0000:42:00.0; "
                "NICs mlx5_0 (ib0) mlx5_1 (ib1) mlx5_2 (ib2) mlx5_3 (ib3) eth0\n"),
      std::string::npos)
      << text;
  EXPECT_NE(text.find("  distances from node to node: 10 32 / 32 10\n  GPU 0000:12:00.0 is next to mlx5_0\n"),
            std::string::npos);
  EXPECT_NE(text.find("  local rank 0: CPUs 0 of NUMA node 0\n  local rank 1: CPUs 8 of NUMA node 1\n"),
            std::string::npos);
  EXPECT_NE(text.find("  warning: local ranks 0,1 are bound to the same core"), std::string::npos);
  EXPECT_NE(text.find("inside n5: nobody tells\n"), std::string::npos);
  EXPECT_EQ(to_json(kinds)[0]["inside"]["devices"][0]["distance"], Json({10, 32}));
}

TEST(NodeInside, IsReadFromItsJson) {
  for (const NodeInside& in : {host(), NodeInside{}, look_inside({Sight::What::kSynthetic, "package:2 numa:2 pu:2"})})
    EXPECT_EQ(inside_of_json(parse_json(dump_line(to_json(in)), "it"), "it"), in);
  Json json = to_json(host());
  json["numa"][0]["distance"].push_back(1);
  EXPECT_THROW(inside_of_json(json, "it"), DataError);
  json = to_json(host());
  json["devices"][0]["nearest"] = {7};
  EXPECT_THROW(inside_of_json(json, "it"), DataError);
  json["devices"][0]["nearest"] = Json::array();
  EXPECT_THROW(inside_of_json(json, "it"), DataError) << "distances without a place";
}

}  // namespace
}  // namespace banyan::comm
