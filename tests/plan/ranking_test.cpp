#include "src/plan/ranking.hpp"

#include <gtest/gtest.h>

#include "src/base/json.hpp"
#include "tests/plan/test_config.hpp"

namespace banyan::plan {
namespace {

SearchResult found() {
  config::Config c = gpt2_124m();
  c.train.steps = 1000;
  const Machine machine{.fp32 = 1e12, .memory_bytes = 1.2e9};
  return search_divisions(c, 8, 0, machine);
}

TEST(Ranking, TableSaysWhatToWriteAndWhatIsOut) {
  const SearchResult r = found();
  const std::string table = ranking_table(r, 2);
  for (const char* words : {"--parallel.tensor=", "slower meshes", "do not fit into memory", "MFU", "HFU", "rejected",
                            "model.heads = 12 cannot be split over 8 tensor ranks", "not runnable"})
    EXPECT_NE((table + ranking_table(r, 100)).find(words), std::string::npos) << words << " is not in\n" << table;
}

TEST(Ranking, SaysWhatCarriesTheMessagesOfGpus) {
  SearchResult r = found();
  EXPECT_EQ(ranking_table(r, 2).find("messages of GPUs"), std::string::npos);
  r.machine.messages = "doves";
  EXPECT_NE(ranking_table(r, 2).find("messages of GPUs: doves"), std::string::npos);
  EXPECT_EQ(Json::parse(ranking_json(r)).at("device_messages"), "doves");
}

// A long context, half of which the mask leaves out, at a peak that products reach.
TEST(Ranking, SaysHowTheUseOfThePeakCanBeMoreThanAll) {
  const char* words = "MFU above 100 %";
  EXPECT_EQ(ranking_table(found(), 100).find(words), std::string::npos);
  config::Config c = gpt2_124m();
  c.model.context = 65536;
  const SearchResult r = search_divisions(c, 1, 0, Machine{.fp32 = 1e9});
  EXPECT_NE(ranking_table(r, 1).find(words), std::string::npos) << ranking_table(r, 1);
}

TEST(Ranking, ExplainsEveryTerm) {
  const SearchResult r = found();
  const std::string text = explain(r, r.candidates.front());
  for (const char* words : {"block, forward", "= steady", "= fill", "= messages", "= gradients", "= parameters",
                            "= optimizer", "= crowding", "memory", "blocks in flight"})
    EXPECT_NE(text.find(words), std::string::npos) << words << " is not in\n" << text;
}

TEST(Ranking, JsonHasEveryLayoutAndReason) {
  const SearchResult r = found();
  const Json j = parse_json(ranking_json(r), "ranking");
  EXPECT_EQ(j.at("layouts").size(), r.candidates.size());
  EXPECT_EQ(j.at("rejected").size(), r.rejections.size());
  EXPECT_EQ(j.at("priced").get<std::int64_t>(), r.priced);
  for (const Json& l : j.at("layouts")) {
    double sum = 0;
    for (const auto& [name, term] : l.at("terms").items())
      if (name.rfind("= ", 0) == 0) sum += term.at("seconds").get<double>();
    EXPECT_NEAR(sum, l.at("step_seconds").get<double>(), 1e-9 * sum);
    EXPECT_GE(l.at("hfu").get<double>(), l.at("mfu").get<double>());
  }
}

}  // namespace
}  // namespace banyan::plan
