// What the kernel says this process has used of memory.
#pragma once

#include <cstdint>

namespace banyan {

/// Highest resident memory so far in bytes (VmHWM); 0 where the kernel does not say.
std::int64_t peak_memory();

}  // namespace banyan
