#include "src/infer/completion_writer.hpp"

#include <gtest/gtest.h>

namespace banyan::infer {
namespace {

std::vector<std::int32_t> bytes(std::string_view text) { return {text.begin(), text.end()}; }

TEST(TextPrinter, ShowsEachInItsTurnAndAsksForNoneThatIsNotThere) {
  const io::Tokenizer tokenizer = io::Tokenizer::from_merges({});
  const std::vector<Request> requests{{0, "a", nullptr, "prompt 1"}, {1, "b", nullptr, "prompt 2"}};
  std::vector<Completion> completions{{.index = 0, .tokens = bytes("xy"), .finish = Finish::kLength},
                                      {.index = 1, .tokens = bytes("z"), .finish = Finish::kStopped}};
  std::vector<bool> finished{true, false};
  const auto is_finished = [&](std::size_t i) { return finished.at(i); };  // throws for what is not there
  TextPrinter printer(tokenizer);
  printer.begin(requests);

  testing::internal::CaptureStdout();
  printer.show(completions, is_finished);
  const std::string first = testing::internal::GetCapturedStdout();
  EXPECT_NE(first.find("axy"), std::string::npos) << first;
  EXPECT_NE(first.find("bz"), std::string::npos) << first;

  completions[1].tokens = bytes("zw");
  finished[1] = true;
  testing::internal::CaptureStdout();
  printer.show(completions, is_finished);
  printer.show(completions, is_finished);
  const std::string second = testing::internal::GetCapturedStdout();
  EXPECT_EQ(second.substr(0, 1), "w") << second;
  EXPECT_EQ(second.find('z'), std::string::npos) << second;
}

}  // namespace
}  // namespace banyan::infer
