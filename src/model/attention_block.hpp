// The attention half of a transformer block:  out = x + dropout(o(attention(qkv(norm1(x))))).
// q, k and v are one matrix product; the heads are split over the tensor group.
#pragma once

#include <string>

#include "src/model/arena.hpp"
#include "src/model/compute.hpp"
#include "src/model/kv_cache.hpp"
#include "src/model/norm_layer.hpp"
#include "src/model/param_store.hpp"
#include "src/model/rows.hpp"

namespace banyan::model {

/// H query heads, G key/value heads, on this rank.
struct AttentionActivations {
  NormActivations norm;  ///< of the stream's rows held here
  View qkv;              ///< [R, H*D + 2*G*D], rotated
  View lse;              ///< [H,R]
  View attended;         ///< [R, H*D]
};
AttentionActivations attention_activations(const Arena& arena, const std::string& prefix);

/// Gradients that the weights' own are made of later, where the backward pass is split; else empty.
struct AttentionGradients {
  View branch;  ///< [stream rows, C]: of o's output
  View qkv;     ///< as the activation
};
AttentionGradients attention_gradients(const Arena& arena, const std::string& prefix);

class AttentionBlock {
 public:
  AttentionBlock(const StageSpec& spec, ParamStore& store, std::int64_t block);
  /// out = ; may alias x.  With a cache (generation) keys and values are those of the cache, after the new ones are
  /// appended to it.
  void forward(const Compute& c, const Rows& rows, const AttentionActivations& a, ConstView x, View out,
               const KvCache* cache = nullptr) const;
  /// d_stream: gradient of the output on entry, of the input on return.  Accumulates the parameters' gradients; those
  /// of the linear layers only where nothing is kept in `d` for backward_weights.  x: the input again.
  void backward(const Compute& c, const Rows& rows, const AttentionActivations& a, const AttentionGradients& d,
                ConstView x, View d_stream) const;
  void backward_weights(const Compute& c, const AttentionActivations& a, const AttentionGradients& d,
                        ConstView x) const;

 private:
  struct Heads {
    View query, key, value;  ///< columns of a fused matrix
  };
  Heads split(View qkv) const;
  kernels::Attention description(const Rows& rows) const;
  /// d_branch is the part of d_out that norm regions of this rank hold.
  void add_o_gradients(const Compute& c, const AttentionActivations& a, ConstView d_branch, ConstView d_out) const;
  /// All rows of what the norm put out, computed again where it was not kept.
  ConstView normed_again(const Compute& c, const AttentionActivations& a, ConstView x) const;
  void add_qkv_gradients(const Compute& c, ConstView d_qkv, ConstView normed) const;
  void rotate(const Compute& c, const Rows& rows, const Heads& h, bool inverse) const;

  std::int64_t block_;
  int heads_, kv_heads_, head_size_;
  std::int64_t first_head_;
  bool rotary_, norm_again_;
  float rope_theta_;
  NormLayer norm_;
  ParamHandle qkv_weight_, qkv_bias_, o_weight_, o_bias_;
};

}  // namespace banyan::model
