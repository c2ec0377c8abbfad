#include "src/base/stacks.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "src/base/signals.hpp"

namespace banyan {

/// Not static, and not to be merged with its caller, so that it has a frame with a name.
__attribute__((noinline)) void stand_here(std::atomic<int>& tid, const std::atomic<bool>& go) {
  const Section outer("a test");
  const Section inner("the word to go on");
  tid = static_cast<int>(::syscall(SYS_gettid));
  while (!go) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

namespace {

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Stacks, AnotherThreadTellsWhereItIsAndGoesOn) {
  signals::install();
  std::atomic<int> tid{0};
  std::atomic<bool> go{false};
  std::thread other([&] { stand_here(tid, go); });
  while (tid == 0) std::this_thread::yield();
  const ThreadStack stack = stack_of(tid, Seconds{20});
  const std::string all = stacks_of_all_threads(Seconds{20});
  go = true;
  other.join();
  ASSERT_TRUE(stack.answered);
  EXPECT_EQ(stack.sections, "the word to go on (in a test)");
  EXPECT_TRUE(contains(stack.frames, "  #0 0x")) << stack.frames;
  EXPECT_TRUE(contains(stack.frames, "banyan::stand_here(std::atomic<int>&, std::atomic<bool> const&)+0x"))
      << stack.frames;
  EXPECT_TRUE(contains(stack.frames, " (base_tests+0x")) << stack.frames;
  const std::string text = text_of(stack);
  EXPECT_TRUE(contains(text, "thread " + std::to_string(tid) + " ")) << text;
  EXPECT_TRUE(contains(text, "\n  section: the word to go on (in a test)\n  #0 0x")) << text;
  // The thread that asks is among them, and the main one is the first.
  EXPECT_TRUE(all.starts_with("thread " + std::to_string(::getpid()) + " ")) << all;
  EXPECT_TRUE(contains(all, "stacks_of_all_threads")) << all;
  EXPECT_TRUE(contains(all, "the word to go on")) << all;
}

TEST(Stacks, AThreadThatIsGoneDoesNotAnswer) {
  signals::install();
  std::atomic<int> tid{0};
  std::thread([&] { tid = static_cast<int>(::syscall(SYS_gettid)); }).join();
  const ThreadStack stack = stack_of(tid, Seconds{0.1});
  EXPECT_FALSE(stack.answered);
  EXPECT_TRUE(contains(text_of(stack), "does not answer"));
}

TEST(Stacks, AThreadThatRefusesSignalsDoesNotAnswerAndHoldsUpNobody) {
  signals::install();
  std::atomic<int> tid{0};
  std::atomic<bool> go{false};
  std::thread other([&] {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    stand_here(tid, go);
  });
  while (tid == 0) std::this_thread::yield();
  EXPECT_FALSE(stack_of(tid, Seconds{0.05}).answered);
  EXPECT_TRUE(stack_of(::getpid(), Seconds{20}).answered);
  go = true;
  other.join();
}

}  // namespace
}  // namespace banyan
