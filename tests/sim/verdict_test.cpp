#include "sim/verdict.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "src/base/error.hpp"
#include "src/base/json.hpp"

namespace banyan::sim {
namespace {

TEST(Verdict, SpearmanComparesOrders) {
  EXPECT_DOUBLE_EQ(spearman({1, 2, 3, 4}, {10, 200, 201, 1000}), 1);
  EXPECT_DOUBLE_EQ(spearman({1, 2, 3, 4}, {4, 3, 2, 1}), -1);
  EXPECT_DOUBLE_EQ(spearman({1, 2, 3, 4, 5}, {2, 1, 4, 3, 5}), 1 - 6.0 * 4 / (5 * 24));  // without ties
  EXPECT_DOUBLE_EQ(spearman({1, 1, 2}, {5, 5, 7}), 1);                                   // ties are alike on both sides
  EXPECT_NEAR(spearman({1, 1, 2, 3}, {1, 2, 3, 4}), 4.5 / std::sqrt(4.5 * 5), 1e-12);
  EXPECT_EQ(spearman({1, 1, 1}, {1, 2, 3}), 0);
  EXPECT_THROW(spearman({1}, {1}), BugError);
  EXPECT_THROW(spearman({1, 2}, {1, 2, 3}), BugError);
}

Trial trial(const char* name, double predicted, double step) {
  Trial t;
  t.price.name = name;
  t.price.tensor = predicted;
  t.step = step;
  return t;
}

TEST(Verdict, JudgesMessagesBeyondAnIdleStep) {
  const std::vector<Trial> trials{trial("a", 2, 12), trial("b", 3, 14), trial("c", 8, 20)};
  const Verdict v = judge(trials, 10);
  EXPECT_DOUBLE_EQ(v.spearman, 1);
  EXPECT_DOUBLE_EQ(v.mean_error, (0 + 0.25 + 0.2) / 3);
  EXPECT_DOUBLE_EQ(v.worst_error, 0.25);
  EXPECT_DOUBLE_EQ(v.regret, 0);
  EXPECT_DOUBLE_EQ(judge({trial("a", 2, 15), trial("b", 3, 12)}, 10).regret, 0.25);
}

TEST(Verdict, TableAndJsonSayTheSame) {
  const std::vector<Trial> trials{trial("slow one", 8, 20), trial("fast one", 2, 12)};
  const std::string table = verdict_table(trials, 10);
  EXPECT_LT(table.find("fast one"), table.find("slow one")) << table;
  EXPECT_NE(table.find("correlation of predicted messages and played steps 1.000"), std::string::npos) << table;
  const Json j = to_json(trials, 10);
  EXPECT_EQ(j["spearman"], 1.0);
  EXPECT_EQ(j["placements"][0]["name"], "slow one");
  EXPECT_EQ(j["placements"][0]["messages_s"], 10.0);
  EXPECT_EQ(j["placements"][1]["predicted_s"], 2.0);
}

// What was played is priced anew, later, by another program.
TEST(Record, IsReadBackAndRefusedWhenItIsOfAnotherMesh) {
  std::vector<Trial> trials{trial("a", 8, 20), trial("b", 2, 12)};
  trials[0].price.process_of = {0, 1, 2};
  trials[1].price.process_of = {2, 0, 1};
  const std::string text = to_json(trials, 10).dump();
  const Record record = read_record(text, "r.json", 3, 3);
  EXPECT_EQ(record.idle, 10);
  ASSERT_EQ(record.trials.size(), 2u);
  EXPECT_EQ(record.trials[1].price.name, "b");
  EXPECT_EQ(record.trials[1].price.process_of, trials[1].price.process_of);
  EXPECT_EQ(record.trials[1].step, 12);
  EXPECT_THROW(read_record(text, "r.json", 4, 4), DataError) << "another mesh";
  EXPECT_THROW(read_record(text, "r.json", 3, 2), DataError) << "no such rank";
  EXPECT_THROW(read_record("{}", "r.json", 3, 3), DataError);
  trials[0].price.process_of = {0, 1, 1};
  EXPECT_THROW(read_record(to_json(trials, 10).dump(), "r.json", 3, 3), DataError) << "one of them twice";
}

}  // namespace
}  // namespace banyan::sim
