// What a job measures of a device beside its products.
#include "src/job/rates.hpp"

#include <gtest/gtest.h>

#include "tests/cuda_host/emulation.hpp"
#include "tests/cuda_host/small_backend.hpp"

namespace banyan::job {
namespace {

TEST(CudaOnHostRates, CopiesAreMeasuredAndLeaveNothing) {
  emu::reset();
  kernels::test::SmallCudaBackend device;
  const std::size_t before = device.free_memory();
  const std::uint64_t waits = emu::host_waits();
  EXPECT_GT(host_link_rate(device), 1e6);
  EXPECT_EQ(device.free_memory(), before);
  EXPECT_LE(emu::host_waits() - waits, 3u) << "to fill, and to give back two arrays; copies are not waited for";
  EXPECT_EQ(emu::reports(), "");
}

}  // namespace
}  // namespace banyan::job
