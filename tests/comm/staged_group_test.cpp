// Collectives of "device memory": host memory of which only the injected copy knows that, and whose queue runs late.
#include "comm/staged_group.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <numeric>
#include <vector>

#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

/// A device whose copies run when somebody waits for what was recorded behind them.
class LateDevice {
 public:
  HostStaging staging() {
    return {[this](std::size_t bytes) {
              ++allocations;
              return std::shared_ptr<std::byte>(new std::byte[bytes], std::default_delete<std::byte[]>());
            },
            [this](Queue, View out, ConstView in) {
              EXPECT_NE(out.kind, in.kind);
              queue_.push_back([out, in] { std::memcpy(out.data, in.data, in.bytes()); });
            },
            [this](Queue) { return Event(std::make_shared<Mark>(*this, done_ + queue_.size())); }};
  }
  void after(std::function<void()> work) { queue_.push_back(std::move(work)); }
  void run(std::size_t until) {
    for (; done_ < until; ++done_) {
      queue_.front()();
      queue_.pop_front();
    }
  }
  void finish() { run(done_ + queue_.size()); }
  int allocations = 0;

 private:
  struct Mark final : Event::State {
    Mark(LateDevice& d, std::size_t p) : device(d), position(p) {}
    bool test() override { return device.done_ >= position; }
    void wait() override { device.run(position); }
    LateDevice& device;
    std::size_t position;
  };
  std::deque<std::function<void()>> queue_;
  std::size_t done_ = 0;
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
    const auto group = make_staged_group(world.group(all, 0, "all"), device.staging());
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
    // The copy back of the first waits in the queue; receiving makes no work in it that would run it.
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
    const auto c = make_staged_group(world.group({0}, 0, "all"), std::move(staging));
    Tensor out(4, 7), in(4);
    bool computed = false;
    device.after([&] { computed = true; });
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
