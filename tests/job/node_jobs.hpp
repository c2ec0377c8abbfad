// Jobs whose ranks sit on several nodes, each with a directory of its own, for tests of node-local checkpoints.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "io/atomic_file.hpp"
#include "tests/job/checkpoint_jobs.hpp"
#include "tests/temp_dir.hpp"

namespace banyan::test {

/// A cluster whose nodes keep what they are given from job to job.
class NodeJobsTest : public ::testing::Test {
 protected:
  using Body = std::function<void(comm::World&, job::Checkpoints&, std::int64_t from)>;

  void SetUp() override { grow(4); }
  void grow(int count) {
    for (int n = 0; n < count; ++n) io::make_directories(place(n));
  }
  std::filesystem::path place(int node) const { return nodes / std::to_string(node); }
  /// NODE/banyan-UUID/ckpt of a node that has one.
  std::filesystem::path ckpt(int node) const {
    for (const auto& entry : std::filesystem::directory_iterator(place(node))) return entry.path() / "ckpt";
    return place(node) / "nothing";
  }
  std::filesystem::path file(int node, std::int64_t step, std::int64_t epoch, int rank) const {
    return ckpt(node) / io::checkpoint_name(step, epoch) / fmt::format("shard-{:05}.h5", rank);
  }
  /// Reads what this rank would write, so that it needs its own file alone.
  static int differences(job::Source& source, int rank, int ranks) {
    int wrong = 0;
    for (const io::TensorKind kind : kKinds)
      for (const Logical& t : logical_model()) {
        const io::Slab slab = part_of(t.shape, rank, ranks);
        if (slab.elements() == 0) continue;
        std::vector<float> out(static_cast<std::size_t>(slab.elements()), -1.0f);
        source.read_slab(kind, t.name, slab.offset, View(out.data(), slab.count));
        wrong += out != values_of(t, kind, slab, age_of(source.manifest()));
      }
    return wrong;
  }
  static void flip(const std::filesystem::path& path) {
    std::fstream f(path, std::ios::in | std::ios::out | std::ios::binary);
    f.seekg(-5, std::ios::end);
    const char byte = static_cast<char>(f.get() ^ 1);
    f.seekp(-5, std::ios::end);
    f.put(byte);
  }

  /// One job of `ranks` ranks, two on each node, whose nodes are those of `on` (its size decides how many).  Returns
  /// the step it resumed from, -1: fresh.
  std::int64_t job(const std::vector<int>& on, const Body& body = {}, const std::string& resume = "auto") {
    std::int64_t resumed = -2;
    const int ranks = static_cast<int>(2 * on.size());
    comm::run_loopback(
        ranks,
        [&](comm::World& world) {
          const auto all = all_of(world);
          std::vector<int> members;
          for (int r = 0; r < ranks; ++r) members.push_back(r);
          const auto copies = world.group(members, 2, "copies");
          job::CheckpointOptions options{.run_dir = run.path().string(), .resume = resume, .lease = kQuick};
          options.local.directory = place(on[static_cast<std::size_t>(world.node(world.rank()))]).string();
          options.local.copies = copies.get();
          if (before)
            options.before_writing = [&, rank = world.rank()](const std::atomic<bool>& cancel) {
              before(rank, cancel);
            };
          job::set_places(options.local, world, members);
          job::Checkpoints checkpoints(*all, options);
          usable[world.rank()] = checkpoints.local();
          int wrong = -1;
          const auto others = checking_fill(world.rank(), ranks, age_of, wrong);
          const auto from = checkpoints.load([&](job::Source& source) {
            if (others_cut)
              others(source);
            else
              wrong = differences(source, world.rank(), ranks);
          });
          EXPECT_EQ(wrong, from ? 0 : -1);
          const std::int64_t step = from ? from->step : -1;
          if (world.rank() == 0) resumed = step;
          if (body) body(world, checkpoints, step);
        },
        2);
    return resumed;
  }
  /// Saves that must succeed; steps below 0 go into the run directory.
  static Body saves(std::vector<std::int64_t> steps, bool in_background = false) {
    return [=](comm::World& world, job::Checkpoints& c, std::int64_t) {
      for (const std::int64_t s : steps) {
        const job::Level level = s < 0 ? job::Level::kRunDir : job::Level::kNodes;
        const std::int64_t step = std::abs(s);
        Holding mine(world.rank(), world.size(), static_cast<int>(step));
        job::SaveResult r;
        if (in_background) {
          r = c.begin({.step = step}, mine.tensors, level);
          EXPECT_TRUE(r.ok) << r.error;
          for (auto& values : mine.memory) std::fill(values.begin(), values.end(), -1.0f);  // training goes on
          if (c.in_flight()) r = c.finish();
        } else {
          r = c.save({.step = step}, mine.tensors, level);
        }
        EXPECT_TRUE(r.ok) << r.error;
      }
    };
  }

  TempDir run, nodes;
  std::map<int, bool> usable_of(int ranks) const {
    std::map<int, bool> all;
    for (int r = 0; r < ranks; ++r) all[r] = usable[r];
    return all;
  }
  bool usable[16] = {};
  bool others_cut = false;                                                ///< ranks read what others have written
  std::function<void(int rank, const std::atomic<bool>& cancel)> before;  ///< what threads that write do first
};

}  // namespace banyan::test
