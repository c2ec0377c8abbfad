#include "src/model/mlp_block.hpp"

namespace banyan::model {

MlpActivations mlp_activations(const Arena& arena, const std::string& prefix) {
  return {norm_activations(arena, prefix, "2"), arena.at(prefix + "wide"), arena.find(prefix + "active")};
}

MlpGradients mlp_gradients(const Arena& arena, const std::string& prefix) {
  return {arena.find(prefix + "d_mlp"), arena.find(prefix + "d_wide")};
}

MlpBlock::MlpBlock(const StageSpec& spec, ParamStore& store, std::int64_t block)
    : block_(block),
      ffn_(spec.shape.ffn / spec.tensor_size),
      gated_(spec.shape.mlp == Mlp::kSwiglu),
      cheap_again_(spec.recompute == Recompute::kCheap),
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
    const ParamUse weight = wide_weight_.acquire(), bias = wide_bias_.acquire();
    c.tensor.gather(a.norm.normed, c.scratch.gathered, "normed rows of the feed-forward part",
                    [&](Range r, ConstView normed) {
                      const View wide = a.wide.rows(r.begin, r.end);
                      if (gated_)
                        c.linear_forward(wide, normed, weight.view(), bias.view());
                      else
                        c.linear_gelu_forward(wide, a.active.rows(r.begin, r.end), normed, weight.view(), bias.view());
                    });
  }
  if (gated_) activate(c, a);
}

void MlpBlock::activate(const Compute& c, const MlpActivations& a) const {
  if (gated_)
    c.backend.swiglu_forward(c.queue, a.active, a.wide.columns(0, ffn_), a.wide.columns(ffn_, 2 * ffn_));
  else
    c.backend.gelu_forward(c.queue, a.active, a.wide);
}

void MlpBlock::forward_out(const Compute& c, const Rows& rows, const MlpActivations& a, ConstView x, View out) const {
  const View partial = matrix_in(c.scratch.partial, rows.count, x.shape[1]);
  const ParamUse weight = down_weight_.acquire(), bias = down_bias_.acquire();
  const View branch = c.tensor.reduce(partial, "output of the feed-forward part", [&](Range r) {
    c.linear_forward(partial.rows(r.begin, r.end), a.active.rows(r.begin, r.end), weight.view(),
                     c.tensor.adds_bias() ? bias.view() : ConstView());
  });
  const kernels::Dropout dropout = rows.stream_dropout(rng::Purpose::kResidualMlp, block_);
  if (dropout.p > 0) c.backend.dropout(c.queue, branch, branch, dropout);
  c.backend.add(c.queue, out, x, branch);
}

void MlpBlock::backward(const Compute& c, const Rows& rows, const MlpActivations& a, const MlpGradients& kept,
                        ConstView x, View d_stream) const {
  const std::int64_t width = x.shape[1];
  const bool later = static_cast<bool>(kept.branch);
  ConstView d_branch = d_stream;
  const kernels::Dropout dropout = rows.stream_dropout(rng::Purpose::kResidualMlp, block_);
  if (dropout.p > 0) {
    const View room = later ? kept.branch : matrix_in(c.scratch.partial, rows.stream_count, width);
    c.backend.dropout(c.queue, room, d_stream, dropout);
    d_branch = room;
  } else if (later) {
    c.backend.copy(c.queue, kept.branch, d_stream);
  }

  const View d_wide = later ? kept.wide : matrix_in(c.scratch.d_wide, rows.count, a.wide.shape[1]);
  const View d_active = gated_ ? matrix_in(c.scratch.d_inner, rows.count, ffn_) : View();
  {
    const ParamUse weight = down_weight_.acquire();
    const ConstView d_out = c.tensor.gather(
        d_branch, c.scratch.gathered, "gradient of the feed-forward part's output", [&](Range r, ConstView d) {
          if (gated_)
            c.linear_backward_input(d_active.rows(r.begin, r.end), d, weight.view());
          else
            c.linear_gelu_backward_input(d_wide.rows(r.begin, r.end), d, weight.view(), a.wide.rows(r.begin, r.end));
        });
    if (!later) add_down_gradients(c, a, d_branch, d_out);
  }
  if (gated_)
    c.backend.swiglu_backward(c.queue, d_wide.columns(0, ffn_), d_wide.columns(ffn_, 2 * ffn_), d_active,
                              a.wide.columns(0, ffn_), a.wide.columns(ffn_, 2 * ffn_));

  const View d_normed = matrix_in(c.scratch.partial, rows.count, width);
  {
    const ParamUse weight = wide_weight_.acquire();
    const ConstView normed = later ? ConstView() : normed_again(c, a, x);
    std::vector<Event> sums =
        c.tensor.start_reduce(d_normed, "gradient of the feed-forward part's input", [&](Range r) {
          c.linear_backward_input(d_normed.rows(r.begin, r.end), d_wide.rows(r.begin, r.end), weight.view());
        });
    if (!later) add_wide_gradients(c, d_wide, normed);
    for (Event& e : sums) e.wait();
  }
  norm_.backward(c, a.norm, d_stream, c.tensor.reduced(d_normed), x);
}

void MlpBlock::backward_weights(const Compute& c, const MlpActivations& a, const MlpGradients& d, ConstView x) const {
  add_down_gradients(
      c, a, d.branch,
      c.tensor.gather(d.branch, c.scratch.gathered, "gradient of the feed-forward part's output, again"));
  add_wide_gradients(c, d.wide, normed_again(c, a, x));
}

ConstView MlpBlock::normed_again(const Compute& c, const MlpActivations& a, ConstView x) const {
  if (cheap_again_) norm_.forward(c, a.norm, x);
  return c.tensor.gather(a.norm.normed, c.scratch.gathered, "normed rows of the feed-forward part, again");
}

void MlpBlock::add_down_gradients(const Compute& c, const MlpActivations& a, ConstView d_branch,
                                  ConstView d_out) const {
  if (cheap_again_) activate(c, a);
  c.linear_backward_weight(down_weight_.grad(), down_bias_.grad(), d_out, d_branch, a.active);
}

void MlpBlock::add_wide_gradients(const Compute& c, ConstView d_wide, ConstView normed) const {
  c.linear_backward_weight(wide_weight_.grad(), wide_bias_.grad(), d_wide, d_wide, normed);
}

}  // namespace banyan::model
