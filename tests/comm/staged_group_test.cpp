// Collectives of "device memory": host memory of which only the injected copy knows that, and whose queue runs late.
#include "comm/staged_group.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <map>
#include <numeric>
#include <vector>

#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

/// A device with three queues that do nothing before somebody asks for the third time whether it is done.
class LateDevice {
 public:
  HostStaging staging() {
    return {.allocate =
                [this](std::size_t bytes) {
                  ++allocations;
                  return std::shared_ptr<std::byte>(new std::byte[bytes], std::default_delete<std::byte[]>());
                },
            .copy =
                [this](Queue q, View out, ConstView in) {
                  EXPECT_NE(out.kind, in.kind);
                  after(q, [out, in] { std::memcpy(out.data, in.data, in.bytes()); });
                },
            .record = [this](Queue q) { return Event(std::make_shared<Mark>(*this, q, end(q))); },
            .wait = [this](Queue q, Event e) { after(q, [e]() mutable { e.wait(); }); },
            .to_host = {&names_[0]},
            .to_device = {&names_[1]}};
  }
  void after(Queue q, std::function<void()> work) { lanes_[q.handle].push_back(std::move(work)); }
  void finish() {
    for (auto& [handle, lane] : lanes_) run({handle}, lane.size());
  }
  /// Pieces of work that have run.
  std::size_t done() const {
    std::size_t n = 0;
    for (const auto& [handle, count] : done_) n += count;
    return n;
  }
  int allocations = 0;

 private:
  struct Mark final : Event::State {
    Mark(LateDevice& d, Queue q, std::size_t p) : device(d), queue(q), position(p) {}
    bool test() override {
      if (device.done_[queue.handle] < position && ++tests % 3 == 0) device.run(queue, position);
      return device.done_[queue.handle] >= position;
    }
    void wait() override { device.run(queue, position); }
    LateDevice& device;
    Queue queue;
    std::size_t position;
    int tests = 0;
  };
  std::size_t end(Queue q) { return lanes_[q.handle].size(); }
  void run(Queue q, std::size_t until) {
    while (done_[q.handle] < until) lanes_[q.handle][done_[q.handle]++]();
  }
  char names_[2];
  std::map<void*, std::deque<std::function<void()>>> lanes_;
  std::map<void*, std::size_t> done_;
};

/// A member's tensor on its device.
struct Tensor {
  explicit Tensor(std::int64_t count, double first = 0) : values(static_cast<std::size_t>(count)) {
    std::iota(values.begin(), values.end(), first);
  }
  View view() {
    View v(values.data(), {static_cast<std::int64_t>(values.size())});
    v.kind = MemoryKind::kDevice;
    return v;
  }
  std::vector<double> values;
};

void add(Queue, View out, ConstView a, ConstView b, ReduceOp) {
  ASSERT_EQ(a.kind, MemoryKind::kHost);
  for (std::int64_t i = 0; i < out.count(); ++i) out.as<double>()[i] = a.as<double>()[i] + b.as<double>()[i];
}

void with_group(int size, const std::function<void(Communicator&, LateDevice&)>& body) {
  run_loopback(size, [&](World& world) {
    world.configure({}, add, {});
    std::vector<int> all(static_cast<std::size_t>(size));
    std::iota(all.begin(), all.end(), 0);
    LateDevice device;
    const auto staged = make_staged_world(device.staging());
    const auto group = staged->group(world.group(all, 0, "all"));
    body(*group, device);
  });
}

TEST(StagedGroup, AllReduceArrivesInTheQueueBehindTheEvent) {
  with_group(3, [](Communicator& c, LateDevice& device) {
    for (int round = 0; round < 3; ++round) {
      Tensor t(5, c.rank());
      c.all_reduce({}, t.view(), ReduceOp::kSum, "sums").wait();
      device.finish();
      for (int i = 0; i < 5; ++i) EXPECT_EQ(t.values[static_cast<std::size_t>(i)], 3 * i + 3);
    }
    EXPECT_EQ(device.allocations, 1) << "buffers are used again";
  });
}

TEST(StagedGroup, ABufferIsNotUsedAgainBeforeItsCopyBackHasRun) {
  with_group(2, [](Communicator& c, LateDevice& device) {
    Tensor a(4, c.rank()), b(4, 10);
    c.all_reduce({}, a.view(), ReduceOp::kSum, "first").wait();
    // The copy back of the first is not done; receiving makes no work that would run it.
    Event got, sent;
    if (c.rank() == 0)
      sent = c.send({}, ConstView(b.values.data(), {4}), 1, 0, "host memory");
    else
      got = c.receive({}, b.view(), 0, 0, "device memory");
    got.wait();
    sent.wait();
    device.finish();
    for (int i = 0; i < 4; ++i) {
      EXPECT_EQ(a.values[static_cast<std::size_t>(i)], 2 * i + 1);
      EXPECT_EQ(b.values[static_cast<std::size_t>(i)], 10 + i);
    }
  });
}

TEST(StagedGroup, ScattersGathersAndBroadcasts) {
  with_group(3, [](Communicator& c, LateDevice& device) {
    const std::vector<std::int64_t> counts{2, 0, 3};
    const std::int64_t mine = counts[static_cast<std::size_t>(c.rank())], before[] = {0, 2, 2};
    const std::int64_t at = before[c.rank()];
    Tensor all(5), part(mine), gathered(5, -100), sent(4, c.rank());
    c.reduce_scatter({}, part.view(), all.view(), counts, ReduceOp::kSum, "scatter").wait();
    device.finish();
    for (std::int64_t i = 0; i < mine; ++i)
      EXPECT_EQ(part.values[static_cast<std::size_t>(i)], 3 * static_cast<double>(at + i));
    c.all_gather({}, gathered.view(), part.view(), counts, "gather").wait();
    c.broadcast({}, sent.view(), 2, "broadcast").wait();
    device.finish();
    for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(gathered.values[i], 3 * static_cast<double>(i));
    for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(sent.values[i], 2 + static_cast<double>(i));
  });
}

TEST(StagedGroup, GathersInPlaceAndScattersIntoItsOwnPart) {
  with_group(2, [](Communicator& c, LateDevice& device) {
    const std::vector<std::int64_t> counts{2, 2};
    Tensor all(4, c.rank());
    const View own = all.view().rows(2 * c.rank(), 2 * c.rank() + 2);
    c.reduce_scatter({}, own, all.view(), counts, ReduceOp::kSum, "scatter").wait();
    c.all_gather({}, all.view(), own, counts, "gather").wait();
    device.finish();
    for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(all.values[i], 2 * static_cast<double>(i) + 1);
  });
}

TEST(StagedGroup, ExchangesPartsOfAnyLength) {
  with_group(2, [](Communicator& c, LateDevice& device) {
    // Rank r sends r + 1 elements to everybody.
    const std::vector<std::int64_t> in_counts(2, c.rank() + 1), out_counts{1, 2};
    Tensor in(2 * (c.rank() + 1), 10 * c.rank()), out(3, -1);
    c.all_to_all_v({}, out.view(), out_counts, in.view(), in_counts, "exchange").wait();
    device.finish();
    const std::vector<double> want = c.rank() == 0 ? std::vector<double>{0, 10, 11} : std::vector<double>{1, 12, 13};
    EXPECT_EQ(out.values, want);
  });
}

TEST(StagedGroup, NobodyWaitsForTheDeviceWhenACallIsMade) {
  with_group(2, [](Communicator& c, LateDevice& device) {
    Tensor a(4, c.rank()), b(4, 10 * c.rank());
    Event first = c.all_reduce({}, a.view(), ReduceOp::kSum, "first");
    Event second = c.all_reduce({}, b.view(), ReduceOp::kSum, "second");
    EXPECT_EQ(device.done(), 0u);
    second.wait();  // begins both, in the order of the calls
    first.wait();
    device.finish();
    for (int i = 0; i < 4; ++i) {
      EXPECT_EQ(a.values[static_cast<std::size_t>(i)], 2 * i + 1);
      EXPECT_EQ(b.values[static_cast<std::size_t>(i)], 2 * i + 10);
    }
  });
}

TEST(StagedGroup, LookingIsEnoughForAnOperationToGoOn) {
  with_group(2, [](Communicator& c, LateDevice& device) {
    Tensor t(4, 5 + c.rank());
    Event e = c.all_reduce({}, t.view(), ReduceOp::kSum, "sums");
    while (!e.test()) c.progress();
    EXPECT_NE(t.values[0], 11) << "nobody has waited for the copy back";
    device.finish();
    EXPECT_EQ(t.values[0], 11);
  });
}

TEST(StagedGroup, ACopyBackComesAfterWhatWasComputedBeforeTheCall) {
  with_group(2, [](Communicator& c, LateDevice& device) {
    Tensor out(4, 5), in(4);
    if (c.rank() == 0) {
      c.send({}, out.view(), 1, 0, "values").wait();
    } else {
      double seen = -1;
      device.after({}, [&] { seen = in.values[2]; });  // what still uses the memory
      c.receive({}, in.view(), 0, 0, "values").wait();
      device.finish();
      EXPECT_EQ(seen, 2);
      EXPECT_EQ(in.values[2], 7);
    }
    device.finish();
  });
}

TEST(StagedGroup, WhatIsCalledBeginsBeforeAnyWaitForOthers) {
  with_group(2, [](Communicator& c, LateDevice& device) {
    Tensor mine(4, 10 * c.rank()), got(4);
    std::vector<double> answer(1, c.rank());
    // Rank 1 answers what it has received; rank 0 has asked for the answer before it sends.
    if (c.rank() == 0) {
      Event answered = c.receive({}, View(answer.data(), {1}), 1, 1, "the answer, in host memory");
      Event sent = c.send({}, mine.view(), 1, 0, "device memory");
      answered.wait();
      sent.wait();
      EXPECT_EQ(answer[0], 1);
    } else {
      c.receive({}, got.view(), 0, 0, "device memory").wait();
      c.send({}, ConstView(answer.data(), {1}), 0, 1, "the answer").wait();
      device.finish();
      EXPECT_EQ(got.values[3], 3);
    }
  });
}

TEST(StagedGroup, GroupsBeginInOneOrder) {
  run_loopback(2, [&](World& world) {
    world.configure({}, add, {});
    LateDevice device;
    const auto staged = make_staged_world(device.staging());
    const auto one = staged->group(world.group({0, 1}, 0, "one")), other = staged->group(world.group({1, 0}, 1, "two"));
    Tensor a(4, world.rank()), b(4, world.rank());
    // Rank 1 waits in the second group first, which rank 0 calls last.
    Event first = one->all_reduce({}, a.view(), ReduceOp::kSum, "one"), second;
    second = other->all_reduce({}, b.view(), ReduceOp::kSum, "two");
    if (world.rank() == 0) first.wait();
    second.wait();
    first.wait();
    one->barrier("both");
    device.finish();
    EXPECT_EQ(a.values, b.values);
    EXPECT_EQ(a.values[3], 7);
  });
}

TEST(StagedGroup, ADeviceThatDoesNotGetThereIsNamed) {
  LateDevice device;
  run_loopback(1, [&](World& world) {
    world.configure({}, add, {});
    HostStaging staging = device.staging();
    struct Never final : Event::State {
      bool test() override { return false; }
      void wait() override { FAIL() << "nobody waits for the device alone"; }
    };
    staging.record = [](Queue) { return Event(std::make_shared<Never>()); };
    staging.wait = [](Queue, Event) {};
    staging.limit = Seconds(0.01);
    const auto staged = make_staged_world(std::move(staging));
    const auto c = staged->group(world.group({0}, 0, "all"));
    Tensor t(4);
    try {
      c->all_reduce({}, t.view(), ReduceOp::kSum, "adding gradients").wait();
      FAIL() << "it came to an end";
    } catch (const CommError& e) {
      EXPECT_NE(std::string(e.what()).find("what adding gradients sends"), std::string::npos) << e.what();
    }
  });
}

TEST(StagedGroup, PassesHostMemoryAndEmptyViewsOn) {
  with_group(2, [](Communicator& c, LateDevice& device) {
    EXPECT_EQ(all_reduce_value(c, std::int64_t{1}, ReduceOp::kSum, "ones"), 2);
    Tensor nothing(0);
    c.all_reduce({}, nothing.view(), ReduceOp::kSum, "nothing").wait();
    c.barrier("all");
    EXPECT_EQ(device.allocations, 0);
    EXPECT_EQ(c.pin(Tensor(4).view()), nullptr);
  });
}

// Over a transport that reads a device's memory, which here is the host's.
TEST(StagedGroup, MessagesGoDirectlyWhereTheTransportCan) {
  LateDevice device;
  run_loopback(1, [&](World& world) {
    world.configure({}, add, {});
    HostStaging staging = device.staging();
    staging.direct_messages = true;
    const auto staged = make_staged_world(std::move(staging));
    const auto c = staged->group(world.group({0}, 0, "all"));
    Tensor out(4, 7), in(4);
    bool computed = false;
    device.after({}, [&] { computed = true; });
    Event arrives = c->receive({}, in.view(), 0, 1, "to itself");
    c->send({}, out.view(), 0, 1, "to itself").wait();
    EXPECT_TRUE(computed);  // what the queue was given before
    arrives.wait();
    EXPECT_EQ(in.values, out.values);
    EXPECT_EQ(device.allocations, 0);
  });
}

}  // namespace
}  // namespace banyan::comm
