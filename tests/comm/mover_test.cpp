#include "comm/mover.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "src/base/error.hpp"
#include "tests/comm/conformance.hpp"

namespace banyan::comm {
namespace {

using std::chrono::milliseconds;

WorldOptions in_background() {
  WorldOptions options;
  options.shared_memory = false;
  options.background = true;
  return options;
}

/// Whether `done` holds within 20 seconds, in which this thread calls nothing.
bool comes_true(const std::function<bool()>& done) {
  for (int i = 0; i < 20000 && !done(); ++i) std::this_thread::sleep_for(milliseconds(1));
  return done();
}

// Every operand of a rank is added before the rank looks again; twice, with a silence in between.
TEST(Mover, AddsWhileTheRankIsElsewhere) {
  run_loopback(2, [](World& world) {
    std::atomic<std::int64_t> added{0};
    world.configure(
        in_background(),
        [&](Queue q, View out, ConstView a, ConstView b, ReduceOp op) {
          reduce_on_host(q, out, a, b, op);
          added += out.count();
        },
        nullptr);
    const auto c = everyone(world);
    for (int round = 1; round <= 2; ++round) {
      std::vector<float> x(300000, static_cast<float>(world.rank() + round));
      Event sum = c->all_reduce({}, View(x.data(), {300000}), ReduceOp::kSum, "sum");
      EXPECT_TRUE(comes_true([&] { return added >= round * 150000; })) << added;
      sum.wait();
      EXPECT_EQ(x.front(), static_cast<float>(2 * round + 1));
      EXPECT_EQ(x.back(), static_cast<float>(2 * round + 1));
      std::this_thread::sleep_for(milliseconds(5));  // nothing is in flight: the thread sleeps
    }
    c->barrier("the end");
  });
}

// What fails in the thread is what the rank's own next call says.
TEST(Mover, AFailingReductionIsTheRanksError) {
  run_loopback(2, [](World& world) {
    std::atomic<bool> failed{false};
    const std::thread::id own = std::this_thread::get_id();
    world.configure(
        in_background(),
        [&](Queue, View, ConstView, ConstView, ReduceOp) {
          if (std::this_thread::get_id() != own) failed = true;
          throw BugError("cannot add");
        },
        nullptr);
    const auto c = everyone(world);
    std::vector<float> x(300000, 1);
    try {
      Event sum = c->all_reduce({}, View(x.data(), {300000}), ReduceOp::kSum, "sum");
      comes_true([&] { return failed.load(); });
      sum.wait();
      ADD_FAILURE() << "no error";
    } catch (const std::exception& e) {
      EXPECT_NE(std::string(e.what()).find("cannot add"), std::string::npos) << e.what();
    }
    world.announce_failure(70, "cannot add");
  });
}

// A world may go, or be configured anew, while its thread sleeps or looks.
TEST(Mover, EndsAtOnce) {
  run_loopback(2, [](World& world) {
    for (int i = 0; i < 20; ++i) {
      world.configure(in_background(), reduce_on_host, nullptr);
      const auto c = everyone(world, i);
      float x = 1;
      c->all_reduce({}, View(&x, {1}), ReduceOp::kSum, "sum").wait();
      EXPECT_EQ(x, 2);
    }
  });
}

}  // namespace
}  // namespace banyan::comm
