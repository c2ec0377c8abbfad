// Instruction sets: what the processor has, what a file is compiled for.
#pragma once

#include <string>

namespace banyan::kernels::cpu {

enum class Isa { kBaseline, kAvx2, kAvx512, kAvx512Bf16, kAmx };

/// What the including file is compiled for.
constexpr Isa kCompiledIsa =
#if defined(__AVX512BF16__) && defined(__AVX512VL__)
    Isa::kAvx512Bf16;
#elif defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
    Isa::kAvx512;
#elif defined(__AVX2__) && defined(__FMA__)
    Isa::kAvx2;
#else
    Isa::kBaseline;
#endif

/// The best of this processor and operating system.
Isa processor_isa();
const char* name_of(Isa isa);
/// ConfigError when the name is none of "baseline", "avx2", "avx512", "avx512_bf16", "amx".
Isa isa_named(const std::string& name);
/// Cores this process may run on: its affinity mask and, where the kernel sets one, the CPU quota of its cgroup.
int available_cores();

/// Whether matrix products of bf16 run on instructions for them; else operands are widened to fp32.
bool multiplies_bf16(Isa isa);

}  // namespace banyan::kernels::cpu
