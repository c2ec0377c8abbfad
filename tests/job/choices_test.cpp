#include "src/job/choices.hpp"

#include <gtest/gtest.h>

#include <array>

#include "src/base/error.hpp"

namespace banyan::job {
namespace {

const std::string kOld = "library 1 on A\n2 2 : slow\n1 1 : fast\n";

TEST(Choices, AreThoseOfAllRanksOncePerShapeInOneOrder) {
  const std::array<std::string, 4> texts{"library 1 on A\n", kOld, "library 1 on A\n1 1 : other\n3 : new\n",
                                         "library 2 on A\n4 : strange\n"};
  const std::string merged = merge_choices("", texts);
  const std::string lines = "library 1 on A\n1 1 : fast\n2 2 : slow\n3 : new\nlibrary 2 on A\n4 : strange\n";
  EXPECT_EQ(checked_choices(merged, "FILE"), lines);
  EXPECT_EQ(merge_choices(lines, texts), merged) << "merging again changes nothing";
  EXPECT_EQ(merge_choices("", {}), "");
}

TEST(Choices, WhatWasKeptGoesFirst) {
  const std::array<std::string, 1> texts{"library 1 on A\n1 1 : other\n"};
  EXPECT_EQ(checked_choices(merge_choices(kOld, texts), "FILE"), "library 1 on A\n1 1 : fast\n2 2 : slow\n");
}

TEST(Choices, ARankFindsItsOwnLibraryAndDevice) {
  const std::string text = kOld + "library 2 on A\n4 : strange\n";
  EXPECT_EQ(choices_of(text, "library 2 on A"), "library 2 on A\n4 : strange\n");
  EXPECT_EQ(choices_of(text, "library 1 on A"), "library 1 on A\n1 1 : fast\n2 2 : slow\n");
  EXPECT_EQ(choices_of(text, "library 3 on A"), "");
  EXPECT_EQ(choices_of("", "library 1 on A"), "");
}

TEST(Choices, ADamagedFileIsRefused) {
  const std::array<std::string, 1> texts{kOld};
  const std::string good = merge_choices("", texts);
  EXPECT_EQ(checked_choices("", "FILE"), "");
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 1);
    EXPECT_THROW(checked_choices(bad, "FILE"), ConfigError) << i;
    EXPECT_THROW(checked_choices(good.substr(0, i + 1 == good.size() ? i : i + 1), "FILE"), ConfigError) << i;
  }
  try {
    checked_choices("library 1 on A\n", "RUN/algorithms.txt");
    FAIL();
  } catch (const ConfigError& e) {
    EXPECT_NE(std::string(e.what()).find("RUN/algorithms.txt is damaged"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace banyan::job
