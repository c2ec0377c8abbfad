// Every reader with its seeds and with the inputs of tests/fuzz/corpus: what fuzz.sh found, and what it kept.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/fuzz/readers.hpp"

namespace banyan::fuzz {
namespace {

namespace fs = std::filesystem;

class Corpus : public testing::TestWithParam<std::string> {};

TEST_P(Corpus, IsReadOrRefused) {
  const Reader& reader = *find_reader(GetParam());
  std::vector<std::pair<std::string, std::string>> inputs{{"nothing", ""}};
  for (const std::string& seed : reader.seeds()) {
    inputs.emplace_back("a seed", seed);
    inputs.emplace_back("half a seed", seed.substr(0, seed.size() / 2));
  }
  if (const fs::path folder = corpus_folder() / reader.name; fs::is_directory(folder))
    for (const auto& entry : fs::directory_iterator(folder)) {
      std::ifstream in(entry.path(), std::ios::binary);
      inputs.emplace_back(entry.path().filename().string(), std::string(std::istreambuf_iterator<char>(in), {}));
    }
  for (const std::string& input : kept_inputs(reader.name)) inputs.emplace_back("a kept input", input);
  EXPECT_GT(inputs.size(), 1u) << "nothing to begin with";
  for (const auto& [name, input] : inputs) EXPECT_NO_THROW(reader.read(input)) << name;
}

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const Reader& reader : readers()) all.push_back(reader.name);
  return all;
}
INSTANTIATE_TEST_SUITE_P(All, Corpus, testing::ValuesIn(names()), [](const auto& i) { return i.param; });

TEST(Corpus, EveryFolderHasAReaderAndEveryReaderItsInputs) {
  for (const auto& entry : fs::directory_iterator(corpus_folder()))
    EXPECT_NE(find_reader(entry.path().stem().string()), nullptr) << entry.path();
  for (const Reader& reader : readers())
    EXPECT_FALSE(kept_inputs(reader.name).empty()) << reader.name << ": tests/fuzz/fuzz.sh --keep makes some";
}

}  // namespace
}  // namespace banyan::fuzz
