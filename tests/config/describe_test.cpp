#include "src/config/describe.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "src/base/error.hpp"

namespace banyan::config {
namespace {

TEST(Describe, EverySentenceIsASentence) {
  for (const KeyInfo& k : all_keys()) {
    EXPECT_TRUE(k.sentence.ends_with('.')) << k.full();
    EXPECT_TRUE(k.sentence[0] < 'a' || k.sentence.find(' ') < k.sentence.size()) << k.full();
    EXPECT_EQ(k.sentence.find('|'), std::string::npos) << k.full();
  }
}

TEST(Describe, HelpShowsEveryKeyOfItsSectionOnly) {
  const std::string text = help("comm");
  EXPECT_NE(text.find("--comm.peer_timeout=20s"), std::string::npos);
  EXPECT_EQ(text.find("--model."), std::string::npos);
  for (const KeyInfo& k : all_keys()) EXPECT_NE(help("").find("--" + k.full() + "="), std::string::npos) << k.full();
  EXPECT_THROW(help("comn"), UsageError);
}

TEST(Describe, PrintedConfigSaysWhereFromAndIsAConfigItself) {
  const std::vector<std::string> overrides{"--train.steps=9"};
  const LoadResult loaded = load_text("[model]\nlayers = 4\n[data]\ntrain = \"a #b\"\n", "x.ini", overrides);
  const std::string text = print_config(loaded);
  EXPECT_NE(text.find("layers = 4 "), std::string::npos);
  EXPECT_NE(text.find("# x.ini:2\n"), std::string::npos);
  EXPECT_NE(text.find("# command line\n"), std::string::npos);
  EXPECT_EQ(differing_keys(load_text(text, "printed").config, loaded.config), std::vector<std::string>{});
}

TEST(Describe, TheReferenceInConfigsIsWhatTheSchemaSays) {
  std::ifstream in(BANYAN_SOURCE_DIR "/configs/README.md");
  std::stringstream text;
  text << in.rdbuf();
  EXPECT_TRUE(text.str() == reference()) << "run: build/release/banyan --print-reference > configs/README.md";
}

}  // namespace
}  // namespace banyan::config
