#include "src/model/mlp_block.hpp"

namespace banyan::model {

MlpActivations mlp_activations(const Arena& arena, const std::string& prefix) {
  return {norm_activations(arena, prefix, "2"), arena.at(prefix + "wide"), arena.at(prefix + "active")};
}

MlpBlock::MlpBlock(const StageSpec& spec, ParamStore& store, std::int64_t block)
    : block_(block),
      ffn_(spec.shape.ffn / spec.tensor_size),
      gated_(spec.shape.mlp == Mlp::kSwiglu),
      norm_(spec.shape, store, block_prefix(block) + "norm2") {
  const std::string name = block_prefix(block) + "mlp.";
  if (gated_) {
    wide_weight_ = store.fused({name + "gate.weight", name + "up.weight"});
    wide_bias_ = store.fused({name + "gate.bias", name + "up.bias"});
  } else {
    wide_weight_ = store.handle(name + "up.weight");
    wide_bias_ = store.handle(name + "up.bias");
  }
  down_weight_ = store.handle(name + "down.weight");
  down_bias_ = store.handle(name + "down.bias");
}

void MlpBlock::forward_inside(const Compute& c, const MlpActivations& a, ConstView x) const {
  norm_.forward(c, a.norm, x);
  {
    const ConstView normed = c.tensor.gather(a.norm.normed, c.scratch.gathered, "normed rows of the feed-forward part");
    const ParamUse weight = wide_weight_.acquire(), bias = wide_bias_.acquire();
    c.linear_forward(a.wide, normed, weight.view(), bias.view());
  }
  if (gated_)
    c.backend.swiglu_forward(c.queue, a.active, a.wide.columns(0, ffn_), a.wide.columns(ffn_, 2 * ffn_));
  else
    c.backend.gelu_forward(c.queue, a.active, a.wide);
}

void MlpBlock::forward_out(const Compute& c, const Rows& rows, const MlpActivations& a, ConstView x, View out) const {
  const View partial = matrix_in(c.scratch.partial, rows.count, x.shape[1]);
  {
    const ParamUse weight = down_weight_.acquire(), bias = down_bias_.acquire();
    c.linear_forward(partial, a.active, weight.view(), c.tensor.adds_bias() ? bias.view() : ConstView());
  }
  const View branch = c.tensor.reduce(partial, "output of the feed-forward part");
  const kernels::Dropout dropout = rows.stream_dropout(rng::Purpose::kResidualMlp, block_);
  if (dropout.p > 0) c.backend.dropout(c.queue, branch, branch, dropout);
  c.backend.add(c.queue, out, x, branch);
}

void MlpBlock::backward(const Compute& c, const Rows& rows, const MlpActivations& a, ConstView x, View d_stream) const {
  const std::int64_t width = x.shape[1];
  ConstView d_branch = d_stream;
  const kernels::Dropout dropout = rows.stream_dropout(rng::Purpose::kResidualMlp, block_);
  if (dropout.p > 0) {
    const View room = matrix_in(c.scratch.partial, rows.stream_count, width);
    c.backend.dropout(c.queue, room, d_stream, dropout);
    d_branch = room;
  }

  const View d_wide = matrix_in(c.scratch.d_wide, rows.count, a.wide.shape[1]);
  // GELU's gradient is made in place of that of its output.
  const View d_active = gated_ ? matrix_in(c.scratch.d_inner, rows.count, ffn_) : d_wide;
  {
    if (down_bias_) c.backend.bias_backward(c.queue, down_bias_.grad(), d_branch);
    const ConstView d_out = c.tensor.gather(d_branch, c.scratch.gathered, "gradient of the feed-forward part's output");
    const ParamUse weight = down_weight_.acquire();
    c.linear_backward_input(d_active, d_out, weight.view());
    c.linear_backward_weight(down_weight_.grad(), d_out, a.active);
  }
  if (gated_)
    c.backend.swiglu_backward(c.queue, d_wide.columns(0, ffn_), d_wide.columns(ffn_, 2 * ffn_), d_active,
                              a.wide.columns(0, ffn_), a.wide.columns(ffn_, 2 * ffn_));
  else
    c.backend.gelu_backward(c.queue, d_wide, d_active, a.wide);

  const View d_normed = matrix_in(c.scratch.partial, rows.count, width);
  {
    const ParamUse weight = wide_weight_.acquire();
    const ConstView normed =
        c.tensor.gather(a.norm.normed, c.scratch.gathered, "normed rows of the feed-forward part, again");
    c.linear_backward_input(d_normed, d_wide, weight.view());
    Event summed = c.tensor.start_reduce(d_normed, "gradient of the feed-forward part's input");
    c.linear_backward_weight(wide_weight_.grad(), d_wide, normed);
    if (wide_bias_) c.backend.bias_backward(c.queue, wide_bias_.grad(), d_wide);
    summed.wait();
  }
  norm_.backward(c, a.norm, d_stream, c.tensor.reduced(d_normed), x);
}

}  // namespace banyan::model
