// The sanitizers' own interfaces, weak: present where the program is built with the sanitizer.  The layer itself is
// compiled without them and tells them about stacks, fibers, order and memory that may not be touched.
#pragma once

#include <cstddef>

extern "C" {
__attribute__((weak)) void __sanitizer_start_switch_fiber(void**, const void*, std::size_t);
__attribute__((weak)) void __sanitizer_finish_switch_fiber(void*, const void**, std::size_t*);
__attribute__((weak)) void __asan_poison_memory_region(void const volatile*, std::size_t);
__attribute__((weak)) void __asan_unpoison_memory_region(void const volatile*, std::size_t);
__attribute__((weak)) void* __tsan_get_current_fiber();
__attribute__((weak)) void* __tsan_create_fiber(unsigned);
__attribute__((weak)) void __tsan_switch_to_fiber(void*, unsigned);
__attribute__((weak)) void __tsan_acquire(void*);
__attribute__((weak)) void __tsan_release(void*);
}

namespace emu::sanitizer {

inline bool thread() { return __tsan_create_fiber != nullptr; }
inline bool address() { return __asan_poison_memory_region != nullptr; }

inline void acquire(void* p) {
  if (__tsan_acquire) __tsan_acquire(p);
}
inline void release(void* p) {
  if (__tsan_release) __tsan_release(p);
}
inline void forbid(const void* p, std::size_t n) {
  if (__asan_poison_memory_region) __asan_poison_memory_region(p, n);
}
inline void permit(const void* p, std::size_t n) {
  if (__asan_unpoison_memory_region) __asan_unpoison_memory_region(p, n);
}

}  // namespace emu::sanitizer
