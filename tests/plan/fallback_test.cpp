#include "src/plan/fallback.hpp"

#include <gtest/gtest.h>

#include "src/plan/layout.hpp"
#include "tests/plan/test_config.hpp"

namespace banyan::plan {
namespace {

config::Config wish(int tensor, int pipeline, int data, const char* fallback) {
  config::Config c = gpt2_124m();
  c.parallel.tensor = tensor;
  c.parallel.pipeline = pipeline;
  c.parallel.data = data;
  c.parallel.fallback = fallback;
  return c;
}

std::string mesh_of(const config::Config& c, int ranks) { return make_layout(c, ranks, 0).mesh.str(); }

TEST(FitMesh, KeepsAMeshThatFits) {
  const FittedConfig f = fit_mesh(wish(2, 2, 2, "1x1"), 8);
  EXPECT_EQ(f.note, "");
  EXPECT_EQ(mesh_of(f.config, 8), "tensor 2 x data 2 x pipeline 2");
  EXPECT_EQ(f.config.parallel.fallback, "1x1") << "for the next time";
}

TEST(FitMesh, TakesTheFirstThatFits) {
  const FittedConfig f = fit_mesh(wish(4, 2, 1, "2x2x2,2x2,1x1"), 7);
  EXPECT_EQ(mesh_of(f.config, 7), "tensor 2 x data 1 x pipeline 2") << "2x2x2 needs eight ranks; three of seven idle";
  EXPECT_NE(f.note.find("using the mesh 2x2 of parallel.fallback"), std::string::npos) << f.note;
  EXPECT_NE(f.note.find("7 ranks: parallel.tensor x parallel.pipeline"), std::string::npos) << f.note;
}

TEST(FitMesh, SaysWhyNoneFits) {
  const FittedConfig f = fit_mesh(wish(4, 2, 0, "2x2"), 3);
  EXPECT_EQ(f.config.parallel.tensor, 4);
  EXPECT_NE(f.note.find("no mesh of parallel.fallback fits 3 ranks either: 2x2: "), std::string::npos) << f.note;
  EXPECT_EQ(fit_mesh(wish(4, 2, 0, "none"), 3).note, "") << "nobody asked";
}

// More data ranks than microbatches is no mesh either; the vocabulary does not matter.
TEST(FitMesh, CountsMicrobatches) {
  config::Config c = wish(1, 1, 0, "2x2");
  c.model.vocab = 0;
  const FittedConfig f = fit_mesh(c, 16);
  EXPECT_EQ(f.config.parallel.tensor, 2) << "16 data ranks for 8 microbatches";
  EXPECT_EQ(f.config.model.vocab, 0);
}

}  // namespace
}  // namespace banyan::plan
