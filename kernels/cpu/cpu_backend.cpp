#include "kernels/cpu/cpu_backend.hpp"

#include <dnnl.h>
#include <fmt/format.h>

#include <cstdlib>

#include "src/base/error.hpp"

namespace banyan::kernels::cpu {

std::string CpuBackend::describe() const {
  const dnnl_version_t* v = dnnl_version();
  return fmt::format("cpu: {} thread{}, kernels {}, GEMM {} by oneDNN {}.{}.{}", threads_, threads_ == 1 ? "" : "s",
                     name_of(kCompiledIsa), name_of(gemm_), v->major, v->minor, v->patch);
}

std::size_t CpuBackend::scratch_bytes() const {
  return attention_scratch_.bytes() + bf16_scratch_.bytes() + narrow_left_.bytes() + narrow_right_.bytes() +
         rotary_table_.cos_sin.capacity() * sizeof(float) + gemm_packing_;
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

}  // namespace banyan::kernels::cpu

// The one name that this file's object shows: it is compiled once for every instruction set.
extern "C" banyan::kernels::Backend* BANYAN_MAKE_BACKEND(int threads, banyan::kernels::cpu::Isa gemm) {
  return new banyan::kernels::cpu::CpuBackend(threads, gemm);
}
