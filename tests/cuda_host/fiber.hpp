// Threads of a launch as fibers of one operating system thread (Boost.Context): a switch costs some ten nanoseconds and
// can be put anywhere.
#pragma once

#include <boost/context/detail/fcontext.hpp>
#include <cstddef>

namespace emu {

struct Fiber {
  boost::context::detail::fcontext_t context = nullptr;
  char* stack = nullptr;
  std::size_t stack_bytes = 0;
  void* fake_stack = nullptr;  ///< AddressSanitizer's
  void* tsan = nullptr;        ///< ThreadSanitizer's
};

/// Gives the fiber a stack with a guard page below it; main runs at its first switch and never returns.
void make_fiber(Fiber& fiber, void (*main)());
/// From the scheduler into a fiber, until it yields.
void switch_to(Fiber& fiber);
/// From a fiber back to the scheduler.
void yield_from(Fiber& fiber);

}  // namespace emu
