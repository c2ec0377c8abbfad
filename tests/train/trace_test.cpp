#include "src/train/trace.hpp"

#include <gtest/gtest.h>

namespace banyan::train {
namespace {

TEST(Trace, EveryBitCounts) {
  std::vector<float> values{1, 2, 3};
  const auto sums = [&] {
    Trace t;
    t.note(Trace::What::kActivation, 0, ConstView(values.data(), Shape{3}));
    t.note(Trace::What::kLoss, 0, 0.5);
    return t.sums();
  };
  const std::vector<std::uint64_t> before = sums();
  ASSERT_EQ(before.size(), 2u);
  EXPECT_EQ(sums(), before);
  reinterpret_cast<unsigned char*>(values.data())[4] ^= 1;
  EXPECT_NE(sums()[0], before[0]);
  EXPECT_EQ(sums()[1], before[1]);
}

TEST(Trace, KnowsWhatWasMadeHere) {
  const float x = 1;
  const ConstView v(&x, Shape{1});
  Trace t;
  std::vector<model::LocalParam> params(2);
  params[1].logical.name = "wte";
  for (const Trace::What what : {Trace::What::kGivenActivation, Trace::What::kActivation, Trace::What::kGivenGradient,
                                 Trace::What::kInputGradient, Trace::What::kGradient})
    t.note(what, 1, v);
  const std::vector<std::pair<bool, std::string>> want{{false, "the activations that microbatch 2 came with"},
                                                       {true, "the activations of microbatch 2"},
                                                       {false, "the gradient that came back for microbatch 2"},
                                                       {true, "the gradient of the input of microbatch 2"},
                                                       {true, "the gradient of wte"}};
  for (std::size_t i = 0; i < want.size(); ++i) {
    EXPECT_EQ(t.made(i), want[i].first) << i;
    EXPECT_EQ(t.describe(i, params), want[i].second);
  }
}

}  // namespace
}  // namespace banyan::train
