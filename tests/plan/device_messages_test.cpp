#include "src/plan/device_messages.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "src/base/error.hpp"
#include "src/plan/cost.hpp"
#include "src/plan/report.hpp"
#include "src/plan/search.hpp"
#include "tests/plan/test_config.hpp"

namespace banyan::plan {
namespace {

constexpr double kEndless = std::numeric_limits<double>::infinity();

config::Config on_gpus(const std::string& device = "auto") {
  config::Config c = gpt2_124m();
  c.run.backend = "cuda";
  c.comm.device = device;
  c.comm.all_reduce = c.comm.reduce_scatter = c.comm.all_gather = c.comm.broadcast = c.comm.all_to_all = "auto";
  c.comm.checksum = "off";
  return c;
}

Machine h100() { return load_machine(BANYAN_SOURCE_DIR "/configs/machines/h100-ndr.ini"); }
Machine carried(Machine m, DeviceCarrier by, double reduce_rate = comm::Links{}.reduce_rate) {
  carry(m, by, reduce_rate);
  return m;
}

/// Meshes of 64 ranks on 8 nodes, and what ranks of each do.
std::vector<Division> divisions() {
  std::vector<Division> list;
  for (const int tensor : {1, 2, 8})
    for (const int context : {1, 2})
      for (const int pipeline : {1, 4})
        for (const int zero : {0, 1, 3}) {
          Division d;
          d.mesh = {.tensor = tensor, .data = 64 / tensor / context / pipeline, .pipeline = pipeline};
          d.mesh.context = context;
          d.zero = zero;
          d.sequence = tensor > 1 && zero == 1;
          d.tensor_blocks = zero == 3 ? 4 : 1;
          list.push_back(d);
        }
  return list;
}

double step_of(const Division& d, const Machine& m) {
  return step_price(make_model_shape(gpt2_124m(), 0), d, 256, m).step;
}

TEST(DeviceMessages, TheConfigurationSaysWhatCarriesThem) {
  EXPECT_EQ(device_carrier(gpt2_124m()), DeviceCarrier::kNone);
  EXPECT_EQ(device_carrier(on_gpus()), DeviceCarrier::kNccl);
  EXPECT_EQ(device_carrier(on_gpus("nccl")), DeviceCarrier::kNccl);
  EXPECT_EQ(device_carrier(on_gpus("ucx")), DeviceCarrier::kUcx);
  EXPECT_EQ(device_carrier(on_gpus("staged")), DeviceCarrier::kStaged);
  config::Config c = on_gpus();
  c.comm.all_gather = "ring";
  EXPECT_EQ(device_carrier(c), DeviceCarrier::kStaged);
  c = on_gpus();
  c.comm.checksum = "on";
  EXPECT_EQ(device_carrier(c), DeviceCarrier::kStaged);
}

TEST(DeviceMessages, LinksOfProcessorsAndOfNcclAreLeftAsTheyAre) {
  const Machine m = h100();
  for (const Division& d : divisions())
    for (const DeviceCarrier by : {DeviceCarrier::kNone, DeviceCarrier::kNccl})
      EXPECT_EQ(step_of(d, carried(m, by)), step_of(d, m));
  EXPECT_EQ(carried(m, DeviceCarrier::kNone).messages, "");
}

TEST(DeviceMessages, ThroughTheHostIsNeverFaster) {
  const Machine direct = carried(h100(), DeviceCarrier::kNccl), ucx = carried(h100(), DeviceCarrier::kUcx),
                staged = carried(h100(), DeviceCarrier::kStaged);
  for (const Division& d : divisions()) {
    EXPECT_LT(step_of(d, direct), step_of(d, ucx)) << d.mesh.str();  // each of them has a collective
    EXPECT_LE(step_of(d, ucx), step_of(d, staged)) << d.mesh.str();
    EXPECT_EQ(step_of(d, ucx) < step_of(d, staged), d.mesh.pipeline > 1) << d.mesh.str();
    Machine slower = h100();
    slower.host_link /= 2;
    carry(slower, DeviceCarrier::kStaged);
    EXPECT_LT(step_of(d, staged), step_of(d, slower)) << d.mesh.str();
  }
}

TEST(DeviceMessages, AnEndlessLinkToTheHostLeavesTheStartsOfCopies) {
  Machine endless = h100();
  endless.host_link = kEndless;
  carry(endless, DeviceCarrier::kStaged, kEndless);
  Machine unstarted = endless;
  for (comm::TreeLevel& level : unstarted.links) level.host.start = 0;
  for (const Division& d : divisions()) {
    EXPECT_DOUBLE_EQ(step_of(d, unstarted), step_of(d, h100())) << d.mesh.str();
    EXPECT_GT(step_of(d, endless), step_of(d, h100())) << d.mesh.str();
  }
}

TEST(DeviceMessages, ThePlayedScheduleFollowsToo) {
  config::Config c = on_gpus("staged");
  c.parallel.tensor = 2;
  c.parallel.pipeline = 2;
  const Layout layout = make_layout(c, 8, 0);
  const StepCost direct = step_cost(layout, h100()),
                 staged = step_cost(layout, carried(h100(), DeviceCarrier::kStaged));
  EXPECT_LT(direct.tensor_share, staged.tensor_share);
  EXPECT_LT(direct.reduce, staged.reduce);
  EXPECT_LT(direct.pipeline, staged.pipeline);
  EXPECT_EQ(direct.update, staged.update);
  // What ranks compute between messages is no affair of these.
  const std::vector<Pass> alone = computing_of(layout, h100());
  const std::vector<Pass> beside = computing_of(layout, carried(h100(), DeviceCarrier::kStaged));
  for (std::size_t s = 0; s < alone.size(); ++s) EXPECT_EQ(alone[s].total(), beside[s].total());
}

TEST(DeviceMessages, TheLastCarrierCounts) {
  Machine m = carried(h100(), DeviceCarrier::kStaged);
  const std::string said = m.messages;
  EXPECT_NE(report(make_layout(on_gpus(), 2, 0), on_gpus(), m).find(said), std::string::npos);
  carry(m, DeviceCarrier::kNccl);
  EXPECT_EQ(m.links.front().host.copy, 0);
  EXPECT_NE(m.messages, said);
}

TEST(DeviceMessages, WhatIsMissingIsNamed) {
  Machine m = h100();
  m.host_link = 0;
  for (const DeviceCarrier by : {DeviceCarrier::kStaged, DeviceCarrier::kUcx}) try {
      carry(m, by);
      FAIL() << "priced without a price";
    } catch (const ConfigError& e) {
      EXPECT_NE(std::string(e.what()).find("add node.host_link to a machine file"), std::string::npos) << e.what();
    }
  carry(m, DeviceCarrier::kNccl);
}

}  // namespace
}  // namespace banyan::plan
