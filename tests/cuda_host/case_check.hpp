// One case of an operation on the CUDA backend.
#pragma once

#include <gtest/gtest.h>

#include "tests/cuda_host/emulation.hpp"
#include "tests/kernels/op_cases.hpp"

namespace banyan::kernels::test {

/// Expects no problem on the device, and no complaint of the layer.
inline void expect_right(Backend& backend, const OpCase& c) {
  emu::reset();
  EXPECT_EQ(problems_on_device(backend, c), "");
  EXPECT_EQ(emu::reports(), "");
}

}  // namespace banyan::kernels::test
