#include "comm/nccl/roll_call.hpp"

#include <gtest/gtest.h>

#include "tests/comm/conformance.hpp"

namespace banyan::comm {
namespace {

void hear(RollCall& roll, int from, const RollWord& word) {
  const Section section("a word", Seconds{20});
  for (Backoff backoff; roll.heard(from, word.link) != word; backoff.pause()) {
    roll.look(from, "a sum");
    section.check();
  }
}

TEST(RollCall, MembersHearTheLastWordOfEachLink) {
  run_loopback(2, [](World& world) {
    configure_for_test(world);
    const auto c = everyone(world);
    RollCall roll(*c);
    const int other = 1 - c->rank();
    EXPECT_EQ(roll.heard(other, 1), std::nullopt);
    const auto word = [](std::uint64_t link, std::uint64_t number, std::uint64_t count) {
      RollWord w;
      w.link = link;
      w.number = number;
      w.count = count;
      return w;
    };
    roll.tell(other, word(1, 0, 8), "a sum");
    roll.tell(other, word(1, 1, 8), "a sum");
    roll.tell(other, word(1, 1, 8), "a sum");  // is not sent again
    roll.tell(other, word(2, 5, 4), "a sum");
    hear(roll, other, word(2, 5, 4));
    EXPECT_EQ(roll.heard(other, 1), word(1, 1, 8));
    c->barrier("the end");
  });
}

}  // namespace
}  // namespace banyan::comm
