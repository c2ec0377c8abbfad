#include "kernels/cpu/cpu_backend.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <dnnl.hpp>
#include <mutex>
#include <optional>

#include "kernels/cpu/attention_scratch.hpp"
#include "kernels/cpu/gemm_packing.hpp"
#include "src/base/error.hpp"

namespace banyan::kernels {
namespace cpu {
namespace {

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

CpuBackend::CpuBackend(const CpuOptions& options) {
  const Isa processor = processor_isa();
  if (processor < compiled_isa())
    throw ConfigError(
        "this program's kernels were compiled for {}, which this processor has not (it has {}); build with "
        "-DBANYAN_CPU_ARCH=x86-64-v3, or run on other nodes",
        name_of(compiled_isa()), name_of(processor));
  isa_ = processor;
  if (!options.max_isa.empty()) {
    isa_ = isa_named(options.max_isa);
    if (processor < isa_)
      throw ConfigError("instruction set {} is asked for, but this processor has only {}", name_of(isa_),
                        name_of(processor));
    if (isa_ < compiled_isa())
      throw ConfigError(
          "the job may use no more than {}, but this program's kernels were compiled for {}; build with "
          "-DBANYAN_CPU_ARCH=x86-64-v3",
          name_of(isa_), name_of(compiled_isa()));
    limit_dnnl(isa_);
  }
  if (options.threads < 0) throw ConfigError("{} threads cannot compute; use 1 or more, or 0 for all", options.threads);
  threads_ = options.threads > 0 ? options.threads : available_cores();
}

std::string CpuBackend::describe() const {
  const dnnl_version_t* v = dnnl_version();
  return fmt::format("cpu: {} thread{}, kernels {}, GEMM {} by oneDNN {}.{}.{}", threads_, threads_ == 1 ? "" : "s",
                     name_of(compiled_isa()), name_of(isa_), v->major, v->minor, v->patch);
}

std::size_t CpuBackend::scratch_bytes() const {
  return attention_scratch_.bytes() + rotary_table_.cos_sin.capacity() * sizeof(float) + gemm_packing_;
}

ScratchBuffer::~ScratchBuffer() { std::free(data_); }

float* ScratchBuffer::floats(std::size_t count) {
  const std::size_t bytes = (count * sizeof(float) + 63) / 64 * 64;
  if (bytes > bytes_) {
    std::free(data_);
    bytes_ = 0;
    data_ = static_cast<float*>(std::aligned_alloc(64, bytes));
    if (!data_)
      throw ConfigError("there is no memory for {} bytes of scratch; use more ranks or a smaller model", bytes);
    bytes_ = bytes;
  }
  return data_;
}

}  // namespace cpu

std::size_t cpu_scratch_bytes(const CpuScratchNeed& need) {
  std::size_t bytes =
      cpu::attention_scratch_floats(need.head_size) * sizeof(float) * static_cast<std::size_t>(need.threads);
  bytes += static_cast<std::size_t>(need.rotary_positions) * static_cast<std::size_t>(need.head_size) * sizeof(float);
  std::size_t packing = 0;
  for (const auto& [m, n, k] : need.gemms) packing = std::max(packing, cpu::gemm_packing_bytes(m, n, k, need.threads));
  return bytes + packing;
}

std::unique_ptr<Backend> make_cpu_backend(const CpuOptions& options) {
  return std::make_unique<cpu::CpuBackend>(options);
}

int available_cores() { return cpu::available_cores(); }

std::string cpu_isa() { return cpu::name_of(cpu::processor_isa()); }

}  // namespace banyan::kernels
