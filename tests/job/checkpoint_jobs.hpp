// Jobs that do nothing but load and save, for tests of checkpoints.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tests/job/logical_model.hpp"

namespace banyan::test {

inline std::unique_ptr<comm::Communicator> all_of(comm::World& world) {
  std::vector<int> ranks;
  for (int i = 0; i < world.size(); ++i) ranks.push_back(i);
  return world.group(ranks, 1, "all");
}

inline const io::LeaseOptions kQuick{Seconds(0.05), Seconds(0.5), {}};

inline int age_of(const io::Manifest& m) { return static_cast<int>(m.step); }

/// One job: starts, loads, saves the steps asked for.  Returns the step it resumed from (-1: fresh).
inline std::int64_t job(const std::filesystem::path& run, int ranks, const std::vector<std::int64_t>& steps,
                        const std::string& resume = "auto", int keep = 3) {
  std::int64_t resumed = -2;
  comm::run_loopback(ranks, [&](comm::World& world) {
    auto all = all_of(world);
    job::Checkpoints ckpt(*all, {.run_dir = run.string(), .resume = resume, .keep = keep, .lease = kQuick});
    int wrong = -1;
    const auto from = ckpt.load(checking_fill(world.rank(), ranks, age_of, wrong));
    EXPECT_EQ(wrong, from ? 0 : -1);
    if (world.rank() == 0) resumed = from ? from->step : -1;
    for (std::int64_t step : steps) {
      const Holding mine(world.rank(), ranks, static_cast<int>(step));
      const job::SaveResult r =
          ckpt.save({.step = step, .tokens = step * 10, .cursor = step * 2, .extra = {{"k", "v"}}}, mine.tensors);
      EXPECT_TRUE(r.ok) << r.error;
      EXPECT_EQ(r.name, io::checkpoint_name(step, ckpt.epoch()));
    }
  });
  return resumed;
}

inline std::vector<std::string> committed(const std::filesystem::path& run) {
  std::vector<std::string> names;
  for (const auto& e : io::RunStore(run).list())
    if (e.state == io::CheckpointState::kCommitted) names.push_back(e.name);
  return names;
}

inline std::string digest_of(const std::filesystem::path& checkpoint) {
  return io::CheckpointReader(checkpoint).digest().hex();
}

}  // namespace banyan::test
