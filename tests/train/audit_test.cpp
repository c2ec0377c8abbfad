#include "src/train/audit.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <map>
#include <mutex>
#include <string>

#include "src/base/rng.hpp"
#include "src/config/load.hpp"
#include "src/train/replicas.hpp"
#include "src/train/step.hpp"

namespace banyan::train {
namespace {

/// Tokens that are a function of their place; the chosen reads are wrong in one token, as if a bit had flipped.
class MadeUp : public Samples {
 public:
  explicit MadeUp(std::function<bool(std::int64_t)> wrong) : wrong_(std::move(wrong)) {}
  std::int64_t vocab() const override { return 61; }
  std::int64_t count() const override { return 1 << 20; }
  std::string fingerprint() const override { return "made up"; }
  void read(std::int64_t index, std::span<std::int32_t> out) override {
    for (std::size_t i = 0; i < out.size(); ++i)
      out[i] = static_cast<std::int32_t>(rng::mix(static_cast<std::uint64_t>(index), i) % 61);
    if (wrong_ && wrong_(reads_)) out[1] = (out[1] + 1) % 61;
    ++reads_;
  }

 private:
  std::function<bool(std::int64_t)> wrong_;
  std::int64_t reads_ = 0;
};

struct Case {
  std::string name{};
  int tensor = 1, data = 1, pipeline = 1;
  bool zero = false, sequence = false;
  int batch = 8;
  double dropout = 0;
};

config::Config config_of(const Case& c, std::int64_t every) {
  config::Config config = config::defaults();
  config.run.threads = 1;
  config.model.layers = 2;
  config.model.width = 16;
  config.model.heads = 2;
  config.model.context = 8;
  config.model.vocab = 61;
  config.model.dropout = c.dropout;
  config.parallel.tensor = c.tensor;
  config.parallel.data = c.data;
  config.parallel.pipeline = c.pipeline;
  config.parallel.zero = c.zero;
  config.parallel.sequence = c.sequence;
  config.parallel.bucket = 1024;
  config.parallel.tensor_blocks = 1;
  config.topology.source = "flat";
  config.topology.placement = "identity";
  config.train.batch = c.batch;
  config.train.audit_every = every;
  config.log.level = "error";
  return config;
}

/// What a rank of such a job can be made to do.
struct Rank {
  job::Job& job;
  job::Team& team;
  Trainer& trainer;
  BadSteps bad;
  void steps(std::int64_t begin, std::int64_t end) {
    for (std::int64_t s = begin; s < end; ++s) train_step(trainer, s, {}, bad);
  }
};

/// Runs `body` on every rank of a job; the errors by rank, "" where there was none, and whom the job suspects.
struct Outcome {
  std::map<int, std::string> errors;
  std::map<int, int> suspects;
};
Outcome run(const Case& c, std::int64_t every, const std::function<void(Rank&)>& body,
            const std::function<std::function<bool(std::int64_t)>(int rank)>& wrong = nullptr, int ranks_per_node = 1) {
  Outcome outcome;
  std::mutex mutex;
  comm::run_loopback(
      c.tensor * c.data * c.pipeline,
      [&](comm::World& world) {
        const config::Config config = config_of(c, every);
        job::Job job(world, "train", config, config::write(config));
        const std::unique_ptr<job::Team> team = job.assemble(61, job::Purpose::kTrain);
        MadeUp samples(wrong ? wrong(world.rank()) : nullptr);
        Trainer trainer(job, *team, samples);
        trainer.stage.init_params(7);
        trainer.stage.params_changed();
        Rank rank{job, *team, trainer, BadSteps(config)};
        std::string error;
        try {
          body(rank);
        } catch (const CommError& e) {
          error = e.what();
        }
        const std::lock_guard lock(mutex);
        outcome.errors[world.rank()] = error;
        outcome.suspects[world.rank()] = job.suspect;
      },
      ranks_per_node);
  return outcome;
}

void flip(View v) { reinterpret_cast<unsigned char*>(v.data)[5] ^= 0x10; }

/// One rank changes a bit of a parameter after two steps.
Outcome run_with_flip(const Case& c, int rank, const std::string& parameter) {
  return run(c, 1, [&](Rank& r) {
    r.steps(0, 2);
    if (r.job.world.rank() == rank)
      for (model::LocalParam& p : r.trainer.stage.params())
        if (p.logical.name.find(parameter) != std::string::npos) {
          flip(p.param);
          break;
        }
    r.steps(2, 3);
  });
}

/// All ranks say the same, and it is about these.
void expect_named(const Outcome& o, const std::string& words, int suspect) {
  for (const auto& [rank, error] : o.errors) {
    EXPECT_NE(error.find(words), std::string::npos) << "rank " << rank << ": " << error;
    EXPECT_EQ(error, o.errors.at(0));
    EXPECT_EQ(o.suspects.at(rank), suspect) << error;
  }
}

class AuditMeshes : public ::testing::TestWithParam<Case> {};

TEST_P(AuditMeshes, LeavesNoTrace) {
  std::map<std::int64_t, std::map<int, std::vector<std::uint64_t>>> values;  // by audit_every and rank
  std::mutex mutex;
  for (const std::int64_t every : {0, 2}) {
    const Outcome o = run(GetParam(), every, [&](Rank& r) {
      std::vector<std::uint64_t> bits;
      for (std::int64_t s = 0; s < 5; ++s) {
        const StepReport report = train_step(r.trainer, s, {}, r.bad);
        bits.push_back(std::bit_cast<std::uint64_t>(report.totals.loss));
        bits.push_back(std::bit_cast<std::uint64_t>(report.totals.grad_norm));
        EXPECT_EQ(report.audit > 0, every > 0 && (s + 1) % every == 0);
      }
      Trace trace;
      for (const model::LocalParam& p : r.trainer.stage.params()) trace.note(Trace::What::kGradient, 0, p.param);
      bits.insert(bits.end(), trace.sums().begin(), trace.sums().end());
      const std::lock_guard lock(mutex);
      values[every][r.job.world.rank()] = bits;
    });
    for (const auto& [rank, error] : o.errors) EXPECT_EQ(error, "");
  }
  EXPECT_EQ(values[0], values[2]);
}

INSTANTIATE_TEST_SUITE_P(All, AuditMeshes,
                         ::testing::Values(Case{.name = "one"}, Case{.name = "data", .data = 3, .dropout = 0.1},
                                           Case{.name = "zero", .data = 2, .zero = true},
                                           Case{.name = "pipeline", .data = 2, .pipeline = 2},
                                           Case{.name = "uneven", .data = 2, .pipeline = 2, .batch = 3},
                                           Case{.name = "tensor", .tensor = 2, .sequence = true},
                                           Case{.name = "all", .tensor = 2, .data = 2, .pipeline = 2, .zero = true}),
                         [](const auto& made) { return made.param.name; });

TEST(Audit, OfThreeCopiesTheOneThatDiffersIsNamed) {
  const Outcome o = run_with_flip({.data = 3}, 1, "attn.q.weight");
  expect_named(o, "after step 2 the copy of ", 1);
  EXPECT_NE(o.errors.at(0).find("on rank 1 on n1 differs from that of the others"), std::string::npos)
      << o.errors.at(0);
}

TEST(Audit, OfTwoCopiesBothAreNamed) {
  expect_named(run_with_flip({.data = 2}, 1, "attn.q.weight"), "on rank 0 on n0 and rank 1 on n1 differ", -1);
}

TEST(Audit, CopiesAlongTwoAxesCrossAtTheOneThatIsWrong) {
  const Outcome o = run_with_flip({.tensor = 2, .data = 2}, 3, "norm");
  expect_named(o, "; what others found leaves rank 3 on n3", 3);
}

TEST(Audit, CopiesOfTensorRanksAreComparedToo) {
  expect_named(run_with_flip({.tensor = 2}, 1, "norm"), "rank 0 on n0 and rank 1 on n1 differ", -1);
}

constexpr std::int64_t kReads = 4;  // of a rank in a pass: its half of a batch of 8

/// One rank reads one wrong token, which is as if it computed wrongly, when `wrong` says so.
Outcome run_with_error(const Case& c, int rank, std::function<bool(std::int64_t)> wrong) {
  return run(
      c, 1, [](Rank& r) { r.steps(0, 3); },
      [&](int r) { return r == rank ? wrong : std::function<bool(std::int64_t)>(); });
}

TEST(Audit, WhoCannotRepeatItselfIsNamed) {
  // In the second step, in its own share and then in that of its neighbour.
  for (const std::int64_t read : {3 * kReads, 2 * kReads}) {
    const Outcome o = run_with_error({.data = 2}, 1, [&](std::int64_t n) { return n == read; });
    expect_named(o, "rank 1 on n1 computed ", 1);
    EXPECT_NE(o.errors.at(0).find(" of step 2 wrongly"), std::string::npos) << o.errors.at(0);
  }
}

TEST(Audit, AloneARankIsHeldAgainstItself) {
  expect_named(run_with_error({.batch = 4}, 0, [](std::int64_t n) { return n == 3 * kReads + 1; }),
               "rank 0 on n0 computed the loss of microbatch 2 of step 2 wrongly", 0);
}

TEST(Audit, WhoIsWrongAgainAndAgainIsOutvoted) {
  const Case three{.data = 3, .batch = 6};
  expect_named(run_with_error(three, 2, [](std::int64_t) { return true; }), "rank 2 on n2 computed ", 2);
}

TEST(Audit, OfTwoThatInsistBothAreNamed) {
  expect_named(run_with_error({.data = 2}, 1, [](std::int64_t) { return true; }),
               "come to different bits for the loss of microbatch 1 of step 1, again and again", -1);
}

TEST(Audit, InAPipelineTheStageThatWentWrongIsNamedNotThoseBehindIt) {
  // Ranks 0 and 1 hold the first stage, 2 and 3 the second.
  const Outcome o = run_with_error({.data = 2, .pipeline = 2}, 1, [](std::int64_t n) { return n == 3 * kReads; });
  expect_named(o, "rank 1 on n1 computed the activations of microbatch 1 of step 2 wrongly", 1);
}

}  // namespace
}  // namespace banyan::train
