#include "src/infer/text_stream.hpp"

#include <gtest/gtest.h>

namespace banyan::infer {
namespace {

using namespace std::string_literals;

const std::string kBroken = "\xEF\xBF\xBD";

TEST(TextStream, HoldsBytesBackUntilACharacterIsComplete) {
  const std::string text = "a\u00e9\u20ac\U0001F333z";  // 1, 2, 3, 4 and 1 bytes
  TextStream stream;
  std::string shown;
  for (char byte : text) {
    const std::string now = stream.push(std::string(1, byte));
    EXPECT_TRUE(now.empty() || valid_utf8(now) == now);
    shown += now;
    EXPECT_EQ(text.substr(0, shown.size()), shown);
  }
  EXPECT_EQ(shown, text);
  EXPECT_EQ(stream.finish(), "");
}

TEST(TextStream, ReplacesWhatIsNoCharacter) {
  EXPECT_EQ(valid_utf8("a\xFF"
                       "b"),
            "a" + kBroken + "b");
  EXPECT_EQ(valid_utf8("\xC3"), kBroken);  // cut at the end
  EXPECT_EQ(valid_utf8("\xE2\x82"), kBroken);
  EXPECT_EQ(valid_utf8("\xE2\x82z"), kBroken + "z");
  EXPECT_EQ(valid_utf8("\xC0\xAF"), kBroken + kBroken);                  // overlong
  EXPECT_EQ(valid_utf8("\xED\xA0\x80"), kBroken + kBroken + kBroken);    // surrogate
  EXPECT_EQ(valid_utf8("\xF4\x90\x80\x80").size(), 4 * kBroken.size());  // beyond U+10FFFF
  EXPECT_EQ(valid_utf8("x\0y"s), "x\0y"s);
}

TEST(TextStream, OfEveryBytePairIsValid) {
  for (int a = 0; a < 256; ++a)
    for (int b = 0; b < 256; ++b) {
      const std::string bytes{static_cast<char>(a), static_cast<char>(b)};
      const std::string once = valid_utf8(bytes);
      EXPECT_EQ(valid_utf8(once), once);
    }
}

}  // namespace
}  // namespace banyan::infer
