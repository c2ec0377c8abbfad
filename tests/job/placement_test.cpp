#include "src/job/placement.hpp"

#include <gtest/gtest.h>

#include "src/config/load.hpp"
#include "src/job/topology.hpp"

namespace banyan::job {
namespace {

config::Config two_stages() {
  config::Config c = config::defaults();
  c.run.threads = 1;
  c.model.layers = 2;
  c.model.width = 16;
  c.model.heads = 2;
  c.model.context = 8;
  c.model.vocab = 61;
  c.parallel.pipeline = 2;
  c.train.batch = 8;
  c.topology.source = "flat";
  c.topology.placement = "auto";
  return c;
}

/// Of each of two ranks.
std::vector<Placement> chosen(int ranks_per_node) {
  std::vector<Placement> all(2);
  comm::run_loopback(
      2,
      [&](comm::World& world) {
        Job job(world, "train", two_stages(), "");
        const plan::Layout layout = plan::make_layout(job.config, 2, 0);
        Placement mine = choose_placement(job, layout, fabric_of(world, job.network, 2));
        EXPECT_EQ(job.machine.has_value(), job.root() && !mine.computing.empty());
        all[static_cast<std::size_t>(world.rank())] = std::move(mine);
      },
      ranks_per_node);
  return all;
}

TEST(Placement, ReckonsWithWhatIsMeasured) {
  const std::vector<Placement> all = chosen(1);
  ASSERT_EQ(all[0].computing.size(), 2u);
  ASSERT_EQ(all[1].computing.size(), 2u);
  for (std::size_t stage = 0; stage < 2; ++stage) {
    const plan::Pass first = all[0].computing[stage], second = all[1].computing[stage];
    EXPECT_GT(first.forward, 0);
    EXPECT_GT(first.backward, 0);
    EXPECT_EQ(first.forward, second.forward) << "to the bit";
    EXPECT_EQ(first.backward, second.backward) << "to the bit";
  }
  EXPECT_TRUE(all[0].links.measured);
  EXPECT_EQ(all[0].links, all[1].links);
  EXPECT_EQ(all[0].process_of, all[1].process_of);
}

TEST(Placement, MeasuresNothingOnOneNode) {
  for (const Placement& p : chosen(2)) EXPECT_TRUE(p.computing.empty() && !p.links.measured) << p.reason;
}

}  // namespace
}  // namespace banyan::job
