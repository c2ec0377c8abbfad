#include "kernels/cpu/dispatch.hpp"

#include <algorithm>
#include <dnnl.hpp>
#include <iterator>
#include <mutex>
#include <optional>

#include "kernels/cpu/attention_scratch.hpp"
#include "kernels/cpu/gemm_packing.hpp"
#include "src/base/error.hpp"

// What the objects of the versions show (CMakeLists.txt, cpu_backend.cpp).
#if defined(__x86_64__)
extern "C" banyan::kernels::Backend* banyan_make_avx2_backend(int threads, banyan::kernels::cpu::Isa gemm);
extern "C" banyan::kernels::Backend* banyan_make_avx512_backend(int threads, banyan::kernels::cpu::Isa gemm);
extern "C" banyan::kernels::Backend* banyan_make_avx512_bf16_backend(int threads, banyan::kernels::cpu::Isa gemm);
#else
extern "C" banyan::kernels::Backend* banyan_make_baseline_backend(int threads, banyan::kernels::cpu::Isa gemm);
#endif

namespace banyan::kernels {
namespace cpu {
namespace {

struct Version {
  Isa isa;
  Backend* (*make)(int threads, Isa gemm);
};
constexpr Version kVersions[] = {
#if defined(__x86_64__)
    {Isa::kAvx2, banyan_make_avx2_backend},
    {Isa::kAvx512, banyan_make_avx512_backend},
    {Isa::kAvx512Bf16, banyan_make_avx512_bf16_backend},
#else
    {Isa::kBaseline, banyan_make_baseline_backend},
#endif
};

dnnl::cpu_isa dnnl_isa(Isa isa) {
  switch (isa) {
    case Isa::kAmx:
      return dnnl::cpu_isa::avx512_core_amx;
    case Isa::kAvx512Bf16:
      return dnnl::cpu_isa::avx512_core_bf16;
    case Isa::kAvx512:
      return dnnl::cpu_isa::avx512_core;
    default:
      return dnnl::cpu_isa::avx2;
  }
}

/// oneDNN fixes its instruction set for the whole process at the first use; a second wish must be the same.
void limit_dnnl(Isa isa) {
  static std::mutex mutex;
  static std::optional<Isa> limit;
  const std::lock_guard lock(mutex);
  if (limit == isa) return;
  if (limit)
    throw ConfigError("this process already computes with {}; all its ranks must use the same", name_of(*limit));
  if (dnnl::set_max_cpu_isa(dnnl_isa(isa)) != dnnl::status::success)
    throw BugError("oneDNN was used before its instruction set could be limited to {}", name_of(isa));
  limit = isa;
}

}  // namespace

std::vector<Isa> compiled_isas() {
  std::vector<Isa> isas;
  for (const Version& v : kVersions) isas.push_back(v.isa);
  return isas;
}

std::unique_ptr<Backend> make_backend(Isa kernels, Isa gemm, int threads) {
  for (const Version& v : kVersions)
    if (v.isa == kernels) return std::unique_ptr<Backend>(v.make(threads, gemm));
  throw BugError("there are no kernels compiled for {}", name_of(kernels));
}

}  // namespace cpu

std::size_t cpu_scratch_bytes(const CpuScratchNeed& need) {
  std::size_t bytes = (cpu::attention_scratch_floats(need.head_size) +
                       cpu::attention_sum_floats(need.activations, need.head_size, need.keys)) *
                      sizeof(float) * static_cast<std::size_t>(need.threads);
  cpu::QueryParts parts(need.heads, need.head_size);
  if (need.single_queries > 0) parts.take(need.single_queries, need.cached_keys);
  bytes += parts.floats(need.threads) * sizeof(float);
  bytes += static_cast<std::size_t>(need.rotary_positions) * static_cast<std::size_t>(need.head_size) * sizeof(float);
  std::size_t packing = 0;
  for (const auto& [m, n, k] : need.gemms) {
    packing = std::max(packing, cpu::gemm_packing_bytes(m, n, k, need.threads));
    if (need.activations == DType::kBF16) packing = std::max(packing, cpu::bf16_packing_bytes(m, n, k, need.threads));
  }
  return bytes + packing;
}

std::unique_ptr<Backend> make_cpu_backend(const CpuOptions& options) {
  using namespace cpu;
  const Isa processor = processor_isa(), least = kVersions[0].isa;
  if (processor < least)
    throw ConfigError("this program computes with {}, which this processor has not (it has {}); run on other nodes",
                      name_of(least), name_of(processor));
  Isa isa = processor;
  if (!options.max_isa.empty()) {
    isa = isa_named(options.max_isa);
    if (processor < isa)
      throw ConfigError("instruction set {} is asked for, but this processor has only {}", name_of(isa),
                        name_of(processor));
    if (isa < least)
      throw ConfigError(
          "the job may use no more than {}, but this program computes with {} at least; run on other nodes",
          name_of(isa), name_of(least));
    if (isa > Isa::kBaseline) limit_dnnl(isa);
  }
  if (options.threads < 0) throw ConfigError("{} threads cannot compute; use 1 or more, or 0 for all", options.threads);
  // The richest version that all of the job can run.
  const auto version =
      std::find_if(std::rbegin(kVersions), std::rend(kVersions), [&](const Version& v) { return v.isa <= isa; });
  return make_backend(version->isa, isa, options.threads > 0 ? options.threads : cpu::available_cores());
}

int available_cores() { return cpu::available_cores(); }

std::string cpu_isa() { return cpu::name_of(cpu::processor_isa()); }

}  // namespace banyan::kernels
