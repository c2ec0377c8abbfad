// One case of an operation on the CUDA backend.
#pragma once

#include <gtest/gtest.h>

#include "tests/cuda_host/emulation.hpp"
#include "tests/kernels/op_cases.hpp"

namespace banyan::kernels::test {

/// Expects what the double-precision reference and the CPU backend compute, the same to the bit when run again at other
/// addresses, inputs untouched, and no complaint of the layer.
inline void expect_right(Backend& backend, const OpCase& c) {
  emu::reset();
  const Values before = c.initial();
  Values want = before;
  c.reference(want);
  Bound first(c.tensors, before, 0, &backend), again(c.tensors, before, 3, &backend), on_cpu(c.tensors, before);
  c.run(backend, first);
  c.run(backend, again);
  c.run(*make_cpu_backend({.threads = 1, .max_isa = ""}), on_cpu);
  for (const TensorSpec& t : c.tensors) {
    if (t.role == Role::kIn) {
      EXPECT_EQ(first.bytes(t.name), Bound(c.tensors, before).bytes(t.name)) << t.name << " is an input";
      continue;
    }
    EXPECT_LE(error_of(first.read(t.name), want[t.name]), c.tolerance) << t.name;
    EXPECT_LE(error_of(first.read(t.name), on_cpu.read(t.name)), 2 * c.tolerance) << t.name << " on the CPU";
    EXPECT_EQ(first.bytes(t.name), again.bytes(t.name)) << t.name << " differs when computed again, at other addresses";
  }
  EXPECT_EQ(emu::reports(), "");
}

}  // namespace banyan::kernels::test
