// Every operation in double precision, as its definition says and with no thought for speed.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/backend.hpp"
#include "src/base/rng.hpp"

namespace banyan::kernels::test::reference {

using std::int64_t;
using Numbers = std::vector<double>;
inline std::size_t at(int64_t i) { return static_cast<std::size_t>(i); }

inline void layernorm(const Numbers& x, const Numbers& weight, const Numbers& bias, double eps, Numbers& out,
                      Numbers& mean, Numbers& rstd) {
  const std::size_t C = weight.size(), R = x.size() / C;
  out.resize(x.size());
  mean.resize(R);
  rstd.resize(R);
  for (std::size_t r = 0; r < R; ++r) {
    double m = 0, v = 0;
    for (std::size_t c = 0; c < C; ++c) m += x[r * C + c] / static_cast<double>(C);
    for (std::size_t c = 0; c < C; ++c) v += (x[r * C + c] - m) * (x[r * C + c] - m) / static_cast<double>(C);
    mean[r] = m;
    rstd[r] = 1 / std::sqrt(v + eps);
    for (std::size_t c = 0; c < C; ++c) out[r * C + c] = (x[r * C + c] - m) * rstd[r] * weight[c] + bias[c];
  }
}

inline void rmsnorm(const Numbers& x, const Numbers& weight, double eps, Numbers& out, Numbers& rstd) {
  const std::size_t C = weight.size(), R = x.size() / C;
  out.resize(x.size());
  rstd.resize(R);
  for (std::size_t r = 0; r < R; ++r) {
    double v = 0;
    for (std::size_t c = 0; c < C; ++c) v += x[r * C + c] * x[r * C + c] / static_cast<double>(C);
    rstd[r] = 1 / std::sqrt(v + eps);
    for (std::size_t c = 0; c < C; ++c) out[r * C + c] = x[r * C + c] * rstd[r] * weight[c];
  }
}

/// Gradients of both norms; center = whether the mean is subtracted.
inline void norm_backward(bool center, const Numbers& x, const Numbers& weight, const Numbers& mean,
                          const Numbers& rstd, const Numbers& d_out, Numbers& d_x, Numbers& d_weight, Numbers* d_bias) {
  const std::size_t C = weight.size(), R = x.size() / C;
  for (std::size_t r = 0; r < R; ++r) {
    const double m = center ? mean[r] : 0;
    double a = 0, b = 0;
    for (std::size_t c = 0; c < C; ++c) {
      const double n = (x[r * C + c] - m) * rstd[r], g = d_out[r * C + c];
      if (center) a += g * weight[c] / static_cast<double>(C);
      b += g * weight[c] * n / static_cast<double>(C);
      d_weight[c] += g * n;
      if (d_bias) (*d_bias)[c] += g;
    }
    for (std::size_t c = 0; c < C; ++c)
      d_x[r * C + c] += rstd[r] * (d_out[r * C + c] * weight[c] - a - (x[r * C + c] - m) * rstd[r] * b);
  }
}

inline double gelu(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
}
inline double gelu_slope(double x) {
  const double k = std::sqrt(2 / 3.14159265358979323846), t = std::tanh(k * (x + 0.044715 * x * x * x));
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * k * (1 + 3 * 0.044715 * x * x);
}
inline double silu(double x) { return x / (1 + std::exp(-x)); }
inline double silu_slope(double x) {
  const double s = 1 / (1 + std::exp(-x));
  return s * (1 + x * (1 - s));
}

inline double dropout_factor(const Dropout& d, int64_t row, int64_t channel) {
  if (d.p == 0) return 1;
  const int64_t c = d.channel0 + channel;
  const rng::Block bits = rng::quad(d.key, d.sample[at(row)], d.position[at(row)], c / 4);
  return rng::uniform(bits[at(c % 4)]) >= d.p ? 1 / (1 - static_cast<double>(d.p)) : 0;
}

inline void rotary(Numbers& x, const Numbers& position, int64_t head_size, double theta, bool inverse) {
  const int64_t R = static_cast<int64_t>(position.size()), width = static_cast<int64_t>(x.size()) / R;
  const int64_t half = head_size / 2;
  for (int64_t r = 0; r < R; ++r)
    for (int64_t h = 0; h < width / head_size; ++h)
      for (int64_t i = 0; i < half; ++i) {
        const double angle = (inverse ? -1 : 1) * position[at(r)] *
                             std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_size));
        double &a = x[at(r * width + h * head_size + i)], &b = x[at(r * width + h * head_size + i + half)];
        const double a0 = a, b0 = b;
        a = a0 * std::cos(angle) - b0 * std::sin(angle);
        b = b0 * std::cos(angle) + a0 * std::sin(angle);
      }
}

/// Attention of one query after the other; with gradients when d_out is given.
struct AttentionReference {
  const Attention& a;
  int64_t rows, key_rows;

  int64_t key_row(std::size_t s, int64_t j) const {
    if (a.blocks.table.empty()) return a.kv_offsets[s] + j;
    return int64_t{a.blocks.table[s * at(a.blocks.blocks_per_sequence) + at(j / a.blocks.block_size)]} *
               a.blocks.block_size +
           j % a.blocks.block_size;
  }

  void operator()(const Numbers& q, const Numbers& k, const Numbers& v, Numbers& out, Numbers& lse,
                  const Numbers* d_out = nullptr, Numbers* d_q = nullptr, Numbers* d_k = nullptr,
                  Numbers* d_v = nullptr) const {
    const int64_t D = a.head_size, H = a.heads, G = a.kv_heads;
    for (std::size_t s = 0; s + 1 < a.q_offsets.size(); ++s)
      for (int64_t h = 0; h < H; ++h)
        for (int64_t r = a.q_offsets[s]; r < a.q_offsets[s + 1]; ++r) {
          const int64_t n =
              std::min<int64_t>(a.kv_offsets[s + 1] - a.kv_offsets[s], a.q_position[s] + (r - a.q_offsets[s]) + 1);
          const double* query = &q[at((r * H + h) * D)];
          const auto key = [&](int64_t j) { return at((key_row(s, j) * G + h / (H / G)) * D); };
          Numbers p(at(n));
          double max = -std::numeric_limits<double>::infinity(), sum = 0;
          for (int64_t j = 0; j < n; ++j) {
            double dot = 0;
            for (int64_t i = 0; i < D; ++i) dot += query[i] * k[key(j) + at(i)];
            p[at(j)] = dot * static_cast<double>(a.scale);
            max = std::max(max, p[at(j)]);
          }
          for (double& e : p) sum += e = std::exp(e - max);
          lse[at(h * rows + r)] = max + std::log(sum);
          double* o = &out[at((r * H + h) * D)];
          for (int64_t i = 0; i < D; ++i) o[i] = 0;
          for (int64_t j = 0; j < n; ++j) {
            p[at(j)] /= sum;
            const double e = p[at(j)] * dropout_factor(a.dropout, r, (h << 20) + j);
            for (int64_t i = 0; i < D; ++i) o[i] += e * v[key(j) + at(i)];
          }
          if (!d_out) continue;
          const double* g = &(*d_out)[at((r * H + h) * D)];
          double delta = 0;
          for (int64_t i = 0; i < D; ++i) delta += g[i] * o[i];
          for (int64_t j = 0; j < n; ++j) {
            const double factor = dropout_factor(a.dropout, r, (h << 20) + j);
            double gv = 0;
            for (int64_t i = 0; i < D; ++i) gv += g[i] * v[key(j) + at(i)];
            const double ds = p[at(j)] * (gv * factor - delta) * static_cast<double>(a.scale);
            for (int64_t i = 0; i < D; ++i) {
              (*d_v)[key(j) + at(i)] += p[at(j)] * factor * g[i];
              (*d_k)[key(j) + at(i)] += ds * query[i];
              (*d_q)[at((r * H + h) * D + i)] += ds * k[key(j) + at(i)];
            }
          }
        }
  }
};

}  // namespace banyan::kernels::test::reference
