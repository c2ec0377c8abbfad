#include "src/model/norm_layer.hpp"

namespace banyan::model {

NormActivations norm_activations(const Arena& arena, const std::string& prefix, const std::string& number) {
  return {arena.find(prefix + "normed" + number), arena.find(prefix + "mean" + number),
          arena.at(prefix + "rstd" + number)};
}

NormActivations first_rows(const NormActivations& a, std::int64_t rows) {
  return {a.normed.rows(0, rows), a.mean ? a.mean.rows(0, rows) : View(), a.rstd.rows(0, rows)};
}

NormLayer::NormLayer(const ModelShape& shape, ParamStore& store, const std::string& name)
    : layer_(shape.norm == Norm::kLayer),
      eps_(static_cast<float>(shape.norm_eps)),
      weight_(store.handle(name + ".weight")),
      bias_(store.handle(name + ".bias")) {}

void NormLayer::forward(const Compute& c, const NormActivations& a, ConstView x) const {
  const ParamUse weight = weight_.acquire(), bias = bias_.acquire();
  if (layer_)
    c.backend.layernorm_forward(c.queue, a.normed, a.mean, a.rstd, x, weight.view(), bias.view(), eps_);
  else
    c.backend.rmsnorm_forward(c.queue, a.normed, a.rstd, x, weight.view(), eps_);
}

void NormLayer::backward(const Compute& c, const NormActivations& a, View d_x, ConstView d_normed, ConstView x) const {
  const ParamUse weight = weight_.acquire();
  if (layer_)
    c.backend.layernorm_backward(c.queue, d_x, weight_.grad(), bias_.grad(), d_normed, x, weight.view(), a.mean,
                                 a.rstd);
  else
    c.backend.rmsnorm_backward(c.queue, d_x, weight_.grad(), d_normed, x, weight.view(), a.rstd);
}

}  // namespace banyan::model
