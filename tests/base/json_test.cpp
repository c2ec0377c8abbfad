#include "src/base/json.hpp"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cmath>

namespace banyan {
namespace {

/// What the error says, or "" when none came.
template <class F>
std::string words(F f) {
  try {
    f();
  } catch (const DataError& e) {
    return e.what();
  }
  return "";
}

TEST(Json, ReadsWhatItWrites) {
  Json j;
  j["z"] = 1;
  j["a"] = 0.1;
  j["text"] = "\xc3\xa9\n";
  EXPECT_EQ(parse_json(dump_line(j), "test"), j);
  EXPECT_EQ(dump_line(j).find('\n'), std::string::npos);
  EXPECT_EQ(dump_line(j).substr(0, 6), "{\"z\":1");
}

TEST(Json, DoublesRoundTripToTheBit) {
  for (const double v : {0.1, 1.0 / 3, 5e-324, 1.7976931348623157e308, 10.826341629028320}) {
    const Json j = v;
    EXPECT_EQ(parse_json(dump_line(j), "test").get<double>(), v);
  }
  EXPECT_EQ(dump_line(Json(std::nan(""))), "null");
}

TEST(Json, HostileTextIsRefusedWithItsPlace) {
  EXPECT_NE(words([] { parse_json("{\"a\": 1, }", "file.json"); }).find("file.json: no valid JSON at byte"),
            std::string::npos);
  EXPECT_NE(words([] { parse_json(std::string(100000, '['), "f"); }).find("nested more than 64"), std::string::npos);
  EXPECT_NE(words([] { parse_json("{\"a\":1,\"a\":2}", "f"); }).find("occurs twice"), std::string::npos);
  EXPECT_NE(words([] { parse_json("[1,2,3]", "f", {.bytes = 4}); }).find("7 bytes"), std::string::npos);
  for (const char* bad : {"", "nul", "[1] x", "\"\xff\"", "{\"a\"}", "1e999", "[1", "\x01", "\"\\ud800\""})
    EXPECT_NE(words([&] { parse_json(bad, "f"); }), "") << bad;
  EXPECT_NE(words([] { parse_json(std::string_view("[1]\0", 4), "f"); }), "");
}

TEST(Json, WhatIsReadHasTheOrderAndTheTypesOfTheText) {
  const std::string text = R"({"z":[1,-2,3.5,"t",true,null,{}],"a":{"c":[],"b":{"d":[[{"e":18446744073709551615}]]}}})";
  EXPECT_EQ(dump_line(parse_json(text, "f")), text);
  EXPECT_EQ(parse_json(" 7 ", "f"), Json(7));
  EXPECT_EQ(parse_json(std::string(10, '[') + std::string(10, ']'), "f", {.depth = 10}).size(), 1u);
}

// A vocabulary of 128k tokens is nothing unusual.  Searching for each of so many keys would outlast the test.
TEST(Json, ManyKeysTakeNoLongerThanTheyMust) {
  constexpr int kKeys = 200'000;
  std::string text = "{";
  for (int i = 0; i < kKeys; ++i) text += fmt::format("{}\"k{}\":{}", i ? "," : "", i, i);
  const Json j = parse_json(text + "}", "f");
  ASSERT_EQ(j.size(), static_cast<std::size_t>(kKeys));
  EXPECT_EQ(j.items().begin().key(), "k0");
  EXPECT_EQ(*--j.end(), Json(kKeys - 1));
}

TEST(Json, MembersAreCheckedForTypeAndRange) {
  const Json j = parse_json(R"({"n": 300, "neg": -1, "big": 18446744073709551615, "s": "x", "f": 1.5, "v": [1, 2],
                                "mixed": [1, "a"], "nothing": null, "b": true})",
                            "f");
  EXPECT_EQ(get<int>(j, "n", "f"), 300);
  EXPECT_EQ(get<std::uint64_t>(j, "big", "f"), 18446744073709551615u);
  EXPECT_EQ(get<std::vector<std::int64_t>>(j, "v", "f"), (std::vector<std::int64_t>{1, 2}));
  EXPECT_EQ(get<double>(j, "n", "f"), 300.0);
  EXPECT_TRUE(get<bool>(j, "b", "f"));
  EXPECT_EQ(get_or<int>(j, "absent", 7, "f"), 7);
  EXPECT_EQ(get_or<int>(j, "nothing", 7, "f"), 7);
  EXPECT_NE(words([&] { get<std::uint8_t>(j, "n", "f"); }).find("\"n\" is 300"), std::string::npos);
  EXPECT_NE(words([&] { get<std::int64_t>(j, "big", "f"); }), "");
  EXPECT_NE(words([&] { get<std::uint64_t>(j, "neg", "f"); }), "");
  EXPECT_NE(words([&] { get<std::uint32_t>(j, "neg", "f"); }), "");
  EXPECT_NE(words([&] { get<int>(j, "f", "f"); }), "");
  EXPECT_NE(words([&] { get<int>(j, "s", "ctx"); }).find("ctx: \"s\" must be a whole number, found string"),
            std::string::npos);
  EXPECT_NE(words([&] { get<std::vector<int>>(j, "mixed", "f"); }), "");
  EXPECT_NE(words([&] { get<int>(j, "absent", "f"); }).find("\"absent\" is missing"), std::string::npos);
  EXPECT_NE(words([&] { get<int>(Json(3), "x", "f"); }), "");
}

TEST(Json, AFileThatIsNotThereIsAnIoError) { EXPECT_THROW(read_json_file("/nonexistent/x.json"), IoError); }

}  // namespace
}  // namespace banyan
