#include "perf/comm_measure.hpp"

#include <algorithm>
#include <chrono>
#include <thread>

#include "perf/peak.hpp"

namespace banyan::perf {
namespace {

constexpr int kMostCalls = 20000, kSyncedCalls = 40, kWarmCalls = 3;

double largest(comm::Communicator& c, double value) {
  return comm::all_reduce_value(c, value, comm::ReduceOp::kMax, "a time");
}

double least(comm::Communicator& c, double value) {
  return comm::all_reduce_value(c, value, comm::ReduceOp::kMin, "a time");
}

/// Elements that are wrong on all ranks together.  A barrier is wrong when anybody leaves before the last has come.
std::int64_t check(comm::Communicator& c, Case& k, const Subject& s, const std::function<void()>& quiet,
                   bool same_clock) {
  quiet();
  if (!s.checked || (k.traffic() == Traffic::kBarrier && !same_clock)) {
    s.call(k);
    return -1;
  }
  if (k.traffic() != Traffic::kBarrier) {
    k.fill();
    s.meet();
    s.call(k);
    quiet();
    return comm::all_reduce_value(c, k.count_wrong(), comm::ReduceOp::kSum, "wrong elements");
  }
  std::int64_t wrong = 0;
  for (int late = 0; late < k.ranks(); ++late) {
    if (k.rank() == late) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    const double came = now();
    s.call(k);
    const double left = now();
    quiet();
    wrong += least(c, left) < largest(c, came);
  }
  return wrong;
}

double time_block(Case& k, const Subject& s, int calls) {
  s.meet();
  const double begin = now();
  for (int i = 0; i < calls; ++i) s.call(k);
  return (now() - begin) / calls;
}

double time_synced(Case& k, const Subject& s, int calls) {
  double sum = 0;
  for (int i = 0; i < calls; ++i) {
    s.meet();
    const double begin = now();
    s.call(k);
    sum += now() - begin;
  }
  return sum / calls;
}

/// What one call of the case counts as: half a round trip, one message of a window.
double messages(const Case& k) {
  if (k.traffic() == Traffic::kLatency) return 2;
  return k.traffic() == Traffic::kBandwidth ? k.window() : 1;
}

}  // namespace

std::vector<Row> measure(comm::Communicator& c, Case& k, const std::vector<Subject>& subjects,
                         const std::function<void()>& quiet, const std::function<double()>& external,
                         const MeasureOptions& options) {
  const bool pair = point_to_point(k.traffic());
  std::vector<Row> rows;
  for (const Subject& s : subjects) {
    Row row{.traffic = k.traffic(),
            .algorithm = s.name,
            .bytes = k.bytes(),
            .elements = k.elements(),
            .bus_factor = k.bus_factor(),
            .is_limit = !s.checked};
    row.wrong = check(c, k, s, quiet, options.same_clock);
    quiet();
    const double once = largest(c, time_block(k, s, kWarmCalls));
    row.calls = std::clamp(static_cast<int>(options.block_seconds / once), 1, kMostCalls);
    rows.push_back(std::move(row));
  }
  Row outside{
      .traffic = k.traffic(), .algorithm = kPerftest, .bytes = k.bytes(), .elements = k.elements(), .is_limit = true};

  k.clear();
  for (int repeat = 0; repeat < options.repeats; ++repeat) {
    if (external) {
      // Whoever has nothing to measure sleeps in `quiet` until rank 0 comes.
      const double seconds = c.rank() == 0 ? external() : 0;
      quiet();
      const double agreed = largest(c, seconds);
      if (agreed > 0) outside.seconds.push_back(agreed);
    }
    for (std::size_t i = 0; i < subjects.size(); ++i) {
      const Subject& s = subjects[i];
      Row& row = rows[i];
      quiet();
      const double mine = time_block(k, s, row.calls) / messages(k);
      quiet();
      row.seconds.push_back(largest(c, mine));
      // A barrier between calls would be all that a barrier or a ping-pong measures.
      double alone = mine;
      if (!pair && k.traffic() != Traffic::kBarrier) {
        alone = time_synced(k, s, std::clamp(row.calls / 2, 1, kSyncedCalls));
        quiet();
      } else if (pair && !k.speaks()) {
        alone = row.seconds.back();
      }
      const double sum = comm::all_reduce_value(c, alone, comm::ReduceOp::kSum, "a time");
      row.average.push_back(sum / c.size());
      row.least.push_back(least(c, alone));
      row.most.push_back(largest(c, alone));
    }
  }
  for (std::size_t i = 0; i < subjects.size(); ++i) {
    const std::int64_t again = check(c, k, subjects[i], quiet, options.same_clock);
    if (again > 0) rows[i].wrong += again;
  }
  if (!outside.seconds.empty()) {
    outside.average = outside.least = outside.most = outside.seconds;
    rows.push_back(std::move(outside));
  }
  return rows;
}

}  // namespace banyan::perf
