#include "src/plan/block_price.hpp"

#include <algorithm>
#include <cmath>

namespace banyan::plan {
namespace {

using comm::RegularGroup;

double real(std::int64_t n) { return static_cast<double>(n); }
int bytes_of(Precision p) { return p == Precision::kFp32 ? 4 : 2; }

/// Everything the formulas share.
struct Sizes {
  double rows, tensor, width, query, key_value, ffn, wide, heads, head, context, tokens, bytes;
  Sizes(const model::ModelShape& s, const Division& d)
      : rows(real(d.microbatch * s.context) / d.mesh.context),
        tensor(d.mesh.tensor),
        width(real(s.width)),
        query(real(s.heads * s.head_size())),
        key_value(real(s.kv_heads * s.head_size())),
        ffn(real(s.ffn)),
        wide(s.mlp == model::Mlp::kSwiglu ? 2 * real(s.ffn) : real(s.ffn)),
        heads(real(s.heads)),
        head(real(s.head_size())),
        context(real(s.context)),
        tokens(real(d.microbatch * s.context)),
        bytes(bytes_of(d.precision)) {}
};

class Clock {
 public:
  Clock(const Machine& machine, const RankSpeed& speed, int bytes) : machine_(machine), speed_(speed), bytes_(bytes) {}
  /// A linear layer of `rows` rows: out = x W, then dx and dW.
  void linear(Pass& p, double rows, double out, double in) const {
    p.forward += product(rows, out, in);
    p.backward += product(rows, in, out) + product(out, in, rows);
  }
  double product(double m, double n, double k) const { return product_seconds(machine_, speed_, m, n, k, bytes_); }
  double stream(double n) const { return n / speed_.memory_rate + machine_.kernel_seconds; }

 private:
  const Machine& machine_;
  const RankSpeed& speed_;
  int bytes_;
};

/// Scores through memory, both halves of the causal square: two batched products and the passes of a fused
/// scale-mask-softmax and of dropout (Narayanan et al., SC'21, section 4.2).
Pass unfused_attention(const Sizes& z, const Division& d, const Machine& machine, const RankSpeed& speed) {
  const double squares = real(d.microbatch) * z.heads / z.tensor, square = z.context * z.context;
  const double flops = 4 * squares * square * z.head, ceiling = speed.flops * machine.gemm_efficiency;
  // Written by the scores, read and written by softmax and by dropout, read by the weighted sum; a mask of one byte.
  const double traffic = squares * square * (6 * z.bytes + 1);
  Pass p;
  p.forward = std::max(flops / ceiling, 2 * squares * square * z.bytes / speed.memory_rate) +
              (traffic - 2 * squares * square * z.bytes) / speed.memory_rate + 4 * machine.kernel_seconds;
  p.backward = 2 * p.forward;
  return p;
}

/// Scores stay in the processor and the masked half is left out; backward makes five products where forward makes two:
/// T. Dao, "FlashAttention-2", 2023, section 3.
Pass fused_attention(const Sizes& z, const Division& d, const Machine& machine, const RankSpeed& speed) {
  const double flops = 2 * real(d.microbatch) * z.query / z.tensor * z.context * z.context / d.mesh.context;
  const double seconds = flops / (speed.flops * machine.attention_efficiency);
  return {seconds + machine.kernel_seconds, 2.5 * seconds + machine.kernel_seconds};
}

}  // namespace

RankSpeed rank_speed(const Machine& machine, Precision precision, int world) {
  RankSpeed speed{machine.peak(precision), machine.memory_rate};
  if (machine.cores > 0) {
    const int ranks = machine.ranks_per_node > 0 ? std::min(world, machine.ranks_per_node) : world;
    speed.flops *= std::max(1, machine.cores / ranks);  // threads of its own, or one
    speed.memory_rate /= std::min(ranks, machine.cores);
  }
  return speed;
}

double core_turns(const Machine& machine, int world) {
  if (machine.cores < 1) return 1;
  const int ranks = machine.ranks_per_node > 0 ? std::min(world, machine.ranks_per_node) : world;
  return std::max(1.0, static_cast<double>(ranks) / machine.cores);
}

double product_seconds(const Machine& machine, const RankSpeed& speed, double m, double n, double k, int bytes) {
  double filling = 1;
  if (machine.units > 0) {
    const double rows = std::ceil(m / machine.tile_rows), columns = std::ceil(n / machine.tile_columns);
    const double tiles = rows * columns, waves = std::ceil(tiles / machine.units);
    filling = m * n / (machine.tile_rows * machine.tile_columns) / (waves * machine.units);
  }
  const double arithmetic = 2 * m * n * k / (speed.flops * machine.gemm_efficiency * filling);
  const double traffic = bytes * (m * k + k * n + m * n) / speed.memory_rate;
  return std::max(arithmetic, traffic) + machine.kernel_seconds;
}

BlockPrice block_price(const model::ModelShape& s, const Division& d, const Machine& machine) {
  const Sizes z(s, d);
  const RankSpeed speed = rank_speed(machine, d.precision, d.mesh.size());
  const Clock clock(machine, speed, bytes_of(d.precision));
  BlockPrice p;
  const auto linear = [&](double out, double in) {
    clock.linear(p.products, z.rows, out, in);
    p.weights += clock.product(out, in, z.rows);
  };
  linear((z.query + 2 * z.key_value) / z.tensor, z.width);
  linear(z.width, z.query / z.tensor);
  linear(z.wide / z.tensor, z.width);
  linear(z.width, z.ffn / z.tensor);
  p.attention =
      machine.fused_attention ? fused_attention(z, d, machine, speed) : unfused_attention(z, d, machine, speed);

  // Norms read and write, residuals read twice and write, on every tensor rank alike unless the sequence is split;
  // the activation reads its inputs and writes; rotary angles are applied in place.  Backward moves twice as much.
  const double split = d.sequence ? z.tensor : 1;
  const double alike = 2 * (2 + 3) * z.width / split;
  const double rotary = s.position == model::Position::kRotary ? 2 * (z.query + z.key_value) / z.tensor : 0;
  const double moved = z.rows * z.bytes * (alike + (z.wide + z.ffn) / z.tensor + rotary);
  p.streams = {clock.stream(moved) + 4 * machine.kernel_seconds, clock.stream(2 * moved) + 6 * machine.kernel_seconds};

  // Two all-reduces of the residual stream in each direction, or as many reduce-scatters and all-gathers.
  const RegularGroup tensor{d.mesh.tensor, 1}, context{d.mesh.context, d.mesh.tensor};
  const double stream = z.rows * z.width * z.bytes;
  // Of a call in blocks beside a product, what the product's other blocks cannot hide.
  const auto beside = [&](auto&& call, double out, double in) {
    const double n = d.tensor_blocks, one = call(machine.links, tensor, stream / n);
    return std::max(n * one - clock.product(z.rows, out, in) * (n - 1) / n, one);
  };
  const double shown = 1 - machine.hide_tensor;
  const double reductions = 2 * shown *
                            (d.sequence ? comm::tree_reduce_scatter_seconds(machine.links, tensor, stream) +
                                              comm::tree_all_gather_seconds(machine.links, tensor, stream)
                                        : comm::tree_all_reduce_seconds(machine.links, tensor, stream));
  p.tensor = {reductions, reductions};
  if (d.tensor_blocks > 1 && z.tensor > 1) {
    const double qkv = (z.query + 2 * z.key_value) / z.tensor, o = z.query / z.tensor, ffn = z.ffn / z.tensor;
    if (d.sequence) {  // Rows are gathered beside the products that read them and scattered beside those that make
                       // them.
      const auto gather = [](auto&&... a) { return comm::tree_all_gather_seconds(a...); };
      const auto scatter = [](auto&&... a) { return comm::tree_reduce_scatter_seconds(a...); };
      p.tensor.forward = shown * (beside(gather, qkv, z.width) + beside(scatter, z.width, o) +
                                  beside(gather, z.wide / z.tensor, z.width) + beside(scatter, z.width, ffn));
      p.tensor.backward = shown * (beside(gather, o, z.width) + beside(scatter, z.width, qkv) +
                                   beside(gather, ffn, z.width) + beside(scatter, z.width, z.wide / z.tensor));
    } else {
      const auto sum = [](auto&&... a) { return comm::tree_all_reduce_seconds(a...); };
      p.tensor.forward = shown * (beside(sum, z.width, o) + beside(sum, z.width, ffn));
      p.tensor.backward = shown * (beside(sum, z.width, qkv) + beside(sum, z.width, z.wide / z.tensor));
    }
  }
  // Keys and values of the whole sequence are gathered before attention and their gradients scattered after it
  // (Llama Team, "The Llama 3 Herd of Models", 2024, section 3.3.2).
  const double gathered = z.tokens * 2 * z.key_value / std::min(z.tensor, real(s.kv_heads)) * z.bytes;
  p.context.forward = comm::tree_all_gather_seconds(machine.links, context, gathered);
  p.context.backward = p.context.forward + comm::tree_reduce_scatter_seconds(machine.links, context, gathered);

  if (d.recompute == Recompute::kCheap) {
    const double again = z.rows * z.bytes * (2 * 2 * z.width / split + (z.wide + z.ffn) / z.tensor);
    p.again.backward = clock.stream(again) + 3 * machine.kernel_seconds;
  }
  if (d.recompute == Recompute::kBlock) p.again.backward = p.forward();
  if (d.recompute == Recompute::kAttention) p.again.backward = p.attention.forward;
  return p;
}

BlockPrice head_price(const model::ModelShape& s, const Division& d, const Machine& machine) {
  const Sizes z(s, d);
  const RankSpeed speed = rank_speed(machine, d.precision, d.mesh.size());
  const Clock clock(machine, speed, bytes_of(d.precision));
  const double vocab = std::ceil(real(s.vocab) / z.tensor);
  Pass product;
  clock.linear(product, z.rows, vocab, z.width);
  BlockPrice p;
  // Logits become gradients where they lie, so that the whole head is a part of the forward pass.
  p.products.forward = product.total();
  // Logits in four bytes: maximum, sum of exponentials, gradient read and written.
  p.streams.forward = clock.stream(4.0 * 4 * z.rows * vocab);
  if (d.mesh.tensor > 1)
    p.tensor.forward = comm::tree_all_reduce_seconds(machine.links, {d.mesh.tensor, 1}, z.rows * z.width * z.bytes) *
                       (1 - machine.hide_tensor);
  return p;
}

Pass embedding_price(const model::ModelShape& s, const Division& d, const Machine& machine) {
  const Sizes z(s, d);
  const RankSpeed speed = rank_speed(machine, d.precision, d.mesh.size());
  const double moved = 3 * z.rows * z.width * z.bytes;
  const double reduced = comm::tree_all_reduce_seconds(machine.links, {d.mesh.tensor, 1}, z.rows * z.width * z.bytes) *
                         (1 - machine.hide_tensor);
  return {moved / speed.memory_rate + reduced, moved / speed.memory_rate};
}

double stage_message_bytes(const model::ModelShape& s, const Division& d) {
  const Sizes z(s, d);
  // Whole without sequence parallelism, unless the tensor ranks each carry a share over their own adapter
  // (scatter/gather, Narayanan et al., section 4.1), which is what more than two bytes' machines do.
  const double split = d.sequence || d.precision == Precision::kBf16 ? z.tensor : 1;
  return z.rows * z.width * z.bytes / split;
}

}  // namespace banyan::plan
