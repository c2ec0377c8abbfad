#include "tests/cuda_host/fiber.hpp"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>

#include "tests/cuda_host/sanitizers.hpp"

namespace emu {
namespace {

namespace context = boost::context::detail;

/// The one scheduler: the stack that switch_to() was called on.
struct Scheduler {
  context::fcontext_t context = nullptr;
  const void* stack = nullptr;
  std::size_t stack_bytes = 0;
  void* fake_stack = nullptr;
  void* tsan = nullptr;
} scheduler;

void (*fiber_main)() = nullptr;

void first_entry(context::transfer_t from) {
  scheduler.context = from.fctx;
  if (__sanitizer_finish_switch_fiber)
    __sanitizer_finish_switch_fiber(nullptr, &scheduler.stack, &scheduler.stack_bytes);
  fiber_main();
  std::abort();
}

}  // namespace

void make_fiber(Fiber& fiber, void (*main)()) {
  constexpr std::size_t guard = 4096;
  fiber_main = main;
  fiber.stack_bytes = sanitizer::thread() || sanitizer::address() ? 512 << 10 : 128 << 10;
  void* memory = mmap(nullptr, fiber.stack_bytes + guard, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, guard, PROT_NONE) != 0) {
    std::perror("cuda_host: no memory for a fiber's stack");
    std::abort();
  }
  fiber.stack = static_cast<char*>(memory) + guard;
  if (sanitizer::thread()) fiber.tsan = __tsan_create_fiber(0);
  fiber.context = context::make_fcontext(fiber.stack + fiber.stack_bytes, fiber.stack_bytes, first_entry);
}

void switch_to(Fiber& fiber) {
  if (__tsan_get_current_fiber) scheduler.tsan = __tsan_get_current_fiber();
  if (__sanitizer_start_switch_fiber)
    __sanitizer_start_switch_fiber(&scheduler.fake_stack, fiber.stack, fiber.stack_bytes);
  // 1: a switch orders nothing; only barriers, fences and the ends of launches do.
  if (__tsan_switch_to_fiber) __tsan_switch_to_fiber(fiber.tsan, 1);
  fiber.context = context::jump_fcontext(fiber.context, nullptr).fctx;
  if (__sanitizer_finish_switch_fiber) __sanitizer_finish_switch_fiber(scheduler.fake_stack, nullptr, nullptr);
}

void yield_from(Fiber& fiber) {
  if (__sanitizer_start_switch_fiber)
    __sanitizer_start_switch_fiber(&fiber.fake_stack, scheduler.stack, scheduler.stack_bytes);
  if (__tsan_switch_to_fiber) __tsan_switch_to_fiber(scheduler.tsan, 1);
  scheduler.context = context::jump_fcontext(scheduler.context, nullptr).fctx;
  if (__sanitizer_finish_switch_fiber)
    __sanitizer_finish_switch_fiber(fiber.fake_stack, &scheduler.stack, &scheduler.stack_bytes);
}

}  // namespace emu
