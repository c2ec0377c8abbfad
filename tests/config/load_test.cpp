#include "src/config/load.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "src/base/error.hpp"
#include "src/config/keys.hpp"
#include "tests/temp_dir.hpp"

namespace banyan::config {
namespace {

std::string refusal(const std::string& text, const std::vector<std::string>& overrides = {}) {
  try {
    load_text(text, "x.ini", overrides);
  } catch (const ConfigError& e) {
    return e.what();
  }
  return "";
}

/// A value other than the default that the key accepts, as a user would write it.
std::string another_value(const KeyRow& row) {
  switch (row.type) {
    case Type::kBool:
      return row.default_text == "true" ? "false" : "true";
    case Type::kReal:
      return row.default_text == "0.25" ? "0.125" : "0.25";
    case Type::kTime:
      return "90s";
    case Type::kBytes:
      return "1.5MiB";
    case Type::kInt:
      return row.check.ok(Value(Int{4})) ? "4" : "1";
    case Type::kText:
      break;
  }
  // "a, b or c": the last one; what is neither a list nor free text has one possible value.
  const std::size_t last = row.check.phrase.rfind(" or ");
  if (last != std::string::npos) return row.check.phrase.substr(last + 4);
  return row.check.phrase.empty() || row.check.phrase == "not empty" ? "\" some # text\"" : row.default_text;
}

TEST(Load, EveryDefaultPassesItsOwnCheckAndTheRules) {
  const LoadResult r = load("");
  EXPECT_EQ(r.origin.size(), key_rows().size());
  for (const auto& [key, origin] : r.origin) EXPECT_EQ(origin.str(), "default") << key;
  EXPECT_EQ(r.config.model.layers, 12);
  EXPECT_EQ(r.config.comm.peer_timeout, 20.0);
  EXPECT_EQ(r.config.parallel.bucket, 25 << 20);
}

TEST(Load, EveryKeyReadsBackWhatItWrites) {
  Config config = defaults();
  EXPECT_EQ(differing_keys(load_text(write(config), "written").config, config), std::vector<std::string>{});
  for (const KeyRow& row : key_rows()) {
    SCOPED_TRACE(row.full());
    // One key at a time: two at once could break a rule between keys.
    const std::string text = "[" + row.section + "]\n" + row.name + " = " + another_value(row) + "\n";
    LoadResult changed{defaults(), {}};
    try {
      changed = load_text(text, "one");
    } catch (const ConfigError& e) {
      // A rule between keys may refuse it; it must be a rule, not the key's own check.
      EXPECT_EQ(std::string(e.what()).find("one:2"), std::string::npos) << e.what();
      continue;
    }
    EXPECT_EQ(differing_keys(load_text(write(changed.config), "again").config, changed.config),
              std::vector<std::string>{});
    EXPECT_LE(differing_keys(changed.config, config).size(), 1u);
    EXPECT_EQ(changed.origin.at(row.full()).str(), "one:2");
  }
}

TEST(Load, EveryKeyIsRefusedWithItsPlaceAndWhatItTakes) {
  for (const KeyRow& row : key_rows()) {
    if (row.type == Type::kText && (row.check.phrase.empty() || row.check.phrase == "not empty")) continue;
    const std::string words = refusal("# comment\n[" + row.section + "]\n\n" + row.name + " = certainly-wrong\n");
    EXPECT_NE(words.find("x.ini:4: " + row.full() + " = certainly-wrong"), std::string::npos) << words;
    EXPECT_NE(refusal("", {"--" + row.full() + "=certainly-wrong"}).find("command line: " + row.full()),
              std::string::npos);
  }
}

TEST(Load, EveryMisspeltKeyNamesItsNeighbour) {
  for (const KeyRow& row : key_rows()) {
    std::string name = row.name;
    name.insert(name.size() / 2, "q");
    const std::string words = refusal("[" + row.section + "]\n" + name + " = 1\n");
    EXPECT_NE(words.find("x.ini:2: there is no key " + row.section + "." + name), std::string::npos) << words;
    EXPECT_NE(words.find("did you mean " + row.full() + "?"), std::string::npos) << words;
  }
}

TEST(Load, CommandLineOverridesFileOverridesDefault) {
  const std::vector<std::string> overrides{"--train.steps=7", "--train.steps=9", "--data.train="};
  const LoadResult r = load_text("[train]\nsteps = 2k\nbatch = 4\n[data]\ntrain = x.h5\n", "x.ini", overrides);
  EXPECT_EQ(r.config.train.steps, 9);
  EXPECT_EQ(r.config.train.batch, 4);
  EXPECT_EQ(r.config.data.train, "");
  EXPECT_EQ(r.origin.at("train.steps").str(), "command line");
  EXPECT_EQ(r.origin.at("train.batch").str(), "x.ini:3");
  EXPECT_EQ(r.origin.at("train.recompute").str(), "default");
}

TEST(Load, RefusesOutOfRangeAndWrongUnitsWithTheRange) {
  EXPECT_EQ(refusal("[model]\nlayers = 0\n"), "x.ini:2: model.layers = 0 is refused; it must be from 1 to 4096");
  EXPECT_EQ(refusal("[model]\nnorm = batch\n"), "x.ini:2: model.norm = batch is refused; it must be layer or rms");
  EXPECT_NE(refusal("[comm]\npeer_timeout = 20 parsec\n").find("it takes a time such as 20s"), std::string::npos);
  EXPECT_NE(refusal("[model]\ndropout = 1\n").find("less than 1"), std::string::npos);
  EXPECT_NE(refusal("[model]\ndropout = nan\n"), "");
  EXPECT_NE(refusal("[model]\nbias = yes\n").find("true or false"), std::string::npos);
  EXPECT_NE(refusal("[model]\nlayers =\n").find("\"\" is not understood"), std::string::npos);
  EXPECT_NE(refusal("[run]\ndir =\n").find("not empty"), std::string::npos);
}

TEST(Load, AKeyUnderTheWrongSectionIsFound) {
  EXPECT_NE(refusal("[model]\nmicrobatch = 4\n").find("did you mean parallel.microbatch?"), std::string::npos);
  EXPECT_NE(refusal("[modle]\nlayers = 4\n").find("did you mean model.layers?"), std::string::npos);
  EXPECT_NE(refusal("", {"--tarin.steps=4"}).find("did you mean train.steps?"), std::string::npos);
  EXPECT_NE(refusal("", {"--train.steps"}).find("needs a value"), std::string::npos);
  EXPECT_NE(refusal("", {"--train.step=4"}).find("there is no key train.step"), std::string::npos);  // no guessing
}

TEST(Load, FilesThatAreNoConfigs) {
  const test::TempDir dir;
  EXPECT_THROW(load((dir / "absent.ini").string()), ConfigError);
  EXPECT_THROW(load(dir.path().string()), ConfigError);
  std::ofstream(dir / "large.ini") << std::string(2 << 20, '#');
  EXPECT_THROW(load((dir / "large.ini").string()), ConfigError);
  std::ofstream(dir / "binary.ini") << std::string("[model]\n\0\n", 10);
  EXPECT_THROW(load((dir / "binary.ini").string()), ConfigError);
}

TEST(Load, EveryFileInConfigsLoadsAndOpensWithASentence) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(BANYAN_SOURCE_DIR "/configs")) {
    if (entry.path().extension() != ".ini") continue;
    ++files;
    EXPECT_NO_THROW(load(entry.path().string())) << entry.path();
    std::ifstream in(entry.path());
    std::string text, line;
    while (std::getline(in, line) && line.starts_with("# ")) text += line;
    EXPECT_NE(text.find('.'), std::string::npos) << entry.path() << " does not say what it shows";
  }
  EXPECT_GE(files, 4);
}

}  // namespace
}  // namespace banyan::config
