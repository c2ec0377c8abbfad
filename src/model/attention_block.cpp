#include "src/model/attention_block.hpp"

#include <cmath>

namespace banyan::model {

AttentionActivations attention_activations(const Arena& arena, const std::string& prefix) {
  return {norm_activations(arena, prefix, "1"), arena.at(prefix + "qkv"), arena.at(prefix + "lse"),
          arena.at(prefix + "attended")};
}

AttentionGradients attention_gradients(const Arena& arena, const std::string& prefix) {
  return {arena.find(prefix + "d_attention"), arena.find(prefix + "d_qkv")};
}

AttentionBlock::AttentionBlock(const StageSpec& spec, ParamStore& store, std::int64_t block)
    : block_(block),
      heads_(static_cast<int>(spec.shape.heads / spec.tensor_size)),
      kv_heads_(static_cast<int>(spec.shape.kv_heads / spec.tensor_size)),
      head_size_(static_cast<int>(spec.shape.head_size())),
      first_head_(std::int64_t{spec.tensor_rank} * heads_),
      rotary_(spec.shape.position == Position::kRotary),
      norm_again_(spec.recompute == Recompute::kCheap),
      rope_theta_(static_cast<float>(spec.shape.rope_theta)),
      norm_(spec.shape, store, block_prefix(block) + "norm1") {
  const std::string name = block_prefix(block) + "attn.";
  qkv_weight_ = store.fused({name + "q.weight", name + "k.weight", name + "v.weight"});
  qkv_bias_ = store.fused({name + "q.bias", name + "k.bias", name + "v.bias"});
  o_weight_ = store.handle(name + "o.weight");
  o_bias_ = store.handle(name + "o.bias");
}

void AttentionBlock::forward(const Compute& c, const Rows& rows, const AttentionActivations& a, ConstView x, View out,
                             const KvCache* cache) const {
  const Heads h = split(a.qkv);
  norm_.forward(c, a.norm, x);
  {
    const ParamUse weight = qkv_weight_.acquire(), bias = qkv_bias_.acquire();
    c.tensor.gather(a.norm.normed, c.scratch.gathered, "normed rows of attention", [&](Range r, ConstView normed) {
      c.linear_forward(a.qkv.rows(r.begin, r.end), normed, weight.view(), bias.view());
    });
  }
  rotate(c, rows, h, false);
  if (cache) append(c, rows, *cache, h.key, h.value);
  c.backend.attention_forward(c.queue, a.attended, a.lse, h.query, cache ? cache->key : h.key,
                              cache ? cache->value : h.value, description(rows));
  const View partial = matrix_in(c.scratch.partial, rows.count, x.shape[1]);
  const ParamUse weight = o_weight_.acquire(), bias = o_bias_.acquire();
  const View branch = c.tensor.reduce(partial, "output of attention", [&](Range r) {
    c.linear_forward(partial.rows(r.begin, r.end), a.attended.rows(r.begin, r.end), weight.view(),
                     c.tensor.adds_bias() ? bias.view() : ConstView());
  });
  const kernels::Dropout dropout = rows.stream_dropout(rng::Purpose::kResidualAttention, block_);
  if (dropout.p > 0) c.backend.dropout(c.queue, branch, branch, dropout);
  c.backend.add(c.queue, out, x, branch);
}

void AttentionBlock::backward(const Compute& c, const Rows& rows, const AttentionActivations& a,
                              const AttentionGradients& kept, ConstView x, View d_stream) const {
  const std::int64_t width = x.shape[1];
  const bool later = static_cast<bool>(kept.branch);
  ConstView d_branch = d_stream;
  const kernels::Dropout dropout = rows.stream_dropout(rng::Purpose::kResidualAttention, block_);
  if (dropout.p > 0) {
    const View room = later ? kept.branch : matrix_in(c.scratch.partial, rows.stream_count, width);
    c.backend.dropout(c.queue, room, d_stream, dropout);
    d_branch = room;
  } else if (later) {
    c.backend.copy(c.queue, kept.branch, d_stream);
  }

  const View d_attended = matrix_in(c.scratch.d_inner, rows.count, a.attended.shape[1]);
  {
    const ParamUse weight = o_weight_.acquire();
    const ConstView d_out = c.tensor.gather(
        d_branch, c.scratch.gathered, "gradient of attention's output",
        [&](Range r, ConstView d) { c.linear_backward_input(d_attended.rows(r.begin, r.end), d, weight.view()); });
    if (!later) add_o_gradients(c, a, d_branch, d_out);
  }

  const View d_qkv = later ? kept.qkv : matrix_in(c.scratch.d_wide, rows.count, a.qkv.shape[1]);
  const Heads h = split(a.qkv), d = split(d_qkv);
  c.backend.attention_backward(c.queue, d.query, d.key, d.value, d_attended, h.query, h.key, h.value, a.attended, a.lse,
                               description(rows));
  rotate(c, rows, d, true);

  const View d_normed = matrix_in(c.scratch.partial, rows.count, width);
  {
    const ParamUse weight = qkv_weight_.acquire();
    const ConstView normed = later ? ConstView() : normed_again(c, a, x);
    std::vector<Event> sums = c.tensor.start_reduce(d_normed, "gradient of attention's input", [&](Range r) {
      c.linear_backward_input(d_normed.rows(r.begin, r.end), d_qkv.rows(r.begin, r.end), weight.view());
    });
    if (!later) add_qkv_gradients(c, d_qkv, normed);
    for (Event& e : sums) e.wait();
  }
  norm_.backward(c, a.norm, d_stream, c.tensor.reduced(d_normed), x);
}

void AttentionBlock::backward_weights(const Compute& c, const AttentionActivations& a, const AttentionGradients& d,
                                      ConstView x) const {
  add_o_gradients(c, a, d.branch,
                  c.tensor.gather(d.branch, c.scratch.gathered, "gradient of attention's output, again"));
  add_qkv_gradients(c, d.qkv, normed_again(c, a, x));
}

ConstView AttentionBlock::normed_again(const Compute& c, const AttentionActivations& a, ConstView x) const {
  if (norm_again_) norm_.forward(c, a.norm, x);
  return c.tensor.gather(a.norm.normed, c.scratch.gathered, "normed rows of attention, again");
}

void AttentionBlock::add_o_gradients(const Compute& c, const AttentionActivations& a, ConstView d_branch,
                                     ConstView d_out) const {
  c.linear_backward_weight(o_weight_.grad(), o_bias_.grad(), d_out, d_branch, a.attended);
}

void AttentionBlock::add_qkv_gradients(const Compute& c, ConstView d_qkv, ConstView normed) const {
  c.linear_backward_weight(qkv_weight_.grad(), qkv_bias_.grad(), d_qkv, d_qkv, normed);
}

AttentionBlock::Heads AttentionBlock::split(View qkv) const {
  const std::int64_t query = std::int64_t{heads_} * head_size_, key = std::int64_t{kv_heads_} * head_size_;
  return {qkv.columns(0, query), qkv.columns(query, query + key), qkv.columns(query + key, query + 2 * key)};
}

kernels::Attention AttentionBlock::description(const Rows& rows) const {
  kernels::Attention a;
  a.heads = heads_;
  a.kv_heads = kv_heads_;
  a.head_size = head_size_;
  a.scale = 1.0f / std::sqrt(static_cast<float>(head_size_));
  a.q_offsets = rows.query_offsets;
  a.kv_offsets = rows.key_offsets;
  a.q_position = rows.query_position;
  a.blocks = rows.cache;
  a.dropout = rows.attention_dropout(block_, first_head_);
  return a;
}

void AttentionBlock::rotate(const Compute& c, const Rows& rows, const Heads& h, bool inverse) const {
  if (!rotary_) return;
  c.backend.rotary(c.queue, h.query, rows.position, head_size_, rope_theta_, inverse);
  c.backend.rotary(c.queue, h.key, rows.position, head_size_, rope_theta_, inverse);
}

}  // namespace banyan::model
