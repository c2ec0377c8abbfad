// Random programs: every rank starts the same random collectives on several communicators, with messages between them,
// waits in an order of its own, over a transport that delays at random.  Integers, so that results are exact.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <numeric>

#include "comm/loopback/run_loopback.hpp"
#include "src/base/error.hpp"
#include "src/base/rng.hpp"
#include "tests/comm/conformance.hpp"
#include "tests/comm/faulty_transport.hpp"

namespace banyan::comm {
namespace {

// The same cases in every run unless RC_PARAMS asks for others.
[[maybe_unused]] const int kFixedSeed = ::setenv("RC_PARAMS", "seed=1", /*overwrite=*/0);

using Values = std::vector<std::int64_t>;

std::int64_t value(int rank, std::int64_t i, int purpose) { return (rank + 1) * 1000003 + i * 101 + purpose * 7; }

Values filled(int rank, std::int64_t count, int purpose) {
  Values v(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) v[static_cast<std::size_t>(i)] = value(rank, i, purpose);
  return v;
}

std::int64_t total(int ranks, std::int64_t i, int purpose) {
  std::int64_t sum = 0;
  for (int r = 0; r < ranks; ++r) sum += value(r, i, purpose);
  return sum;
}

View view(Values& v) { return View(v.data(), {static_cast<std::int64_t>(v.size())}); }

struct Work {
  int kind = 0;
  std::int64_t count = 0;
  Values in, out, counts;
  Event event;
};

void run_program(World& world, std::uint64_t seed, int operations) {
  configure_for_test(world, Seconds{30}, /*checksum=*/false, /*shared_memory=*/seed % 2 == 0);
  const std::unique_ptr<Communicator> groups[] = {everyone(world, 0), everyone(world, 1), everyone(world, 2)};
  const int p = world.size(), r = world.rank();
  const int next = (r + 1) % p, previous = (r + p - 1) % p;
  std::vector<Work> all(static_cast<std::size_t>(operations));
  for (int n = 0; n < operations; ++n) {
    const std::uint64_t dice = rng::mix(seed, static_cast<std::uint64_t>(n));
    Communicator& c = *groups[dice % 3];
    Work& w = all[static_cast<std::size_t>(n)];
    w.kind = static_cast<int>(dice / 3 % 5);
    w.count = static_cast<std::int64_t>(dice / 16 % 4 == 0 ? dice / 64 % 20000 : dice / 64 % 40);
    if (w.kind == 0) {
      w.out = filled(r, w.count, n);
      w.event = c.all_reduce({}, view(w.out), ReduceOp::kSum, "sum");
    } else if (w.kind == 1 || w.kind == 2) {
      for (int i = 0; i < p; ++i) w.counts.push_back(w.count * ((i + n) % 3));
      const std::int64_t sum = std::accumulate(w.counts.begin(), w.counts.end(), std::int64_t{0});
      const std::int64_t own = w.counts[static_cast<std::size_t>(r)];
      w.in = filled(r, w.kind == 1 ? sum : own, n);
      w.out.resize(static_cast<std::size_t>(w.kind == 1 ? own : sum));
      w.event = w.kind == 1 ? c.reduce_scatter({}, view(w.out), view(w.in), w.counts, ReduceOp::kSum, "parts")
                            : c.all_gather({}, view(w.out), view(w.in), w.counts, "whole");
    } else if (w.kind == 3) {
      w.out = filled(r, w.count, n);
      w.event = c.broadcast({}, view(w.out), n % p, "root");
    } else {
      w.in = filled(r, w.count, n);
      w.out.resize(w.in.size());
      w.event = c.receive({}, view(w.out), previous, n % 2, "message");
      c.send({}, view(w.in), next, n % 2, "message");  // complete when everybody is: see the barrier
    }
    if (dice >> 60 == 0) groups[n % 3]->progress();
  }
  std::vector<std::size_t> order(all.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    const auto key = [&](std::size_t i) { return rng::mix(seed + static_cast<std::uint64_t>(r), i); };
    return key(a) < key(b);
  });
  for (std::size_t i : order) all[i].event.wait();
  groups[0]->barrier("end of program");

  for (int n = 0; n < operations; ++n) {
    const Work& w = all[static_cast<std::size_t>(n)];
    const auto at = [&](std::int64_t i) { return w.out[static_cast<std::size_t>(i)]; };
    const auto size = static_cast<std::int64_t>(w.out.size());
    if (w.kind == 0) {
      for (std::int64_t i = 0; i < size; ++i) require(at(i) == total(p, i, n), "all-reduce");
    } else if (w.kind == 1) {
      const std::int64_t begin = std::accumulate(w.counts.begin(), w.counts.begin() + r, std::int64_t{0});
      for (std::int64_t i = 0; i < size; ++i) require(at(i) == total(p, begin + i, n), "reduce-scatter");
    } else if (w.kind == 2) {
      std::int64_t i = 0;
      for (int q = 0; q < p; ++q)
        for (std::int64_t k = 0; k < w.counts[static_cast<std::size_t>(q)]; ++k, ++i)
          require(at(i) == value(q, k, n), "all-gather");
    } else {
      const int from = w.kind == 3 ? n % p : previous;
      for (std::int64_t i = 0; i < size; ++i) require(at(i) == value(from, i, n), "broadcast or message");
    }
  }
}

RC_GTEST_PROP(RandomPrograms, GiveExactResultsWhateverTheDelays, ()) {
  const int ranks = *rc::gen::inRange(1, 11);
  const auto seed = *rc::gen::arbitrary<std::uint64_t>();
  const auto delay = *rc::gen::element(0u, 3u, 40u);
  run_loopback_wrapped(
      ranks,
      [&](std::unique_ptr<Transport> t) {
        return std::make_unique<FaultyTransport>(std::move(t), Faults{.seed = seed, .longest_delay = delay});
      },
      [&](World& world) { run_program(world, seed, 25); });
}

TEST(RandomPrograms, LostMessagesEndWithAnError) {
  for (int lost : {0, 7, 30}) {
    EXPECT_THROW(run_loopback_wrapped(
                     4,
                     [&](std::unique_ptr<Transport> t) {
                       return std::make_unique<FaultyTransport>(
                           std::move(t), Faults{.longest_delay = 2, .rank = 2, .drop_from = lost});
                     },
                     [&](World& world) {
                       configure_for_test(world, Seconds{0.3}, /*checksum=*/false, /*shared_memory=*/false);
                       const auto c = everyone(world);
                       for (int i = 0; i < 100; ++i) c->barrier("round");
                     }),
                 CommError);
  }
}

}  // namespace
}  // namespace banyan::comm
