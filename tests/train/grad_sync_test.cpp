#include "src/train/grad_sync.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <mutex>
#include <string>

#include "src/base/rng.hpp"
#include "src/train/optimizer.hpp"
#include "tests/train/test_team.hpp"

namespace banyan::train {
namespace {

/// A small whole number for an element of a logical tensor, so that sums are exact in any order.
float value(const std::string& name, std::int64_t row, std::int64_t column, int salt) {
  return static_cast<float>(
      static_cast<int>(
          rng::mix(rng::named_key(1, name), static_cast<std::uint64_t>((row * 1000 + column) * 64 + salt)) % 17) -
      8);
}

/// Calls f(name, global row, global column, element of a local view) for rows of a local tensor.
template <class F>
void each(const model::LocalParam& p, View v, model::Range rows, F f) {
  const std::int64_t width = p.count.row_count();
  for (std::int64_t r = rows.begin; r < rows.end; ++r)
    for (std::int64_t c = 0; c < width; ++c)
      f(p.logical.name, p.offset[0] + r, (p.count.rank() > 1 ? p.offset[1] : 0) + c, v.as<float>()[r * width + c]);
}

std::int64_t rows_of(const model::LocalParam& p) { return p.count[0]; }

/// What data rank d contributes: a replicated tensor has equal gradients on all tensor ranks.
void fill_grads(TestTeam& t) {
  for (model::LocalParam& p : t.params())
    each(p, p.grad, {0, rows_of(p)}, [&](const std::string& name, std::int64_t r, std::int64_t c, float& g) {
      g = value(
          name, r, c,
          t.team->at.data * 2 + (p.tied_copy ? 1 : 0) + (p.partial_over_tensor ? 32 * (t.team->at.tensor + 1) : 0));
    });
}

float expected(const model::LocalParam& p, const parallel::MeshShape& mesh, const std::string& name, std::int64_t r,
               std::int64_t c) {
  float sum = 0;
  for (int d = 0; d < mesh.data; ++d)
    for (int t = 0; t < (p.partial_over_tensor ? mesh.tensor : 1); ++t) {
      const int partial = p.partial_over_tensor ? 32 * (t + 1) : 0;
      if (p.tied || p.tied_copy)
        sum += value(name, r, c, d * 2 + partial) + value(name, r, c, d * 2 + 1 + partial);
      else
        sum += value(name, r, c, d * 2 + partial);
    }
  return sum;
}

struct Case {
  parallel::MeshShape mesh;
  bool zero, tied, sequence;
  DType travels = DType::kF32;  ///< whose bits are enough for the small whole numbers here
};

class GradSyncCases : public ::testing::TestWithParam<Case> {};

TEST_P(GradSyncCases, AddsEveryContributionOnce) {
  const Case c = GetParam();
  std::mutex mutex;
  double square_sum = 0;
  std::map<std::string, double> want;  // "name row column" -> gradient
  comm::run_loopback(c.mesh.size(), [&](comm::World& world) {
    TestTeam t(world, c.mesh, c.tied, c.sequence);
    GradSync sync(*t.team, c.zero, c.travels, {});
    for (int step = 0; step < 2; ++step) {
      fill_grads(t);
      for (int part = 0; part < model::part_count(t.team->stage->spec()); ++part) sync.start(part);
      sync.finish();
      for (model::LocalParam& p : t.params())
        each(p, p.grad, sync.update_rows(p), [&](const std::string& name, std::int64_t r, std::int64_t col, float& g) {
          ASSERT_EQ(g, expected(p, c.mesh, name, r, col)) << name << " " << r << " " << col;
        });
    }
    double own = 0;
    for (const kernels::Number& sum : sync.owned_square_sums()) own += *sum;
    const std::lock_guard<std::mutex> lock(mutex);
    square_sum += own;
    for (model::LocalParam& p : t.params())
      each(p, p.grad, {0, rows_of(p)}, [&](const std::string& name, std::int64_t r, std::int64_t col, float&) {
        want[name + " " + std::to_string(r) + " " + std::to_string(col)] = expected(p, c.mesh, name, r, col);
      });
  });
  double reference = 0;
  for (const auto& [key, g] : want) reference += g * g;
  EXPECT_EQ(square_sum, reference);
}

TEST_P(GradSyncCases, UpdatedParametersAreTheSameOnAllDataRanks) {
  const Case c = GetParam();
  std::mutex mutex;
  std::map<std::string, float> seen;
  config::optimizer_section options;
  options.beta1 = 0.9;
  options.beta2 = 0.95;
  options.eps = 1e-8;
  options.weight_decay = 0.1;
  comm::run_loopback(c.mesh.size(), [&](comm::World& world) {
    TestTeam t(world, c.mesh, c.tied, c.sequence);
    GradSync sync(*t.team, c.zero, c.travels, {});
    Optimizer optimizer(*t.team, sync, options, {});
    for (int step = 1; step <= 3; ++step) {
      fill_grads(t);
      for (int part = 0; part < model::part_count(t.team->stage->spec()); ++part) sync.start(part);
      sync.finish();
      optimizer.update(step, 0.01, 0.5);
      sync.gather_params();
    }
    const std::lock_guard<std::mutex> lock(mutex);
    for (model::LocalParam& p : t.params())
      each(p, p.param, {0, rows_of(p)}, [&](const std::string& name, std::int64_t r, std::int64_t col, float& x) {
        const auto [at, fresh] = seen.emplace(name + " " + std::to_string(r) + " " + std::to_string(col), x);
        ASSERT_TRUE(std::isfinite(x));
        ASSERT_EQ(at->second, x) << at->first;
      });
  });
}

INSTANTIATE_TEST_SUITE_P(
    Meshes, GradSyncCases,
    ::testing::Values(Case{{.tensor = 1, .data = 1, .pipeline = 1}, false, true, false},
                      Case{{.tensor = 1, .data = 3, .pipeline = 1}, false, true, false},
                      Case{{.tensor = 1, .data = 3, .pipeline = 1}, true, true, false},
                      Case{{.tensor = 2, .data = 2, .pipeline = 1}, true, false, true},
                      Case{{.tensor = 2, .data = 1, .pipeline = 1}, false, true, true},
                      Case{{.tensor = 1, .data = 2, .pipeline = 2}, true, true, false},
                      Case{{.tensor = 2, .data = 2, .pipeline = 2}, true, true, true},
                      Case{{.tensor = 1, .data = 1, .pipeline = 4}, false, true, false},
                      Case{{.tensor = 4, .data = 2, .pipeline = 1}, true, true, false},
                      Case{{.tensor = 1, .data = 3, .pipeline = 1}, false, true, false, DType::kBF16},
                      Case{{.tensor = 1, .data = 3, .pipeline = 1}, true, true, false, DType::kBF16},
                      Case{{.tensor = 2, .data = 2, .pipeline = 2}, false, true, true, DType::kBF16},
                      Case{{.tensor = 2, .data = 2, .pipeline = 2}, true, true, true, DType::kBF16}),
    [](const auto& made) {
      const Case& c = made.param;
      return fmt::format("t{}d{}p{}{}{}{}", c.mesh.tensor, c.mesh.data, c.mesh.pipeline, c.zero ? "_zero" : "",
                         c.tied ? "_tied" : "", c.sequence ? "_sequence" : "") +
             (c.travels == DType::kBF16 ? "_bf16" : "");
    });

}  // namespace
}  // namespace banyan::train
