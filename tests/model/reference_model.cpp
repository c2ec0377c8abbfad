#include "tests/model/reference_model.hpp"

#include <algorithm>
#include <cmath>

#include "src/base/rng.hpp"

namespace banyan::testing {
namespace {

using Vector = std::vector<double>;
using model::ModelShape;

struct Run {
  const ModelShape& m;
  const Tensors& p;
  const ReferenceBatch& b;
  std::int64_t C = m.width;

  bool drops() const { return !b.sample.empty() && m.dropout > 0; }
  std::int64_t position(std::int64_t row) const { return row % b.length; }

  double mask(std::uint64_t key, std::int64_t row, std::int64_t channel) const {
    const auto bits = rng::quad(key, b.sample[static_cast<std::size_t>(row)], position(row), channel / 4);
    const bool keep = rng::uniform(bits[static_cast<std::size_t>(channel % 4)]) >= static_cast<float>(m.dropout);
    return keep ? 1 / (1 - m.dropout) : 0;
  }

  void dropout(Vector& x, rng::Purpose purpose, std::int64_t block) const {
    if (!drops()) return;
    const std::uint64_t key = rng::stream_key(b.seed, purpose, block, b.step);
    for (std::int64_t r = 0; r < b.rows(); ++r)
      for (std::int64_t c = 0; c < C; ++c) x[static_cast<std::size_t>(r * C + c)] *= mask(key, r, c);
  }

  /// [R,N] = x [R,K] * NAME.weight^T + NAME.bias
  Vector linear(const Vector& x, const std::string& name, std::int64_t n, std::int64_t k) const {
    const Vector& w = p.at(name + ".weight");
    const auto bias = p.find(name + ".bias");
    Vector y(static_cast<std::size_t>(b.rows() * n));
    for (std::int64_t r = 0; r < b.rows(); ++r)
      for (std::int64_t i = 0; i < n; ++i) {
        double sum = bias == p.end() ? 0 : bias->second[static_cast<std::size_t>(i)];
        const double* xr = x.data() + r * k;
        const double* wi = w.data() + i * k;
        for (std::int64_t j = 0; j < k; ++j) sum += xr[j] * wi[j];
        y[static_cast<std::size_t>(r * n + i)] = sum;
      }
    return y;
  }

  Vector norm(const Vector& x, const std::string& name) const {
    const Vector& w = p.at(name + ".weight");
    Vector y(x.size());
    for (std::int64_t r = 0; r < b.rows(); ++r) {
      const double* xr = x.data() + r * C;
      double mean = 0, var = 0;
      if (m.norm == model::Norm::kLayer) {
        for (std::int64_t c = 0; c < C; ++c) mean += xr[c] / static_cast<double>(C);
      }
      for (std::int64_t c = 0; c < C; ++c) var += (xr[c] - mean) * (xr[c] - mean) / static_cast<double>(C);
      const double rstd = 1 / std::sqrt(var + m.norm_eps);
      for (std::int64_t c = 0; c < C; ++c) {
        const std::size_t i = static_cast<std::size_t>(c);
        y[static_cast<std::size_t>(r * C) + i] =
            (xr[c] - mean) * rstd * w[i] + (m.norm == model::Norm::kLayer ? p.at(name + ".bias")[i] : 0);
      }
    }
    return y;
  }

  void rotate(Vector& x, std::int64_t heads) const {
    if (m.position != model::Position::kRotary) return;
    const std::int64_t D = m.head_size();
    for (std::int64_t r = 0; r < b.rows(); ++r)
      for (std::int64_t h = 0; h < heads; ++h)
        for (std::int64_t i = 0; i < D / 2; ++i) {
          const double angle = static_cast<double>(position(r)) *
                               std::pow(m.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(D));
          double& lo = x[static_cast<std::size_t>((r * heads + h) * D + i)];
          double& hi = x[static_cast<std::size_t>((r * heads + h) * D + i + D / 2)];
          const double a = lo, c = hi;
          lo = a * std::cos(angle) - c * std::sin(angle);
          hi = c * std::cos(angle) + a * std::sin(angle);
        }
  }

  Vector attention(const Vector& q, const Vector& k, const Vector& v, std::int64_t block) const {
    const std::int64_t D = m.head_size(), H = m.heads, G = m.kv_heads;
    const std::uint64_t key = rng::stream_key(b.seed, rng::Purpose::kAttention, block, b.step);
    Vector out(q.size(), 0.0), score(static_cast<std::size_t>(b.length));
    for (std::int64_t r = 0; r < b.rows(); ++r)
      for (std::int64_t h = 0; h < H; ++h) {
        const std::int64_t g = h / (H / G), first = r - position(r);
        double top = -1e300, total = 0;
        for (std::int64_t j = 0; j <= position(r); ++j) {
          double dot = 0;
          for (std::int64_t d = 0; d < D; ++d)
            dot += q[static_cast<std::size_t>((r * H + h) * D + d)] *
                   k[static_cast<std::size_t>(((first + j) * G + g) * D + d)];
          score[static_cast<std::size_t>(j)] = dot / std::sqrt(static_cast<double>(D));
          top = std::max(top, score[static_cast<std::size_t>(j)]);
        }
        for (std::int64_t j = 0; j <= position(r); ++j) total += std::exp(score[static_cast<std::size_t>(j)] - top);
        for (std::int64_t j = 0; j <= position(r); ++j) {
          double probability = std::exp(score[static_cast<std::size_t>(j)] - top) / total;
          if (drops()) probability *= mask(key, r, (h << 20) + j);
          for (std::int64_t d = 0; d < D; ++d)
            out[static_cast<std::size_t>((r * H + h) * D + d)] +=
                probability * v[static_cast<std::size_t>(((first + j) * G + g) * D + d)];
        }
      }
    return out;
  }

  Vector mlp(const Vector& x, const std::string& name) const {
    Vector up = linear(x, name + "up", m.ffn, C);
    if (m.mlp == model::Mlp::kSwiglu) {
      const Vector gate = linear(x, name + "gate", m.ffn, C);
      for (std::size_t i = 0; i < up.size(); ++i) up[i] *= gate[i] / (1 + std::exp(-gate[i]));
    } else {
      for (double& u : up) u = 0.5 * u * (1 + std::tanh(std::sqrt(2 / M_PI) * (u + 0.044715 * u * u * u)));
    }
    return linear(up, name + "down", C, m.ffn);
  }

  static void add(Vector& x, const Vector& y) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] += y[i];
  }

  Vector stream() const {
    Vector x(static_cast<std::size_t>(b.rows() * C));
    for (std::int64_t r = 0; r < b.rows(); ++r)
      for (std::int64_t c = 0; c < C; ++c) {
        const std::int64_t token = b.tokens[static_cast<std::size_t>(r)];
        double value = p.at("embed.token.weight")[static_cast<std::size_t>(token * C + c)];
        if (m.position == model::Position::kLearned)
          value += p.at("embed.position.weight")[static_cast<std::size_t>(position(r) * C + c)];
        x[static_cast<std::size_t>(r * C + c)] = value;
      }
    dropout(x, rng::Purpose::kEmbedding, 0);
    const std::int64_t D = m.head_size();
    for (std::int64_t i = 0; i < m.layers; ++i) {
      const std::string block = "blocks." + std::to_string(i) + ".";
      const Vector n = norm(x, block + "norm1");
      Vector q = linear(n, block + "attn.q", m.heads * D, C), k = linear(n, block + "attn.k", m.kv_heads * D, C);
      const Vector v = linear(n, block + "attn.v", m.kv_heads * D, C);
      rotate(q, m.heads);
      rotate(k, m.kv_heads);
      Vector branch = linear(attention(q, k, v, i), block + "attn.o", C, m.heads * D);
      dropout(branch, rng::Purpose::kResidualAttention, i);
      add(x, branch);
      branch = mlp(norm(x, block + "norm2"), block + "mlp.");
      dropout(branch, rng::Purpose::kResidualMlp, i);
      add(x, branch);
    }
    return norm(x, "norm");
  }
};

}  // namespace

ReferenceResult reference_forward(const ModelShape& shape, const Tensors& params, const ReferenceBatch& batch) {
  const Run run{shape, params, batch};
  ReferenceResult result;
  const Vector x = run.stream();
  result.logits = run.linear(x, shape.tied ? "embed.token" : "head", shape.vocab, shape.width);
  for (std::int64_t r = 0; r < batch.rows(); ++r) {
    const double* logits = result.logits.data() + r * shape.vocab;
    const std::int32_t target = batch.targets[static_cast<std::size_t>(r)];
    double loss = 0;
    if (target >= 0) {
      const double top = *std::max_element(logits, logits + shape.vocab);
      double sum = 0;
      for (std::int64_t v = 0; v < shape.vocab; ++v) sum += std::exp(logits[v] - top);
      loss = std::log(sum) + top - logits[target];
    }
    result.losses.push_back(loss);
    result.loss += loss;
  }
  return result;
}

}  // namespace banyan::testing
