#include "comm/nccl/mailbox.hpp"

#include <gtest/gtest.h>

#include <array>

#include "src/base/error.hpp"
#include "tests/comm/conformance.hpp"

namespace banyan::comm {
namespace {

using Letter = std::array<std::byte, 3>;

Letter letter(int value) { return {std::byte(value), std::byte(value + 1), std::byte(value + 2)}; }

std::byte read(Mailbox& box, int from) {
  const Section section("a letter", Seconds{20});
  for (Backoff backoff;; backoff.pause()) {
    if (const auto mail = box.next(from, "letter"); !mail.empty()) {
      EXPECT_EQ(mail.size(), 3u);
      return mail[0];
    }
    section.check();
  }
}

TEST(Mailbox, LettersComeInOrderFromEachMember) {
  run_loopback(3, [](World& world) {
    configure_for_test(world);
    const auto c = everyone(world);
    Mailbox box(*c, 5, 3);
    for (int to = 0; to < 3; ++to)
      for (int i = 0; i < 2; ++i)
        if (to != c->rank()) box.post(to, letter(10 * c->rank() + i), "letter");
    for (int i = 0; i < 2; ++i)
      for (int from = 2; from >= 0; --from)
        if (from != c->rank()) {
          EXPECT_EQ(read(box, from), std::byte(10 * from + i));
        }
    c->barrier("the end");
  });
}

TEST(Mailbox, NobodyNeedsToReadAndNobodyToWrite) {
  run_loopback(2, [](World& world) {
    configure_for_test(world);
    auto c = everyone(world);
    Mailbox box(*c, 5, 3);
    if (c->rank() == 0) box.post(1, letter(1), "letter");
    if (c->rank() == 0) {
      EXPECT_TRUE(box.next(1, "letter").empty());
    }
    c->barrier("the end");
    c.reset();
  });
}

TEST(Mailbox, WhoNeverWritesIsNamed) {
  std::string what;
  try {
    run_loopback(2, [](World& world) {
      configure_for_test(world, Seconds{0.3});
      const auto c = everyone(world);
      Mailbox box(*c, 5, 3);
      if (c->rank() == 0) read(box, 1);
    });
  } catch (const CommError& e) {
    what = e.what();
  }
  EXPECT_NE(what.find("rank 1"), std::string::npos) << what;
  EXPECT_NE(what.find("receive of letter"), std::string::npos) << what;
}

TEST(Mailbox, LettersHaveOneLength) {
  run_loopback(1, [](World& world) {
    configure_for_test(world);
    const auto c = everyone(world);
    Mailbox box(*c, 5, 4);
    EXPECT_THROW(box.post(0, letter(1), "letter"), BugError);
  });
}

}  // namespace
}  // namespace banyan::comm
