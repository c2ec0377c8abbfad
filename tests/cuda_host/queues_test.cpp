// Queues of the CUDA backend: work in one waits for events of another, and the host waits for none of it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "tests/cuda_host/emulation.hpp"
#include "tests/cuda_host/small_backend.hpp"

namespace banyan::kernels::test {
namespace {

using std::int64_t;

constexpr int64_t kCount = 1000;

/// So many floats of pinned host memory or of the device.
class Floats {
 public:
  Floats(SmallCudaBackend& backend, MemoryKind kind) : backend_(backend), kind_(kind) {
    p_ = kind == MemoryKind::kHost ? backend.allocate_host(kCount * 4) : backend.allocate(kCount * 4);
  }
  ~Floats() { kind_ == MemoryKind::kHost ? backend_.release_host(p_, kCount * 4) : backend_.release(p_, kCount * 4); }
  Floats(const Floats&) = delete;
  Floats& operator=(const Floats&) = delete;
  View view() const { return View(static_cast<std::byte*>(p_), DType::kF32, {kCount}, kind_); }

 private:
  SmallCudaBackend& backend_;
  MemoryKind kind_;
  void* p_;
};

TEST(CudaOnHostQueues, ACopyWaitsForWhatComputesAndTheHostForNeither) {
  emu::reset();
  SmallCudaBackend backend;
  const Floats in(backend, MemoryKind::kHost), x(backend, MemoryKind::kDevice), out(backend, MemoryKind::kHost);
  std::fill_n(in.view().as<float>(), kCount, 3.0f);
  std::fill_n(out.view().as<float>(), kCount, -1.0f);
  const std::uint64_t waits = emu::host_waits();
  backend.copy({}, x.view(), in.view());
  backend.scale({}, x.view(), 2.0f);
  const Queue copies = backend.to_host();
  EXPECT_NE(copies.handle, nullptr);
  backend.wait(copies, backend.record({}));
  backend.copy(copies, out.view(), x.view());
  Event there = backend.record(copies);
  // What computes goes on beside the copy, with other memory.
  const Floats y(backend, MemoryKind::kDevice);
  backend.fill_zero({}, y.view());
  EXPECT_EQ(emu::host_waits(), waits);
  if (emu::seed() == 0) {  // streams as late as possible
    EXPECT_EQ(out.view().as<float>()[0], -1.0f);
  }
  there.wait();
  EXPECT_EQ(std::count(out.view().as<float>(), out.view().as<float>() + kCount, 6.0f), kCount);
  backend.synchronize({});
  EXPECT_EQ(emu::reports(), "");
}

TEST(CudaOnHostQueues, WhatComputesWaitsForACopy) {
  emu::reset();
  SmallCudaBackend backend;
  const Floats in(backend, MemoryKind::kHost), x(backend, MemoryKind::kDevice), out(backend, MemoryKind::kHost);
  std::fill_n(in.view().as<float>(), kCount, 3.0f);
  const std::uint64_t waits = emu::host_waits();
  backend.copy(backend.to_device(), x.view(), in.view());
  backend.wait({}, backend.record(backend.to_device()));
  backend.scale({}, x.view(), 2.0f);
  backend.copy({}, out.view(), x.view());
  EXPECT_EQ(emu::host_waits(), waits);
  backend.synchronize({});
  EXPECT_EQ(std::count(out.view().as<float>(), out.view().as<float>() + kCount, 6.0f), kCount);
  EXPECT_EQ(emu::reports(), "");
}

/// A message that the host moves: complete when somebody has waited for it.
struct Message final : Event::State {
  explicit Message(bool& waited) : waited_(waited) {}
  bool test() override { return waited_; }
  void wait() override { waited_ = true; }
  bool& waited_;
};

TEST(CudaOnHostQueues, TheHostWaitsForWhatNoStreamKnows) {
  emu::reset();
  SmallCudaBackend backend;
  bool waited = false;
  backend.wait({}, Event(std::make_shared<Message>(waited)));
  EXPECT_TRUE(waited);
  // Afterwards events of streams are the host's again.
  const Floats x(backend, MemoryKind::kDevice);
  backend.fill_zero({}, x.view());
  Event e = backend.record({});
  e.wait();
  EXPECT_TRUE(e.test());
  backend.wait({}, Event());
}

}  // namespace
}  // namespace banyan::kernels::test
