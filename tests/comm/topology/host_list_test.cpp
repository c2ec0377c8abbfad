#include "comm/topology/host_list.hpp"

#include <gtest/gtest.h>

#include <random>

#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

using Names = std::vector<std::string>;

TEST(HostList, Expands) {
  EXPECT_EQ(expand_host_list(""), Names{});
  EXPECT_EQ(expand_host_list("n1"), Names{"n1"});
  EXPECT_EQ(expand_host_list("n[1-3,7],login"), (Names{"n1", "n2", "n3", "n7", "login"}));
  EXPECT_EQ(expand_host_list("gpu[08-11]"), (Names{"gpu08", "gpu09", "gpu10", "gpu11"}));
  EXPECT_EQ(expand_host_list("r[1-2]n[1,3]-ib"), (Names{"r1n1-ib", "r1n3-ib", "r2n1-ib", "r2n3-ib"}));
  EXPECT_EQ(expand_host_list("n[001-002].site.org"), (Names{"n001.site.org", "n002.site.org"}));
  EXPECT_EQ(expand_host_list("n[5-5]"), Names{"n5"});
}

TEST(HostList, SaysWhereItIsWrong) {
  const auto error = [](const char* text) -> std::string {
    try {
      expand_host_list(text);
    } catch (const DataError& e) {
      return e.what();
    }
    return "no error";
  };
  const auto expect = [&](const char* text, const char* what) {
    EXPECT_NE(error(text).find(what), std::string::npos) << text << ": " << error(text);
  };
  expect("n[1-3", "'[' without ']' at character 6");
  expect("n1-3]", "']' without '[' at character 5");
  expect("n[]", "a number expected at character 3");
  expect("n[3-1]", "a range that ends before it begins");
  expect("n[1,]", "a number expected");
  expect("n[a]", "a number expected");
  expect("n[1[2]]", "',' or ']' expected");
  expect("n1,,n2", "an empty name");
  expect("n1,", "nothing follows the last comma");
  expect(",n1", "an empty name");
  expect("n[1-4000000000]", "more than 262144 names");
  expect("n[1-99999]m[1-99999]", "more than 262144 names");
  expect("n[1-9999999999999999999999]", "more than 18 digits");
  expect("a b", "a character that no host name has");
  expect(std::string(300, 'x').c_str(), "more than 256 characters");
}

TEST(HostList, FoldsAndExpandsBack) {
  EXPECT_EQ(fold_host_list({}), "");
  EXPECT_EQ(fold_host_list({"n1", "n2", "n3", "n7", "login"}), "n[1-3,7],login");
  EXPECT_EQ(fold_host_list({"n08", "n09", "n10"}), "n[08-10]");
  EXPECT_EQ(fold_host_list({"n9", "n10"}), "n[9-10]");
  EXPECT_EQ(fold_host_list({"a", "b"}), "a,b");
  EXPECT_EQ(fold_host_list({"n1-ib", "n2-ib"}), "n[1-2]-ib");
}

TEST(HostList, FoldingLosesNothing) {
  std::mt19937 random(7);
  for (int round = 0; round < 2000; ++round) {
    Names names;
    const auto pick = [&](unsigned n) { return random() % n; };
    for (auto i = pick(12); i > 0; --i) {
      std::string number = std::to_string(pick(120));
      if (pick(3) == 0) number = "0" + number;
      if (pick(6) == 0) number.clear();
      names.push_back(std::string(pick(2) ? "n" : "r1n") + number + (pick(4) ? "" : "-x"));
      if (pick(2) && !number.empty()) names.push_back(names.back());
    }
    EXPECT_EQ(expand_host_list(fold_host_list(names)), names) << fold_host_list(names);
  }
}

}  // namespace
}  // namespace banyan::comm
