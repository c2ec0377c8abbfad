#include "src/config/scan.hpp"

#include <gtest/gtest.h>

#include "src/base/error.hpp"

namespace banyan::config {
namespace {

TEST(Scan, ReadsTheWholeGrammar) {
  const auto entries = scan(
      "\xEF\xBB\xBF# a comment\r\n"
      "\r\n"
      "[one]  # why\r\n"
      "plain = some text   # comment\r\n"
      "hash=a#b\n"
      "quoted = \" a # \\\"b\\\" \\\\ \\n\" # comment\n"
      "empty =\n"
      "[ two ]\n"
      "  key\t=\tv",
      "x.ini");
  ASSERT_EQ(entries.size(), 5u);
  EXPECT_EQ(entries[0].full(), "one.plain");
  EXPECT_EQ(entries[0].value, "some text");
  EXPECT_EQ(entries[0].line, 4);
  EXPECT_EQ(entries[1].value, "a#b");
  EXPECT_EQ(entries[2].value, " a # \"b\" \\ \n");
  EXPECT_EQ(entries[3].value, "");
  EXPECT_EQ(entries[4].full(), "two.key");
  EXPECT_EQ(entries[4].value, "v");
  EXPECT_EQ(entries[4].line, 9);
  EXPECT_TRUE(scan("", "x").empty());
}

TEST(Scan, RefusesWhatIsNoLineAndNamesIt) {
  for (const char* bad : {"[a]\nnonsense", "[a]\n= 3", "[a]\nx.y = 3", "[a]\nx y = 3", "[a]\n[b", "[a]\n[]",
                          "[a]\n[b] c", "[a]\nx = \"open", "[a]\nx = \"a\" b", "[a]\nx = \"\\q\"", "[a]\nx = \"\\",
                          "[a]\nx = a\x01z", "[a]\nx = a\x7fz"}) {
    try {
      scan(bad, "x.ini");
      ADD_FAILURE() << "accepted: " << bad;
    } catch (const ConfigError& e) {
      EXPECT_EQ(std::string(e.what()).substr(0, 8), "x.ini:2:") << e.what();
    }
  }
  EXPECT_THROW(scan("x = 3", "x.ini"), ConfigError);
}

TEST(Scan, ARepeatedKeyNamesBothLines) {
  try {
    scan("[a]\nx = 1\n[b]\nx = 1\n[a]\nx = 2\n", "x.ini");
    FAIL() << "accepted";
  } catch (const ConfigError& e) {
    EXPECT_STREQ(e.what(), "x.ini:6: a.x was set on line 2 already; keep one of the two");
  }
}

TEST(Scan, QuotedValuesReadBack) {
  for (const std::string& value :
       {std::string(), std::string("plain"), std::string("a b"), std::string(" lead"), std::string("trail\t"),
        std::string("a # b"), std::string("#"), std::string("\"q\""), std::string("back\\slash"),
        std::string("two\nlines"), std::string("in \"side\""), std::string("caf\xc3\xa9")}) {
    const auto entries = scan("[a]\nx = " + quoted(value) + "\n", "x.ini");
    ASSERT_EQ(entries.size(), 1u) << value;
    EXPECT_EQ(entries[0].value, value);
  }
}

}  // namespace
}  // namespace banyan::config
