// The one seam between the model and the hardware.  Above this file nothing knows the device; kernels/cpu (and later
// kernels/cuda) are reached only through it.
//
// Rules for every operation:
//   - Tensors live on this device and are contiguous, except that the rows of a matrix may be strided where the
//     operation says "strided".  Tensors are distinct unless it says "may alias".
//   - Operations given to one Queue run in call order.  On CPU they are finished when the call returns.
//   - Whether an output is overwritten (=) or accumulated into (+=) is part of the operation.
//   - Results do not depend on time, on other ranks or on memory addresses; for a fixed number of threads they are
//     the same to the bit.
//   - Activations (x, out, gradients of them, logits, queries, keys, values, an embedding's rows) are f32 or bf16, all
//     of a call alike; what is computed from them is computed in fp32.  Everything else is f32 but for what says so:
//     weights and biases of norms, statistics, losses, tables of positions, gradients of parameters.
//   - A shape that does not fit is a BugError: callers have checked what users can get wrong.
// Letters: R rows (tokens of a microbatch, all sequences laid end to end)  C channels  F feed-forward channels
//          V vocabulary  H query heads  G key/value heads  D head size  S sequences  T positions
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "src/base/queue.hpp"
#include "src/base/view.hpp"

namespace banyan::kernels {

/// Where the mask bits of a dropout come from: bit(row r, channel c) = f(key, sample[r], position[r], channel0 + c).
/// Kept values are multiplied by 1/(1-p).  p = 0 means no dropout and nothing else is read.
struct Dropout {
  float p = 0;
  std::uint64_t key = 0;                     ///< rng::stream_key(seed, purpose, layer, step)
  std::span<const std::int64_t> sample;      ///< R: global sample number of each row
  std::span<const std::int32_t> position;    ///< R: position of each row in its sample
  std::int64_t channel0 = 0;                 ///< global number of the first channel here (tensor parallelism)
};

/// Weights [N,K] that are only read may be narrow: bf16, or i8 with a scale (f32) for every kScaleGroup columns of a row.
/// The scales of a row lie behind its integers, from the next multiple of four bytes on; the view says K columns and a
/// row stride of narrow_row_bytes(kI8, K).  A value is integer * scale.
inline constexpr std::int64_t kScaleGroup = 64;
constexpr std::int64_t narrow_row_bytes(DType dtype, std::int64_t columns) {
  if (dtype != DType::kI8) return columns * static_cast<std::int64_t>(size_of(dtype));
  return (columns + 3) / 4 * 4 + (columns + kScaleGroup - 1) / kScaleGroup * 4;
}

/// c[M,N] (=|+=) alpha * op(a) * op(b) (+ bias[N] on every row).  a, b, c: strided.  a and b are both f32 or both bf16;
/// with bf16, sums are in fp32 and c is bf16, which nothing accumulates into, or f32, which takes no bias.
/// op(a) is a [M,K], or a^T of a [K,M] when transpose_a; the same for b [K,N] / [N,K].
/// A narrow b meets an f32 a, too: only in  c = a b^T (+ bias)  with f32 c and alpha 1.  Where many rows meet it, a may
/// be rounded to bf16.
struct Gemm {
  View c;
  ConstView a, b;
  bool transpose_a = false, transpose_b = false;
  bool accumulate = false;   ///< += instead of =
  float alpha = 1;
  ConstView bias;            ///< empty or [N]; never together with accumulate
};

/// Keys and values in fixed-size blocks, for generation: row j of sequence s is row j % block_size of block
/// table[s * blocks_per_sequence + j / block_size] of k and v (which are then [blocks * block_size, G*D]).
struct KvBlocks {
  std::span<const std::int32_t> table;       ///< S * blocks_per_sequence; empty: keys are rows given by kv_offsets
  std::int32_t blocks_per_sequence = 0;
  std::int32_t block_size = 0;
};

/// Causal grouped-query attention over packed sequences.
struct Attention {
  int heads = 0, kv_heads = 0, head_size = 0;    ///< on this rank
  float scale = 1;                               ///< usually 1/sqrt(head_size)
  std::span<const std::int32_t> q_offsets;       ///< S+1: query rows of sequence s are [q_offsets[s], q_offsets[s+1])
  std::span<const std::int32_t> kv_offsets;      ///< S+1: key rows of sequence s; with blocks only the lengths count
  std::span<const std::int32_t> q_position;      ///< S: position of a sequence's first query; query i of the sequence
                                                 ///< sees keys j <= q_position + i
  KvBlocks blocks;
  Dropout dropout;        ///< on the probabilities; sample/position are those of the query row, channel is
                          ///< channel0 + head * 2^20 + key position   (channel0 = first global head * 2^20)
};

struct AdamW {
  float lr, beta1, beta2, eps, weight_decay;   ///< decoupled decay (Loshchilov & Hutter, ICLR'19, algorithm 2)
  std::int64_t step;                           ///< 1 for the first update; bias correction uses it
  float grad_scale;                            ///< multiplies the gradient first (clipping)
  View rounded = {};                           ///< bf16, like the parameter: what it is afterwards; may be empty
};

enum class ReduceOp : std::uint8_t { kSum, kMax, kMin };

/// A number that the device computes: right once the queue that it was asked of has been synchronized, so that one wait
/// is enough for many.  On CPU it is at once.
using Number = std::shared_ptr<const double>;

class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string describe() const = 0;   ///< one line: device, instruction set, threads, library versions
  virtual MemoryKind memory_kind() const = 0;
  /// Whether products of bf16 matrices have instructions of their own; else they are widened, which takes longer than
  /// products of f32.
  virtual bool multiplies_bf16() const { return true; }
  /// Bytes beside the caller's arrays that the operations called so far needed at a time: tiles, tables, packing.
  virtual std::size_t scratch_bytes() const { return 0; }

  // ---- memory, queues, events
  /// 64-byte aligned, not initialised.  ConfigError saying how much was asked for when there is not enough.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* p, std::size_t bytes) = 0;
  virtual void copy(Queue q, View out, ConstView in) = 0;        ///< same count and dtype; strided; any memory kinds
  virtual void fill_zero(Queue q, View out) = 0;                 ///< strided
  virtual Event record(Queue q) = 0;
  virtual void wait(Queue q, Event e) = 0;                       ///< later work of q runs after e
  virtual void synchronize(Queue q) = 0;

  // ---- in the order a transformer block uses them
  /// out[r] = table[tokens[r] - vocab_begin], or zero where that row is not in table [V,C] (another rank has it).  The
  /// table may be narrow.
  virtual void embedding_forward(Queue q, View out_RC, ConstView tokens_R, ConstView table_VC, std::int64_t vocab_begin) = 0;
  /// d_table[tokens[r] - vocab_begin] += d_out[r].
  virtual void embedding_backward(Queue q, View d_table_VC, ConstView tokens_R, ConstView d_out_RC, std::int64_t vocab_begin) = 0;
  /// x[r] += table[position[r]];  backward is embedding_backward with positions as tokens.
  virtual void position_forward(Queue q, View x_RC, ConstView position_R, ConstView table_TC) = 0;

  /// out = (x - mean) / sqrt(var + eps) * weight + bias.  Saves mean and 1/std per row.
  virtual void layernorm_forward(Queue q, View out_RC, View mean_R, View rstd_R, ConstView x_RC, ConstView weight_C,
                                 ConstView bias_C, float eps) = 0;
  /// d_x +=, d_weight +=, d_bias +=.
  virtual void layernorm_backward(Queue q, View d_x_RC, View d_weight_C, View d_bias_C, ConstView d_out_RC, ConstView x_RC,
                                  ConstView weight_C, ConstView mean_R, ConstView rstd_R) = 0;
  /// out = x / sqrt(mean(x^2) + eps) * weight.  Saves 1/rms per row.
  virtual void rmsnorm_forward(Queue q, View out_RC, View rstd_R, ConstView x_RC, ConstView weight_C, float eps) = 0;
  /// d_x +=, d_weight +=.
  virtual void rmsnorm_backward(Queue q, View d_x_RC, View d_weight_C, ConstView d_out_RC, ConstView x_RC, ConstView weight_C,
                                ConstView rstd_R) = 0;

  virtual void gemm(Queue q, const Gemm& g) = 0;
  // A product and what comes right before or behind it.  As written here where a device has nothing better; where it has
  // (cuBLASLt's epilogues), what follows the product may meet its sums before they are rounded to bf16.
  /// gemm(g) without `accumulate`, then gelu_forward(active, g.c).
  virtual void gemm_gelu(Queue q, const Gemm& g, View active) {
    gemm(q, g);
    gelu_forward(q, active, g.c);
  }
  /// gemm(g) without `accumulate` and bias, then gelu_backward(g.c, g.c, x).
  virtual void gemm_gelu_backward(Queue q, const Gemm& g, ConstView x) {
    gemm(q, g);
    gelu_backward(q, g.c, g.c, x);
  }
  /// gemm(g) that makes the gradient of weights: g.a is d_out, transposed; and bias_backward(d_bias, g.a).
  virtual void gemm_bias_backward(Queue q, const Gemm& g, View d_bias) {
    bias_backward(q, d_bias, g.a);
    gemm(q, g);
  }
  /// out [N,K] = in [N,K] rounded: to bf16, to nearest and ties to even, or to i8 with scales of largest / 127.  Contiguous
  /// but for what i8 keeps behind its rows.
  virtual void narrow(Queue q, View out_NK, ConstView in_NK) = 0;
  /// out (f32) = in (bf16).  Contiguous, equal counts.
  virtual void from_bf16(Queue q, View out, ConstView in) = 0;
  /// d_bias[C] += sum over rows of d_out.  d_out strided.
  virtual void bias_backward(Queue q, View d_bias_C, ConstView d_out_RC) = 0;

  /// Rotates pairs (i, i + D/2) of every head of x [R, heads*D] (strided, in place) by angle
  /// position[r] * theta^(-2i/D); inverse = true rotates back, which is the backward pass.  (RoFormer, section 3.4.2,
  /// in the half-split order that Hugging Face's Llama uses.)
  virtual void rotary(Queue q, View x_RHD, ConstView position_R, int head_size, float theta, bool inverse) = 0;

  /// out [R,H*D], lse [H,R] (log-sum-exp of each query's scores), q [R,H*D], k and v [rows,G*D]; q, k, v: strided.
  virtual void attention_forward(Queue q, View out, View lse, ConstView query, ConstView key, ConstView value,
                                 const Attention& a) = 0;
  /// d_q, d_k, d_v =  (strided, like q, k, v).  Not with blocks.
  virtual void attention_backward(Queue q, View d_query, View d_key, View d_value, ConstView d_out, ConstView query,
                                  ConstView key, ConstView value, ConstView out, ConstView lse, const Attention& a) = 0;

  /// out = x * gelu_tanh(x)' s forward: 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
  virtual void gelu_forward(Queue q, View out_RF, ConstView x_RF) = 0;
  /// d_x = d_out * gelu'(x); d_x may alias d_out.
  virtual void gelu_backward(Queue q, View d_x_RF, ConstView d_out_RF, ConstView x_RF) = 0;
  /// out = silu(gate) * up.  gate, up: strided.
  virtual void swiglu_forward(Queue q, View out_RF, ConstView gate_RF, ConstView up_RF) = 0;
  /// d_gate =, d_up = (strided).
  virtual void swiglu_backward(Queue q, View d_gate_RF, View d_up_RF, ConstView d_out_RF, ConstView gate_RF,
                               ConstView up_RF) = 0;

  /// out = dropout(x); may alias.  The backward pass is the same call on the gradient.
  virtual void dropout(Queue q, View out_RC, ConstView x_RC, const Dropout& d) = 0;
  /// out = a + b; may alias either.
  virtual void add(Queue q, View out, ConstView a, ConstView b) = 0;

  // ---- loss over a vocabulary that may be split over ranks: local statistics, combined by the caller, then gradients
  /// Over the first `valid` columns: max_R = max, sum_R = sum exp(logit - max), target_R = logit of targets[r] -
  /// vocab_begin if that column is here else 0.  targets [R] i32; negative: ignored row (target 0).
  virtual void cross_entropy_stats(Queue q, View max_R, View sum_R, View target_R, ConstView logits_RV, ConstView targets_R,
                                   std::int64_t vocab_begin, std::int64_t valid) = 0;
  /// sum[r] *= exp(local_max[r] - global_max[r]).
  virtual void cross_entropy_rescale(Queue q, View sum_R, ConstView local_max_R, ConstView global_max_R) = 0;
  /// loss[r] = log(sum) + max - target, 0 for ignored rows; lse[r] = log(sum) + max.
  virtual void cross_entropy_loss(Queue q, View loss_R, View lse_R, ConstView max_R, ConstView sum_R, ConstView target_R,
                                  ConstView targets_R) = 0;
  /// logits = (exp(logit - lse) - [column is target]) * scale, 0 for ignored rows and columns >= valid; in place.
  virtual void cross_entropy_backward(Queue q, View logits_RV, ConstView lse_R, ConstView targets_R, std::int64_t vocab_begin,
                                      std::int64_t valid, float scale) = 0;

  // ---- optimizer, reductions
  /// One pass over flat arrays of equal length; all fp32.
  virtual void adamw(Queue q, View param, ConstView grad, View m, View v, const AdamW& h) = 0;
  /// Sum of squares in double, in an order that depends only on the length.
  virtual Number sum_squares(Queue q, ConstView x) = 0;
  /// Sum in double, in an order that depends only on the length.
  virtual Number sum(Queue q, ConstView x) = 0;
  /// True when every element is finite.  Waits for q.
  virtual bool all_finite(Queue q, ConstView x) = 0;
  virtual void scale(Queue q, View x, float factor) = 0;
  /// out = a op b, element by element; out may be a or b.  Any dtype of f32, bf16, f64, i32, i64.  This is what `comm` is
  /// given.
  virtual void reduce(Queue q, View out, ConstView a, ConstView b, ReduceOp op) = 0;
};

struct CpuOptions {
  int threads = 0;   ///< OpenMP threads of this rank; 0: all cores the process may run on (who starts several ranks on
                     ///< them divides)
  std::string max_isa;  ///< "" or the lowest common instruction set of the job ("avx2", "avx512", "avx512_bf16", "amx")
};
/// What decides the CPU backend's own memory.
struct CpuScratchNeed {
  int threads = 1;
  int head_size = 0;
  std::int64_t rotary_positions = 0;   ///< the longest context, where rotary() is used; else 0
  struct Product {
    std::int64_t m = 0, n = 0, k = 0;  ///< c [m,n], inner extent k
  };
  std::span<const Product> gemms;      ///< the largest matrix products
  DType activations = DType::kF32;
  std::int64_t keys = 0;               ///< of the longest sequence that has a backward pass
  std::int64_t single_queries = 0;     ///< sequences of one query each in a call of attention, as in generation
  std::int64_t heads = 0, cached_keys = 0;  ///< query heads; keys that such a sequence sees at most
};
/// What scratch_bytes() of a CPU backend will reach at most.  Pure, for the memory plan.
std::size_t cpu_scratch_bytes(const CpuScratchNeed& need);
/// The CPU backend.  ConfigError when the processor lacks what the kernels were compiled for.
std::unique_ptr<Backend> make_cpu_backend(const CpuOptions& options);
/// Name of the best instruction set of this processor, in the order of CpuOptions::max_isa ("avx2" < "avx512" < ...).
std::string cpu_isa();
/// Cores this process may run on: its affinity mask and, where there is one, the CPU quota of its cgroup.
int available_cores();

}  // namespace banyan::kernels
