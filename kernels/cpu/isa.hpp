// Which instruction sets the kernels were compiled for and which the processor has.
#pragma once

#include <string>

namespace banyan::kernels::cpu {

enum class Isa { kBaseline, kAvx2, kAvx512, kAvx512Bf16, kAmx };

/// What the including file is compiled for; kernels/cpu is compiled with BANYAN_CPU_ARCH.
constexpr Isa compiled_isa() {
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__)
  return Isa::kAvx512;
#elif defined(__AVX2__) && defined(__FMA__)
  return Isa::kAvx2;
#else
  return Isa::kBaseline;
#endif
}

/// The best of this processor and operating system.
Isa processor_isa();
const char* name_of(Isa isa);
/// ConfigError when the name is none of "avx2", "avx512", "avx512_bf16", "amx".
Isa isa_named(const std::string& name);
/// Cores this process may run on: its affinity mask and, where the kernel sets one, the CPU quota of its cgroup.
int available_cores();

}  // namespace banyan::kernels::cpu
