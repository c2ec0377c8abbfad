#include "comm/topology/yaml_tree.hpp"

#include <gtest/gtest.h>

#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

std::string error_of(const std::string& text, const YamlLimits& limits = {}) {
  try {
    parse_yaml(text, "f.yaml", limits);
  } catch (const DataError& e) {
    return e.what();
  }
  return "no error";
}

TEST(YamlTree, KeepsOrderAndLines) {
  const Yaml y = parse_yaml("# words\n- a: 1\n  b:\n    - x\n    - \"y z\"\n- {c: }\n", "f.yaml");
  ASSERT_EQ(y.kind, Yaml::Kind::kList);
  ASSERT_EQ(y.values.size(), 2u);
  EXPECT_EQ(y.values[0].line, 2);
  EXPECT_EQ(y.values[0].keys, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(y.values[0].find("a")->text, "1");
  const Yaml& list = *y.values[0].find("b");
  EXPECT_EQ(list.values[1].text, "y z");
  EXPECT_EQ(list.values[1].line, 5);
  EXPECT_EQ(y.values[1].find("c")->text, "");
  EXPECT_EQ(y.values[1].find("d"), nullptr);
  EXPECT_EQ(y.find("a"), nullptr) << "a list has no keys";
  EXPECT_EQ(parse_yaml("", "f.yaml").text, "");
}

TEST(YamlTree, RefusesWhatIsNoYamlOrTooMuch) {
  EXPECT_NE(error_of("a: [1,\nb: }\n").find("f.yaml:2: this is no YAML: "), std::string::npos);
  EXPECT_EQ(error_of("a: 1\na: 2\n"), "f.yaml:2: a is given twice");
  EXPECT_EQ(error_of("? [a]\n: 1\n"), "f.yaml:1: a key is a word, not a list or a map");
  EXPECT_EQ(error_of("- &x 1\n- *x\n"), "f.yaml:2: an alias (*name) is not followed; write out what it stands for");
  EXPECT_EQ(error_of("---\na: 1\n---\nb: 1\n"), "f.yaml:3: a second document; one file holds one");
  EXPECT_EQ(error_of(std::string(20, '[') + std::string(20, ']')), "f.yaml:1: nested more than 16 deep");
  EXPECT_NE(error_of(std::string(100000, '[')), "no error");
  EXPECT_EQ(error_of("[1, 2, 3]", {.values = 3}), "f.yaml:1: more than 3 values");
  EXPECT_EQ(error_of("[1, 2, 3]", {.bytes = 4}), "f.yaml: 9 bytes are more than the 4 that are read as YAML");
  std::string keys;
  for (int i = 0; i < 100; ++i) keys += "k" + std::to_string(i) + ": 1\n";
  EXPECT_EQ(error_of(keys), "f.yaml:65: more than 64 keys in one place");
}

}  // namespace
}  // namespace banyan::comm
