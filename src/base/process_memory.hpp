// What the kernel says of memory: what this process has used, what there is.
#pragma once

#include <cstdint>

namespace banyan {

/// Highest resident memory so far in bytes (VmHWM); 0 where the kernel does not say.
std::int64_t peak_memory();

/// Bytes that the processes of this machine, or of the container around this one, can have at most; 0 when not known.
std::int64_t machine_memory();

}  // namespace banyan
