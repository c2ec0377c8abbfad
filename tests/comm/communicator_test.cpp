// The conformance cases on ranks that are threads.
#include "comm/communicator.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "comm/plan_book.hpp"
#include "src/base/rng.hpp"
#include "tests/comm/conformance.hpp"

namespace banyan::comm {
namespace {

class Conformance : public testing::TestWithParam<std::tuple<int, int>> {};

TEST_P(Conformance, Holds) {
  const auto [index, ranks] = GetParam();
  const ConformanceCase& c = conformance_cases()[static_cast<std::size_t>(index)];
  for (bool shared_memory : {true, false})
    run_loopback(ranks, [&](World& world) {
      configure_for_test(world, Seconds{30}, /*checksum=*/false, shared_memory);
      c.body(world);
    });
}

INSTANTIATE_TEST_SUITE_P(Loopback, Conformance,
                         testing::Combine(testing::Range(0, static_cast<int>(conformance_cases().size())),
                                          testing::Values(1, 2, 3, 4, 8, 9)),
                         [](const auto& which) {
                           return conformance_cases()[static_cast<std::size_t>(std::get<0>(which.param))].name + "On" +
                                  std::to_string(std::get<1>(which.param));
                         });

// Sums of numbers whose order shows: 1e8 swallows what meets it too late.
TEST(Conformance, AWindowAndMessagesGiveTheSameBits) {
  for (int ranks : {2, 3, 5})
    for (std::int64_t count : {1, 17, 4097, 40000, 150001}) {
      std::vector<std::vector<float>> results[2];
      for (bool shared_memory : {true, false}) {
        auto& all = results[shared_memory];
        all.resize(static_cast<std::size_t>(ranks));
        run_loopback(ranks, [&](World& world) {
          configure_for_test(world, Seconds{30}, /*checksum=*/false, shared_memory);
          const auto c = everyone(world);
          std::vector<float> sum, mine(static_cast<std::size_t>(count));
          for (std::int64_t i = 0; i < count * ranks; ++i) {
            const auto dice = rng::mix(static_cast<std::uint64_t>(world.rank()), static_cast<std::uint64_t>(i));
            sum.push_back((dice % 3 == 0 ? 1e8f : 1.0f) * (static_cast<float>(dice >> 40) - 8e6f));
          }
          const std::vector<std::int64_t> counts(static_cast<std::size_t>(ranks), count);
          c->reduce_scatter({}, View(mine.data(), {count}), View(sum.data(), {count * ranks}), counts, ReduceOp::kSum,
                            "parts")
              .wait();
          c->all_reduce({}, View(sum.data(), {count * ranks}), ReduceOp::kSum, "sum").wait();
          sum.insert(sum.end(), mine.begin(), mine.end());
          all[static_cast<std::size_t>(world.rank())] = std::move(sum);
        });
      }
      for (std::size_t r = 0; r < results[0].size(); ++r)
        EXPECT_EQ(0, std::memcmp(results[0][r].data(), results[1][r].data(), results[0][r].size() * sizeof(float)))
            << "rank " << r << " of " << ranks << ", " << count;
    }
}

// A plan recorded where messages carried it comes to a node whose window takes smaller pieces.
TEST(Conformance, LargePiecesFitAWindow) {
  run_loopback(2, [](World& world) {
    configure_for_test(world);
    const auto c = everyone(world);
    GroupPlans plans{.group = "world", .size = 2, .tree = {}, .ranges = {}};
    for (auto& ranges : plans.ranges) ranges = {{.recipe = {"direct", 8 << 20}}};
    c->use_plans(plans);
    std::vector<float> sum(700000, static_cast<float>(world.rank() + 1));
    c->all_reduce({}, View(sum.data(), {700000}), ReduceOp::kSum, "sum").wait();
    for (float x : sum) require(x == 3, "a wrong sum");
  });
}

TEST(Conformance, HoldsWithChecksums) {
  for (const ConformanceCase& c : conformance_cases())
    for (int ranks : {1, 2, 5})
      run_loopback(ranks, [&](World& world) {
        configure_for_test(world, Seconds{30}, /*checksum=*/true, /*shared_memory=*/false);
        c.body(world);
        // On and off again, as all ranks agree.
        configure_for_test(world, Seconds{30}, /*checksum=*/false, /*shared_memory=*/false);
        c.body(world);
      });
}

TEST(Conformance, HoldsWithAThreadThatMovesMessages) {
  for (const ConformanceCase& c : conformance_cases())
    for (int ranks : {1, 2, 5})
      for (const bool shared_memory : {false, true})
        run_loopback(ranks, [&](World& world) {
          configure_for_test(world, Seconds{30}, /*checksum=*/false, shared_memory, /*background=*/true);
          c.body(world);
        });
}

}  // namespace
}  // namespace banyan::comm
