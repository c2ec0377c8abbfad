// How waiting ends when it is in vain: silence, announced failures, sections, and what is left afterwards.
#include "comm/engine.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "src/base/error.hpp"
#include "tests/comm/conformance.hpp"

namespace banyan::comm {
namespace {

using Seconds = banyan::Seconds;

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// Runs `f`, which must throw CommError, and gives its message.
std::string comm_error(const std::function<void()>& f) {
  try {
    f();
  } catch (const CommError& e) {
    return e.what();
  }
  return "no CommError";
}

TEST(Engine, SilentPeerIsNamed) {
  run_loopback(3, [](World& world) {
    configure_for_test(world, Seconds{0.2});
    const auto c = everyone(world);
    if (world.rank() == 2) return;  // dies without a word
    float x = 0;
    const std::string why = comm_error([&] { c->receive({}, View(&x, {1}), 2, 0, "activation").wait(); });
    EXPECT_TRUE(contains(why, "no answer from rank 2 on n0 for 0.2 s while waiting for receive of activation of world"))
        << why;
    // Final: everything else throws the same.
    EXPECT_EQ(comm_error([&] { c->barrier("anything"); }), why);
    EXPECT_EQ(comm_error([&] { c->send({}, ConstView(&x, {1}), 0, 0, "anything"); }), why);
  });
}

// Both who finds out and who is told do what they were asked to do in that case, once.
TEST(Engine, AHangIsFoundByAllWhoWait) {
  std::atomic<int> found{0}, left{0};
  run_loopback(3, [&](World& world) {
    configure_for_test(world, Seconds{0.3});
    world.on_hang([&] { ++found; });
    const auto c = everyone(world);
    if (world.rank() == 2) {
      while (left < 2) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      EXPECT_TRUE(world.overhear().has_value() && world.overhear()->hang);
      return;
    }
    const std::uint64_t before = world.signs_of_life();
    float x = 0;
    const std::string why = comm_error([&] { c->all_reduce({}, View(&x, {1}), ReduceOp::kSum, "loss").wait(); });
    EXPECT_TRUE(contains(why, "rank 2 on n0")) << why;
    EXPECT_GT(world.signs_of_life(), before);
    world.announce_failure(69, why);
    EXPECT_EQ(comm_error([&] { c->barrier("anything"); }), why);
    ++left;
  });
  EXPECT_EQ(found, 2);
}

TEST(Engine, AWatcherLeavesForAThreadThatIsStuck) {
  std::atomic<int> found{0};
  run_loopback(2, [&](World& world) {
    configure_for_test(world, Seconds{60});
    world.on_hang([&] { ++found; });
    const auto c = everyone(world);
    if (world.rank() == 1) {  // this one computes for ever
      std::thread([&] {
        EXPECT_FALSE(world.overhear());
        EXPECT_TRUE(world.leave_stuck(69, "it hangs", Seconds{20}));
      }).join();
      return;
    }
    float x = 0;
    const std::string why = comm_error([&] { c->receive({}, View(&x, {1}), 1, 0, "activation").wait(); });
    EXPECT_EQ(why, "rank 1 on n0 failed: it hangs");
    EXPECT_TRUE(world.last_barrier(Seconds{20}));
  });
  EXPECT_EQ(found, 1);
}

// Who computes for long but gets ahead is waited for; who stands still is not, and it is said where.
TEST(Engine, ARankThatGetsAheadIsWaitedFor) {
  run_loopback(2, [](World& world) {
    configure_for_test(world, Seconds{0.4});
    const auto c = everyone(world);
    float x = 1;
    if (world.rank() == 1) {
      for (int i = 1; i <= 24; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        world.beat("step 1, microbatch " + std::to_string(i));
      }
      c->send({}, ConstView(&x, {1}), 0, 0, "activation").wait();
      return;  // dies without a word
    }
    c->receive({}, View(&x, {1}), 1, 0, "activation").wait();
    const std::string why = comm_error([&] { c->receive({}, View(&x, {1}), 1, 0, "activation").wait(); });
    EXPECT_TRUE(contains(why, "no answer from rank 1 on n0 for 0.4 s")) << why;
    EXPECT_TRUE(contains(why, "it was last heard of ")) << why;
    EXPECT_TRUE(contains(why, " s ago, at step 1, microbatch 24; it died, hangs or cannot be reached")) << why;
  });
}

// Operations of messages are used again, but not while somebody holds their event.
TEST(Engine, AnEndedMessageStaysEnded) {
  run_loopback(2, [](World& world) {
    configure_for_test(world);
    const auto c = everyone(world);
    const int other = 1 - world.rank();
    float out = 0, in[3] = {};
    const auto receive = [&](int i) { return c->receive({}, View(&in[i], {1}), other, 0, "a number"); };
    if (world.rank() == 1) {
      for (int i = 0; i < 3; ++i) {
        c->receive({}, View(&in[i], {1}), other, 1, "the word to go on").wait();
        out = static_cast<float>(10 + i);
        c->send({}, ConstView(&out, {1}), other, 0, "a number").wait();
      }
      return;
    }
    const auto go_on = [&] { c->send({}, ConstView(&out, {1}), other, 1, "the word to go on").wait(); };
    Event first = receive(0), kept = first;
    go_on();
    first.wait();
    Event second = receive(1), third = receive(2);
    EXPECT_TRUE(kept.test());
    EXPECT_FALSE(second.test());
    go_on();
    second.wait();
    EXPECT_FALSE(third.test());
    go_on();
    third.wait();
    EXPECT_EQ(in[0], 10);
    EXPECT_EQ(in[1], 11);
    EXPECT_EQ(in[2], 12);
  });
}

// Who waits for a message that has ended need not hold on to its group.
TEST(Engine, GroupsMayGoRightAfterTheirLastMessage) {
  run_loopback(2, [](World& world) {
    configure_for_test(world);
    for (int i = 0; i < 20; ++i) {
      const auto c = everyone(world);
      int in = -1;
      Event received = c->receive({}, View(&in, {1}), 1 - world.rank(), 0, "a number");
      Event sent = c->send({}, ConstView(&i, {1}), 1 - world.rank(), 0, "a number");
      received.wait();
      sent.wait();
      EXPECT_EQ(in, i);
    }
  });
}

TEST(Engine, SilenceInACollectiveNamesSomebodyMissing) {
  std::atomic<int> named{0};
  run_loopback(5, [&](World& world) {
    configure_for_test(world, Seconds{0.3});
    const auto c = everyone(world);
    if (world.rank() == 4) return;
    std::vector<float> v(100);
    const std::string why =
        comm_error([&] { c->all_reduce({}, View(v.data(), {100}), ReduceOp::kSum, "loss").wait(); });
    if (contains(why, "rank 4 on n0")) ++named;
    EXPECT_TRUE(contains(why, "all-reduce loss of world")) << why;
  });
  EXPECT_GE(named, 1);
}

TEST(Engine, TestAloneFindsSilenceToo) {
  run_loopback(2, [](World& world) {
    configure_for_test(world, Seconds{0.1});
    if (world.rank() == 1) return;
    const auto c = everyone(world);
    float x = 0;
    Event e = c->receive({}, View(&x, {1}), 1, 0, "token");
    EXPECT_TRUE(contains(comm_error([&] {
                           while (!e.test()) std::this_thread::yield();
                         }),
                         "rank 1"));
  });
}

TEST(Engine, OwnComputationIsNotThePeersSilence) {
  run_loopback(2, [](World& world) {
    configure_for_test(world, Seconds{1});
    const auto c = everyone(world);
    float x = 1;
    if (world.rank() == 0) {
      Event e = c->receive({}, View(&x, {1}), 1, 0, "token");
      std::this_thread::sleep_for(std::chrono::milliseconds(1500));  // looks only once, late
      e.wait();
    } else {
      const PatienceScope patience(Seconds{20});
      std::this_thread::sleep_for(std::chrono::milliseconds(1600));
      c->send({}, ConstView(&x, {1}), 0, 0, "token").wait();
    }
  });
}

TEST(Engine, PatienceBearsMoreSilence) {
  EXPECT_EQ(PatienceScope::current(), Seconds::zero());
  run_loopback(2, [](World& world) {
    configure_for_test(world, Seconds{0.1});
    const auto c = everyone(world);
    if (world.rank() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(400));
    const PatienceScope patience(Seconds{30});
    {
      const PatienceScope shorter(Seconds{0.01});
      EXPECT_EQ(PatienceScope::current(), Seconds{30});
    }
    c->barrier("reference run of rank 0");
  });
  EXPECT_EQ(PatienceScope::current(), Seconds::zero());
}

TEST(Engine, SectionEndsAWait) {
  run_loopback(2, [](World& world) {
    configure_for_test(world);
    if (world.rank() == 1) return;
    const auto c = everyone(world);
    const Section section("vote on step 12", Seconds{0.1});
    const std::string why = comm_error([&] { c->barrier("vote"); });
    EXPECT_TRUE(contains(why, "rank 1")) << why;
    EXPECT_TRUE(contains(why, "barrier vote of world (in vote on step 12)")) << why;
  });
}

TEST(Engine, AnnouncedFailureEndsAllWaits) {
  try {
    run_loopback(4, [](World& world) {
      configure_for_test(world);
      const auto c = everyone(world);
      c->barrier("start");
      if (world.rank() == 3) throw IoError("disk full");
      std::vector<float> v(1000);
      const std::string why =
          comm_error([&] { c->all_reduce({}, View(v.data(), {1000}), ReduceOp::kSum, "loss").wait(); });
      EXPECT_EQ(why, "rank 3 on n0 failed: disk full");
      ASSERT_TRUE(world.peer_failure());
      EXPECT_EQ(world.peer_failure()->code, static_cast<int>(ExitCode::kIoFailed));
      EXPECT_EQ(world.peer_failure()->rank, 3);
    });
    FAIL() << "the error of rank 3 is lost";
  } catch (const IoError& e) {
    EXPECT_STREQ(e.what(), "disk full");
  }
}

TEST(Engine, RanksLeaveTogetherAfterAFailure) {
  std::atomic<int> left{0};
  run_loopback(4, [&](World& world) {
    configure_for_test(world);
    const auto c = everyone(world);
    if (world.rank() == 1) {
      world.announce_failure(76, "loss is NaN");
    } else {
      EXPECT_TRUE(contains(comm_error([&] { c->barrier("step"); }), "loss is NaN"));
      world.announce_failure(69, "because of rank 1");  // has nothing to add
    }
    EXPECT_TRUE(world.last_barrier(Seconds{20}));
    ++left;
  });
  EXPECT_EQ(left, 4);
}

TEST(Engine, LastBarrierDoesNotWaitForTheDead) {
  run_loopback(3, [](World& world) {
    configure_for_test(world);
    if (world.rank() != 1) {
      EXPECT_FALSE(world.last_barrier(Seconds{0.1}));
    }
  });
}

TEST(Engine, WrongLengthIsTold) {
  std::atomic<int> told{0};
  try {
    run_loopback(2, [&](World& world) {
      configure_for_test(world);
      const auto c = everyone(world);
      std::vector<float> v(10);
      try {
        if (world.rank() == 0)
          c->send({}, ConstView(v.data(), {10}), 1, 4, "activation").wait();
        else
          c->receive({}, View(v.data(), {9}), 0, 4, "activation").wait();
      } catch (const CommError& e) {
        EXPECT_TRUE(contains(e.what(), "40 bytes came where 36 were expected")) << e.what();
        EXPECT_TRUE(contains(e.what(), "rank 0 on n0")) << e.what();
        ++told;
        throw;
      }
    });
  } catch (const CommError&) {
  }
  EXPECT_GE(told, 1);  // the sender may hear of it first
}

TEST(Engine, DroppedCommunicatorGivesUpItsReceives) {
  run_loopback(2, [](World& world) {
    configure_for_test(world);
    {
      const auto c = everyone(world, 1);
      std::vector<float> gone(100);
      c->receive({}, View(gone.data(), {100}), 1 - world.rank(), 0, "never sent");
    }
    everyone(world, 2)->barrier("dropped everywhere");
    // The id is free again; nothing of the old receive is left to take this message.
    const auto c = everyone(world, 1);
    std::vector<float> in(100), out(100, 7.0f);
    Event e = c->send({}, ConstView(out.data(), {100}), 1 - world.rank(), 0, "sent");
    c->receive({}, View(in.data(), {100}), 1 - world.rank(), 0, "sent").wait();
    e.wait();
    EXPECT_EQ(in, out);
  });
}

TEST(Engine, FailingReductionIsTheError) {
  EXPECT_THROW(run_loopback(2,
                            [](World& world) {
                              world.configure(
                                  {}, [](Queue, View, ConstView, ConstView, ReduceOp) { throw NumericsError("no"); },
                                  nullptr);
                              float x = 1;
                              everyone(world)->all_reduce({}, View(&x, {1}), ReduceOp::kSum, "x").wait();
                            }),
               NumericsError);
}

TEST(Engine, MisuseIsABug) {
  run_loopback(2, [](World& world) {
    EXPECT_THROW(world.group({0, 5}, 1, "g"), BugError);
    EXPECT_THROW(world.group({0, 0}, 1, "g"), BugError);
    EXPECT_THROW(world.group({1 - world.rank()}, 1, "g"), BugError);
    EXPECT_THROW(world.group({0, 1}, kMaxGroupId + 1, "g"), BugError);
    WorldOptions options;
    options.host_transport = "pigeon";
    EXPECT_THROW(world.configure(options, nullptr, nullptr), ConfigError);
    const auto c = everyone(world);
    std::vector<float> v(12);
    EXPECT_THROW(c->all_reduce({}, View(v.data(), {12}), ReduceOp::kSum, "x"), BugError);  // no reduction given
    EXPECT_THROW(c->broadcast({}, View(v.data(), {4, 3}).columns(0, 2), 0, "x"), BugError);
    EXPECT_THROW(c->broadcast({}, View(v.data(), {12}), 2, "x"), BugError);
    EXPECT_THROW(c->send({}, View(v.data(), {12}), 0, kMaxChannel + 1, "x"), BugError);
    const std::vector<std::int64_t> counts{5, 6};
    EXPECT_THROW(c->all_gather({}, View(v.data(), {12}), ConstView(v.data(), {5}), counts, "x"), BugError);
  });
}

TEST(ScratchPool, ReusesTheSmallestThatFits) {
  ScratchPool pool;
  auto a = pool.take(10000), b = pool.take(50000);
  const std::byte* small = a.memory.get();
  const std::byte* large = b.memory.get();
  pool.give(std::move(b));
  pool.give(std::move(a));
  EXPECT_EQ(pool.take(9000).memory.get(), small);
  EXPECT_EQ(pool.take(20000).memory.get(), large);
  EXPECT_EQ(pool.take(0).memory, nullptr);
}

}  // namespace
}  // namespace banyan::comm
