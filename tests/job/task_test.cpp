#include "src/job/task.hpp"

#include <gtest/gtest.h>

#include <stdexcept>

#include "src/base/error.hpp"

namespace banyan::job {
namespace {

TEST(Task, EndsWithAnOutcome) {
  int ran = 0;
  const Task task([&](const std::atomic<bool>&) { ++ran; });
  EXPECT_TRUE(task.wait(Seconds(60)));
  EXPECT_TRUE(task.done());
  EXPECT_EQ(task.outcome().code, 0);
  EXPECT_EQ(ran, 1);
  const Seconds age = task.age();
  EXPECT_EQ(task.age(), age) << "it stands still";
  EXPECT_TRUE(Task({}).done());
}

TEST(Task, ErrorsKeepTheirClass) {
  const auto ended = [](const std::function<void()>& work) {
    const Task task([&](const std::atomic<bool>&) { work(); });
    EXPECT_TRUE(task.wait(Seconds(60)));
    return task.outcome();
  };
  EXPECT_THROW(ended([] { throw IoError("full"); }).raise(), IoError);
  EXPECT_THROW(ended([] { throw DataError("torn"); }).raise(), DataError);
  EXPECT_THROW(ended([] { throw RunHeldError("held"); }).raise(), RunHeldError);
  EXPECT_THROW(ended([] { throw std::runtime_error("surprise"); }).raise(), BugError);
}

TEST(Task, WhoGivesUpIsNotToBlame) {
  Task task([](const std::atomic<bool>& cancel) {
    while (!cancel) std::this_thread::yield();
    throw IoError("gave up");
  });
  EXPECT_FALSE(task.done());
  EXPECT_THROW(task.outcome(), BugError);
  task.cancel();
  EXPECT_TRUE(task.wait(Seconds(60)));
  EXPECT_EQ(task.outcome().code, Outcome::kGaveUp);
  EXPECT_THROW(task.outcome().raise(), IoError);
}

}  // namespace
}  // namespace banyan::job
