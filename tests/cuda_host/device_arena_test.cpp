// Memory of the device in one piece: arrays are parts of it, and what does not fit is refused.
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "src/base/error.hpp"
#include "tests/cuda_host/emulation.hpp"
#include "tests/cuda_host/small_backend.hpp"

namespace banyan::kernels::test {
namespace {

constexpr std::size_t kLines = 40, kBytes = kLines * kDeviceLine;

std::size_t free_bytes(SmallCudaBackend& backend) { return backend.free_memory(); }

TEST(CudaOnHostDeviceArena, GivesPartsOfWhatWasTakenAtOnce) {
  emu::reset();
  SmallCudaBackend backend;
  const std::size_t before = free_bytes(backend);
  auto piece = backend.reserve(kBytes);
  const std::size_t left = free_bytes(backend);
  EXPECT_GE(before - left, kBytes);
  const std::uint64_t calls = emu::memory_calls();
  void* const a = backend.allocate(3 * kDeviceLine);
  void* const b = backend.allocate(1);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(a) % kDeviceLine, 0u);
  EXPECT_EQ(static_cast<std::byte*>(b) - static_cast<std::byte*>(a), static_cast<std::ptrdiff_t>(3 * kDeviceLine));
  const View v(static_cast<std::byte*>(a), DType::kF32, {64}, MemoryKind::kDevice);
  backend.fill_zero({}, v);
  const Number sum = backend.sum({}, v);
  backend.synchronize({});
  EXPECT_EQ(*sum, 0);
  backend.release(a, 3 * kDeviceLine);
  EXPECT_EQ(backend.allocate(2 * kDeviceLine), a) << "the first gap that is large enough";
  backend.release(a, 2 * kDeviceLine);
  backend.release(b, 1);
  EXPECT_EQ(emu::memory_calls(), calls);
  EXPECT_EQ(free_bytes(backend), left);
  piece.reset();
  EXPECT_EQ(free_bytes(backend), before);
  EXPECT_EQ(emu::reports(), "");
}

TEST(CudaOnHostDeviceArena, GapsGrowTogether) {
  emu::reset();
  SmallCudaBackend backend;
  // Every order in which four arrays can go leaves one gap for all.
  for (int order = 0; order < 24; ++order) {
    const auto piece = backend.reserve(4 * kDeviceLine);
    std::vector<void*> arrays;
    for (int i = 0; i < 4; ++i) arrays.push_back(backend.allocate(kDeviceLine));
    for (int left = 4, rest = order; left > 0; rest /= left, --left) {
      const auto next = arrays.begin() + rest % left;
      backend.release(*next, kDeviceLine);
      arrays.erase(next);
    }
    void* const all = backend.allocate(4 * kDeviceLine);
    backend.release(all, 4 * kDeviceLine);
  }
  EXPECT_EQ(emu::reports(), "");
}

TEST(CudaOnHostDeviceArena, WhatDoesNotFitIsRefusedWithTheNumberOfThePlan) {
  SmallCudaBackend backend;
  const auto piece = backend.reserve(kBytes);
  void* const a = backend.allocate(kBytes - kDeviceLine);
  try {
    backend.allocate(kDeviceLine + 1);
    FAIL() << "it was given";
  } catch (const BugError& e) {
    EXPECT_NE(std::string(e.what()).find("says " + std::to_string(kBytes) + " bytes"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("an array needs 257 more"), std::string::npos) << e.what();
  }
  {
    const auto outside = backend.beside();
    void* const b = backend.allocate(kBytes);
    backend.release(b, kBytes);
  }
  EXPECT_THROW(backend.allocate(kBytes), BugError);
  const auto more = backend.reserve(kBytes);
  void* const b = backend.allocate(kBytes);
  backend.release(b, kBytes);
  backend.release(a, kBytes - kDeviceLine);
  try {
    const auto everything = backend.reserve(std::size_t{1} << 50);
    FAIL() << "the device has so much";
  } catch (const ConfigError& e) {
    EXPECT_NE(std::string(e.what()).find("the plan of memory needs 1125899906842624 bytes"), std::string::npos)
        << e.what();
  }
}

}  // namespace
}  // namespace banyan::kernels::test
