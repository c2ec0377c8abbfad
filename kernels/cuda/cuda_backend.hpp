// The CUDA backend: operations are kernels in one compute stream, started and not waited for.  The kernels of a family
// are in its .cu file (ops.hpp lists them); ops.cpp checks what they are given.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/backend.hpp"
#include "kernels/cuda/device_arena.hpp"
#include "kernels/cuda/ops.hpp"
#include "kernels/cuda/products.hpp"
#include "kernels/cuda/runtime.hpp"
#include "kernels/gpu.hpp"

namespace banyan::kernels::cpu::attention {
template <class T>
struct Problem;
}

namespace banyan::kernels::cuda {

struct AttentionSizes;
struct SingleQueries;

struct CudaOptions {
  int device = 0;   ///< number of the GPU
  int sharers = 1;  ///< processes that compute with it
  std::size_t products = kCudaProducts;
  std::size_t workspace = kCudaWorkspace;  ///< partial sums of columns, chains of equal tokens
  std::size_t staging = kCudaStaging;      ///< on either side; a quarter holds what one call sends
  std::size_t numbers = 4096;              ///< that can be asked for between two waits
};

class CudaBackend : public DeviceBackend {
 public:
  explicit CudaBackend(const CudaOptions& options);

  std::string describe() const override;
  std::size_t scratch_bytes() const override;

  void* allocate(std::size_t bytes) override;
  void release(void* p, std::size_t bytes) override;
  void* allocate_host(std::size_t bytes) override;
  void release_host(void* p, std::size_t bytes) override;
  Queue to_host() override { return {to_host_.get()}; }
  Queue to_device() override { return {to_device_.get()}; }
  std::size_t free_memory() override;
  std::shared_ptr<const void> reserve(std::size_t bytes) override;
  std::shared_ptr<const void> beside() override;
  std::string choices() const override { return products_.table(); }
  bool recall(std::string_view choices) override { return products_.recall(choices); }
  int number() const override { return device_.number(); }
  int sharers() const override { return sharers_; }
  void* native(Queue q) override { return stream(q); }
  void accompany(DeviceCompany company) override;
  void copy(Queue q, View out, ConstView in) override;
  void fill_zero(Queue q, View out) override;
  Event record(Queue q) override;
  void wait(Queue q, Event e) override;
  void synchronize(Queue q) override;

  void embedding_forward(Queue q, View out, ConstView tokens, ConstView table, std::int64_t vocab_begin) override;
  void embedding_backward(Queue q, View d_table, ConstView tokens, ConstView d_out, std::int64_t vocab_begin) override;
  void position_forward(Queue q, View x, ConstView position, ConstView table) override;

  void layernorm_forward(Queue q, View out, View mean, View rstd, ConstView x, ConstView weight, ConstView bias,
                         float eps) override;
  void layernorm_backward(Queue q, View d_x, View d_weight, View d_bias, ConstView d_out, ConstView x, ConstView weight,
                          ConstView mean, ConstView rstd) override;
  void rmsnorm_forward(Queue q, View out, View rstd, ConstView x, ConstView weight, float eps) override;
  void rmsnorm_backward(Queue q, View d_x, View d_weight, ConstView d_out, ConstView x, ConstView weight,
                        ConstView rstd) override;
  void gemm(Queue q, const Gemm& g) override;
  void gemm_gelu(Queue q, const Gemm& g, View active) override;
  void gemm_gelu_backward(Queue q, const Gemm& g, ConstView x) override;
  void gemm_bias_backward(Queue q, const Gemm& g, View d_bias) override;
  void from_bf16(Queue q, View out, ConstView in) override;
  void narrow(Queue q, View out, ConstView in) override;
  void bias_backward(Queue q, View d_bias, ConstView d_out) override;

  void rotary(Queue q, View x, ConstView position, int head_size, float theta, bool inverse) override;

  /// Heads of up to kMostHeadSize channels; dropout.channel0 a multiple of 4.
  void attention_forward(Queue q, View out, View lse, ConstView query, ConstView key, ConstView value,
                         const Attention& a) override;
  void attention_backward(Queue q, View d_query, View d_key, View d_value, ConstView d_out, ConstView query,
                          ConstView key, ConstView value, ConstView out, ConstView lse, const Attention& a) override;

  void gelu_forward(Queue q, View out, ConstView x) override;
  void gelu_backward(Queue q, View d_x, ConstView d_out, ConstView x) override;
  void swiglu_forward(Queue q, View out, ConstView gate, ConstView up) override;
  void swiglu_backward(Queue q, View d_gate, View d_up, ConstView d_out, ConstView gate, ConstView up) override;

  void dropout(Queue q, View out, ConstView x, const Dropout& d) override;
  void add(Queue q, View out, ConstView a, ConstView b) override;

  void cross_entropy_stats(Queue q, View max, View sum, View target, ConstView logits, ConstView targets,
                           std::int64_t vocab_begin, std::int64_t valid) override;
  void cross_entropy_rescale(Queue q, View sum, ConstView local_max, ConstView global_max) override;
  void cross_entropy_loss(Queue q, View loss, View lse, ConstView max, ConstView sum, ConstView target,
                          ConstView targets) override;
  void cross_entropy_backward(Queue q, View logits, ConstView lse, ConstView targets, std::int64_t vocab_begin,
                              std::int64_t valid, float scale) override;

  void adamw(Queue q, View param, ConstView grad, View m, View v, const kernels::AdamW& h) override;
  Number sum_squares(Queue q, ConstView x) override;
  Number sum(Queue q, ConstView x) override;
  bool all_finite(Queue q, ConstView x) override;
  void scale(Queue q, View x, float factor) override;
  void reduce(Queue q, View out, ConstView a, ConstView b, ReduceOp op) override;

  /// The algorithms of matrix products.
  Products& products() { return products_; }

 protected:
  /// The stream behind a queue; the compute stream for the default one.  Its device is this thread's from here on.
  cudaStream_t stream(Queue q) const;
  /// The workspace, for one operation in the compute stream, which alone may use it.
  Workspace workspace(Queue q, const char* operation, std::size_t bytes);

 private:
  void gemm_narrow(Queue q, const Gemm& g);
  /// gemm() by cuBLASLt and what Products::Epilogue says, into `beside` or out of it.  False, with nothing done, where
  /// that needs an operation of its own.
  bool multiply(Queue q, const Gemm& g, Products::Epilogue epilogue, View beside);
  /// attention_forward() without dropout where no sequence has more than one query.  False, with nothing done, where
  /// the workspace is too small for that.
  template <class T>
  bool attend_single(Queue q, T* out, float* lse, const cpu::attention::Problem<T>& p, const SingleQueries& single,
                     const AttentionSizes& z);
  void look_up_narrow(Queue q, View out, ConstView tokens, ConstView table, std::int64_t vocab_begin);
  Number total(Queue q, const char* operation, ConstView x, cuda::Sum what);
  /// Gives the numbers that were asked for their values, once the compute stream has been waited for.
  void deliver_numbers();

  bool pinned(const void* p) const;
  /// Before the device is asked to release memory, which waits for all that it does.
  void let_go();

  const Device device_;
  const int sharers_;
  DeviceCompany company_;
  std::map<std::uintptr_t, std::size_t> pinned_;  ///< what allocate_host gave, by address
  std::vector<DeviceArena*> arenas_;              ///< in the order of reserve()
  int beside_ = 0;                                ///< how often beside() lives
  std::shared_ptr<EventPool> events_ = std::make_shared<EventPool>();
  Stream compute_, to_host_, to_device_;
  Memory workspace_;
  Staging staging_;
  Products products_;
  // What total() was asked for since the last wait: number i is double i of both arrays.
  Memory numbers_device_, numbers_host_;
  std::vector<std::shared_ptr<double>> numbers_;
  // Of rotary(): what the turns were made for.
  Memory turns_;
  int turns_head_size_ = 0;
  float turns_theta_ = 0;
};

}  // namespace banyan::kernels::cuda
