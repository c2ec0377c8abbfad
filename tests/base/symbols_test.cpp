#include "src/base/symbols.hpp"

#include <gnu/libc-version.h>
#include <gtest/gtest.h>

namespace banyan {
namespace {

__attribute__((noinline)) int not_exported(int x) { return x + 1; }

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Symbols, FunctionsOfTheProgramHaveNamesThoughTheyAreNotExported) {
  const std::string text = Symbols().describe(reinterpret_cast<const char*>(&not_exported) + 1);
  EXPECT_TRUE(contains(text, "not_exported(int)")) << text;
  EXPECT_TRUE(contains(text, "+0x1 (base_tests+0x")) << text;
  EXPECT_EQ(not_exported(1), 2);
}

TEST(Symbols, FunctionsOfLibrariesAreNamedByTheLoader) {
  // One that no sanitizer puts itself in the place of.
  const std::string text = Symbols().describe(reinterpret_cast<const char*>(&gnu_get_libc_version) + 2);
  EXPECT_TRUE(contains(text, "gnu_get_libc_version")) << text;
  EXPECT_TRUE(contains(text, "+0x2 (libc")) << text;
}

TEST(Symbols, WhatIsNoCodeHasNoName) {
  int here = 0;
  EXPECT_EQ(Symbols().describe(&here), "?");
  EXPECT_EQ(Symbols().describe(nullptr), "?");
}

}  // namespace
}  // namespace banyan
