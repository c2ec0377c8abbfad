#include "comm/calibrate.hpp"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/comm/conformance.hpp"

namespace banyan::comm {
namespace {

TEST(Calibrate, RoundsToTwoDigits) {
  EXPECT_EQ(two_digits(1.2345e-6), 1.2e-6);
  EXPECT_EQ(two_digits(9.96e9), 1.0e10);
}

TEST(Calibrate, PartnersAreMutualAndAtTheirDistance) {
  const std::vector<int> node{0, 0, 0, 1, 1, 2, 3, 3}, leaf{0, 0, 0, 0, 0, 1, 1, 1};
  for (const Distance d : {Distance::kNode, Distance::kLeaf, Distance::kAcross}) {
    const std::vector<int> partner = partners(d, node, leaf);
    int pairs = 0;
    for (std::size_t r = 0; r < partner.size(); ++r) {
      if (partner[r] < 0) continue;
      const auto p = static_cast<std::size_t>(partner[r]);
      EXPECT_EQ(partner[p], static_cast<int>(r));
      EXPECT_EQ(node[r] == node[p], d == Distance::kNode);
      EXPECT_EQ(leaf[r] == leaf[p], d != Distance::kAcross);
      ++pairs;
    }
    EXPECT_EQ(pairs, d == Distance::kNode ? 6 : d == Distance::kLeaf ? 4 : 2);
  }
}

TEST(Calibrate, MeasuresWhatIsThere) {
  run_loopback(
      3,
      [](World& w) {
        configure_for_test(w);
        const auto c = everyone(w);
        const Links links = measure_links(
            *c, w, [](View out, ConstView a, ConstView b) { reduce_on_host({}, out, a, b, ReduceOp::kSum); },
            [](View out, ConstView in) { std::memcpy(out.data, in.data, in.bytes()); });
        require(links.measured, "measured");
        require(links.node != Links{}.node, "inside a node");
        require(links.leaf != Links{}.leaf, "between two nodes");
        require(links.across == Links{}.across, "nobody is across");
        require(links.copy_rate > 0 && links.reduce_rate > 0, "rates");
      },
      2);
}

}  // namespace
}  // namespace banyan::comm
