// A plain CPU backend: every operation of backend.hpp as the loop its comment describes, GEMM by oneDNN.
#include <omp.h>
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <dnnl.hpp>
#include <limits>
#include <map>
#include <new>
#include <vector>

#include "kernels/backend.hpp"
#include "src/base/rng.hpp"

namespace banyan::kernels {
namespace {

using i64 = std::int64_t;

const float* rf(ConstView v) { return v.as<float>(); }
float* wf(View v) { return v.as<float>(); }

float drop_factor(const Dropout& d, i64 row, i64 channel) {
  const i64 c = d.channel0 + channel;
  const auto bits =
      rng::quad(d.key, d.sample[static_cast<std::size_t>(row)], d.position[static_cast<std::size_t>(row)], c / 4);
  return rng::uniform(bits[static_cast<std::size_t>(c % 4)]) < d.p ? 0.0f : 1.0f / (1.0f - d.p);
}

struct HeadRow {  // where key row j of a sequence lives
  const Attention& a;
  i64 sequence;
  i64 operator()(i64 j) const {
    if (a.blocks.table.empty()) return a.kv_offsets[static_cast<std::size_t>(sequence)] + j;
    const i64 block =
        a.blocks.table[static_cast<std::size_t>(sequence * a.blocks.blocks_per_sequence + j / a.blocks.block_size)];
    return block * a.blocks.block_size + j % a.blocks.block_size;
  }
};

class PlainBackend final : public Backend {
 public:
  explicit PlainBackend(const CpuOptions& options) {
    if (options.threads > 0) {
      omp_set_num_threads(options.threads);
    } else {
      cpu_set_t set;
      CPU_ZERO(&set);
      if (sched_getaffinity(0, sizeof set, &set) == 0) omp_set_num_threads(std::max(1, CPU_COUNT(&set)));
    }
  }
  std::string describe() const override { return "cpu, plain loops, oneDNN GEMM"; }
  MemoryKind memory_kind() const override { return MemoryKind::kHost; }

  void* allocate(std::size_t bytes) override {
    void* p = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!p) throw ConfigError("{} bytes of memory are not to be had; use more ranks or a smaller model", bytes);
    return p;
  }
  void release(void* p, std::size_t) override { std::free(p); }
  void copy(Queue, View out, ConstView in) override {
    if (out.count() != in.count() || out.dtype != in.dtype)
      throw BugError("copy: {} from {}", out.shape.str(), in.shape.str());
    if (out.count() == 0) return;
    const std::size_t es = size_of(out.dtype);
    if (out.contiguous() && in.contiguous()) {
      std::memmove(out.data, in.data, out.bytes());
      return;
    }
    const i64 n = out.shape[0], w = out.shape.row_count();
    if (in.shape[0] != n) throw BugError("copy: strided views must have the same rows");
    for (i64 r = 0; r < n; ++r)
      std::memcpy(out.data + static_cast<std::size_t>(r * out.row_stride) * es,
                  in.data + static_cast<std::size_t>(r * in.row_stride) * es, static_cast<std::size_t>(w) * es);
  }
  void fill_zero(Queue, View out) override {
    if (out.count() == 0) return;
    const std::size_t es = size_of(out.dtype);
    const i64 n = out.shape.rank() ? out.shape[0] : 1, w = out.shape.row_count();
    for (i64 r = 0; r < n; ++r)
      std::memset(out.data + static_cast<std::size_t>(r * out.row_stride) * es, 0, static_cast<std::size_t>(w) * es);
  }
  Event record(Queue) override { return {}; }
  void wait(Queue, Event e) override { e.wait(); }
  void synchronize(Queue) override {}

  void embedding_forward(Queue, View out, ConstView tokens, ConstView table, i64 begin) override {
    const i64 C = table.shape[1], V = table.shape[0];
    for (i64 r = 0; r < out.shape[0]; ++r) {
      const i64 t = tokens.as<std::int32_t>()[r] - begin;
      if (t < 0 || t >= V)
        std::memset(wf(out) + r * C, 0, sizeof(float) * static_cast<std::size_t>(C));
      else
        std::memcpy(wf(out) + r * C, rf(table) + t * C, sizeof(float) * static_cast<std::size_t>(C));
    }
  }
  void embedding_backward(Queue, View d_table, ConstView tokens, ConstView d_out, i64 begin) override {
    const i64 C = d_table.shape[1], V = d_table.shape[0];
    for (i64 r = 0; r < d_out.shape[0]; ++r) {
      const i64 t = tokens.as<std::int32_t>()[r] - begin;
      if (t < 0 || t >= V) continue;
      for (i64 c = 0; c < C; ++c) wf(d_table)[t * C + c] += rf(d_out)[r * C + c];
    }
  }
  void position_forward(Queue, View x, ConstView position, ConstView table) override {
    const i64 C = table.shape[1];
    for (i64 r = 0; r < x.shape[0]; ++r)
      for (i64 c = 0; c < C; ++c) wf(x)[r * C + c] += rf(table)[position.as<std::int32_t>()[r] * C + c];
  }

  void layernorm_forward(Queue, View out, View mean, View rstd, ConstView x, ConstView weight, ConstView bias,
                         float eps) override {
    const i64 C = x.shape[1];
#pragma omp parallel for
    for (i64 r = 0; r < x.shape[0]; ++r) {
      const float* p = rf(x) + r * C;
      float m = 0, v = 0;
      for (i64 c = 0; c < C; ++c) m += p[c];
      m /= static_cast<float>(C);
      for (i64 c = 0; c < C; ++c) v += (p[c] - m) * (p[c] - m);
      const float s = 1.0f / std::sqrt(v / static_cast<float>(C) + eps);
      for (i64 c = 0; c < C; ++c) wf(out)[r * C + c] = (p[c] - m) * s * rf(weight)[c] + rf(bias)[c];
      wf(mean)[r] = m;
      wf(rstd)[r] = s;
    }
  }
  void layernorm_backward(Queue, View d_x, View d_weight, View d_bias, ConstView d_out, ConstView x, ConstView weight,
                          ConstView mean, ConstView rstd) override {
    const i64 C = x.shape[1];
    for (i64 r = 0; r < x.shape[0]; ++r) {
      const float *p = rf(x) + r * C, *g = rf(d_out) + r * C;
      const float m = rf(mean)[r], s = rf(rstd)[r];
      float a = 0, b = 0;
      for (i64 c = 0; c < C; ++c) {
        const float n = (p[c] - m) * s, w = g[c] * rf(weight)[c];
        a += w;
        b += w * n;
        wf(d_weight)[c] += g[c] * n;
        wf(d_bias)[c] += g[c];
      }
      a /= static_cast<float>(C);
      b /= static_cast<float>(C);
      for (i64 c = 0; c < C; ++c) wf(d_x)[r * C + c] += s * (g[c] * rf(weight)[c] - a - (p[c] - m) * s * b);
    }
  }
  void rmsnorm_forward(Queue, View out, View rstd, ConstView x, ConstView weight, float eps) override {
    const i64 C = x.shape[1];
    for (i64 r = 0; r < x.shape[0]; ++r) {
      const float* p = rf(x) + r * C;
      float v = 0;
      for (i64 c = 0; c < C; ++c) v += p[c] * p[c];
      const float s = 1.0f / std::sqrt(v / static_cast<float>(C) + eps);
      for (i64 c = 0; c < C; ++c) wf(out)[r * C + c] = p[c] * s * rf(weight)[c];
      wf(rstd)[r] = s;
    }
  }
  void rmsnorm_backward(Queue, View d_x, View d_weight, ConstView d_out, ConstView x, ConstView weight,
                        ConstView rstd) override {
    const i64 C = x.shape[1];
    for (i64 r = 0; r < x.shape[0]; ++r) {
      const float *p = rf(x) + r * C, *g = rf(d_out) + r * C;
      const float s = rf(rstd)[r];
      float b = 0;
      for (i64 c = 0; c < C; ++c) {
        b += g[c] * rf(weight)[c] * p[c] * s;
        wf(d_weight)[c] += g[c] * p[c] * s;
      }
      b /= static_cast<float>(C);
      for (i64 c = 0; c < C; ++c) wf(d_x)[r * C + c] += s * (g[c] * rf(weight)[c] - p[c] * s * b);
    }
  }

  void gemm(Queue, const Gemm& g) override {
    using namespace dnnl;
    const i64 M = g.c.shape[0], N = g.c.shape[1], K = g.transpose_a ? g.a.shape[0] : g.a.shape[1];
    if ((g.transpose_a ? g.a.shape[1] : g.a.shape[0]) != M || (g.transpose_b ? g.b.shape[0] : g.b.shape[1]) != N ||
        (g.transpose_b ? g.b.shape[1] : g.b.shape[0]) != K)
      throw BugError("gemm: {} x {} gives no {}", g.a.shape.str(), g.b.shape.str(), g.c.shape.str());
    if (M == 0 || N == 0) return;
    std::vector<i64> key{
        M, N, K, g.a.row_stride, g.b.row_stride, g.c.row_stride, g.transpose_a, g.transpose_b, g.accumulate, !!g.bias};
    key.push_back(static_cast<i64>(g.alpha * 1e6f));
    auto it = cache_.find(key);
    const auto f32 = memory::data_type::f32;
    if (it == cache_.end()) {
      Cached c;
      c.a =
          memory::desc({M, K}, f32, g.transpose_a ? memory::dims{1, g.a.row_stride} : memory::dims{g.a.row_stride, 1});
      c.b =
          memory::desc({K, N}, f32, g.transpose_b ? memory::dims{1, g.b.row_stride} : memory::dims{g.b.row_stride, 1});
      c.c = memory::desc({M, N}, f32, memory::dims{g.c.row_stride, 1});
      c.bias = memory::desc({1, N}, f32, memory::dims{N, 1});
      primitive_attr attr;
      if (g.alpha != 1.0f) attr.set_output_scales(0, {g.alpha});
      if (g.accumulate) {
        post_ops ops;
        ops.append_sum(1.0f);
        attr.set_post_ops(ops);
      }
      auto d = g.bias ? matmul::desc(c.a, c.b, c.bias, c.c) : matmul::desc(c.a, c.b, c.c);
      c.op = matmul(matmul::primitive_desc(d, attr, engine_));
      it = cache_.emplace(key, c).first;
    }
    Cached& c = it->second;
    auto mem = [&](const memory::desc& d, ConstView v) { return memory(d, engine_, const_cast<std::byte*>(v.data)); };
    std::unordered_map<int, memory> args{
        {DNNL_ARG_SRC, mem(c.a, g.a)}, {DNNL_ARG_WEIGHTS, mem(c.b, g.b)}, {DNNL_ARG_DST, mem(c.c, g.c)}};
    if (g.bias) args.emplace(DNNL_ARG_BIAS, mem(c.bias, g.bias));
    c.op.execute(stream_, args);
    stream_.wait();
  }
  void bias_backward(Queue, View d_bias, ConstView d_out) override {
    for (i64 r = 0; r < d_out.shape[0]; ++r)
      for (i64 c = 0; c < d_out.shape[1]; ++c) wf(d_bias)[c] += rf(d_out)[r * d_out.row_stride + c];
  }

  void rotary(Queue, View x, ConstView position, int head_size, float theta, bool inverse) override {
    const i64 D = head_size, half = D / 2, H = x.shape[1] / D;
    for (i64 r = 0; r < x.shape[0]; ++r)
      for (i64 i = 0; i < half; ++i) {
        const double angle =
            position.as<std::int32_t>()[r] *
            std::pow(static_cast<double>(theta), -2.0 * static_cast<double>(i) / static_cast<double>(D));
        const float c = static_cast<float>(std::cos(angle)),
                    s = static_cast<float>(inverse ? -std::sin(angle) : std::sin(angle));
        for (i64 h = 0; h < H; ++h) {
          float* p = wf(x) + r * x.row_stride + h * D;
          const float a = p[i], b = p[i + half];
          p[i] = a * c - b * s;
          p[i + half] = b * c + a * s;
        }
      }
  }

  void attention_forward(Queue, View out, View lse, ConstView q, ConstView k, ConstView v,
                         const Attention& a) override {
    const i64 D = a.head_size, R = out.shape[0];
    const i64 S = static_cast<i64>(a.q_offsets.size()) - 1;
#pragma omp parallel for collapse(2)
    for (i64 s = 0; s < S; ++s)
      for (i64 h = 0; h < a.heads; ++h) {
        const i64 kh = h / (a.heads / a.kv_heads);
        const HeadRow row{a, s};
        std::vector<float> p;
        const auto us = static_cast<std::size_t>(s);
        for (i64 r = a.q_offsets[us]; r < a.q_offsets[us + 1]; ++r) {
          const i64 len = a.kv_offsets[us + 1] - a.kv_offsets[us];
          const i64 n = std::min<i64>(len, a.q_position[us] + (r - a.q_offsets[us]) + 1);
          p.assign(static_cast<std::size_t>(n), 0.0f);
          float m = -std::numeric_limits<float>::infinity(), sum = 0;
          for (i64 j = 0; j < n; ++j) {
            float d = 0;
            for (i64 i = 0; i < D; ++i)
              d += rf(q)[r * q.row_stride + h * D + i] * rf(k)[row(j) * k.row_stride + kh * D + i];
            p[static_cast<std::size_t>(j)] = d * a.scale;
            m = std::max(m, d * a.scale);
          }
          for (float& e : p) sum += e = std::exp(e - m);
          wf(lse)[h * R + r] = m + std::log(sum);
          float* o = wf(out) + r * out.row_stride + h * D;
          std::fill(o, o + D, 0.0f);
          for (i64 j = 0; j < n; ++j) {
            float e = p[static_cast<std::size_t>(j)] / sum;
            if (a.dropout.p > 0) e *= drop_factor(a.dropout, r, (h << 20) + j);
            for (i64 i = 0; i < D; ++i) o[i] += e * rf(v)[row(j) * v.row_stride + kh * D + i];
          }
        }
      }
  }
  void attention_backward(Queue queue, View dq, View dk, View dv, ConstView d_out, ConstView q, ConstView k,
                          ConstView v, ConstView out, ConstView lse, const Attention& a) override {
    const i64 D = a.head_size, R = q.shape[0], group = a.heads / a.kv_heads;
    const i64 S = static_cast<i64>(a.q_offsets.size()) - 1;
    fill_zero(queue, dq);
    fill_zero(queue, dk);
    fill_zero(queue, dv);
#pragma omp parallel for collapse(2)
    for (i64 s = 0; s < S; ++s)
      for (i64 kh = 0; kh < a.kv_heads; ++kh)
        for (i64 h = kh * group; h < (kh + 1) * group; ++h) {
          const HeadRow row{a, s};
          const auto us = static_cast<std::size_t>(s);
          for (i64 r = a.q_offsets[us]; r < a.q_offsets[us + 1]; ++r) {
            const i64 n =
                std::min<i64>(a.kv_offsets[us + 1] - a.kv_offsets[us], a.q_position[us] + (r - a.q_offsets[us]) + 1);
            const float* g = rf(d_out) + r * d_out.row_stride + h * D;
            float delta = 0;
            for (i64 i = 0; i < D; ++i) delta += g[i] * rf(out)[r * out.row_stride + h * D + i];
            for (i64 j = 0; j < n; ++j) {
              const i64 kr = row(j);
              const float *qp = rf(q) + r * q.row_stride + h * D, *kp = rf(k) + kr * k.row_stride + kh * D;
              float d = 0, gv = 0;
              for (i64 i = 0; i < D; ++i) d += qp[i] * kp[i];
              for (i64 i = 0; i < D; ++i) gv += g[i] * rf(v)[kr * v.row_stride + kh * D + i];
              const float e = std::exp(d * a.scale - rf(lse)[h * R + r]);
              const float f = a.dropout.p > 0 ? drop_factor(a.dropout, r, (h << 20) + j) : 1.0f;
              const float ds = e * (gv * f - delta) * a.scale;
              for (i64 i = 0; i < D; ++i) {
                wf(dv)[kr * dv.row_stride + kh * D + i] += e * f * g[i];
                wf(dk)[kr * dk.row_stride + kh * D + i] += ds * qp[i];
                wf(dq)[r * dq.row_stride + h * D + i] += ds * kp[i];
              }
            }
          }
        }
  }

  void gelu_forward(Queue, View out, ConstView x) override {
    for (i64 i = 0; i < x.count(); ++i) {
      const float u = rf(x)[i];
      wf(out)[i] = 0.5f * u * (1.0f + std::tanh(0.7978845608f * (u + 0.044715f * u * u * u)));
    }
  }
  void gelu_backward(Queue, View d_x, ConstView d_out, ConstView x) override {
    for (i64 i = 0; i < x.count(); ++i) {
      const float u = rf(x)[i], t = std::tanh(0.7978845608f * (u + 0.044715f * u * u * u));
      wf(d_x)[i] =
          rf(d_out)[i] * (0.5f * (1.0f + t) + 0.5f * u * (1.0f - t * t) * 0.7978845608f * (1.0f + 0.134145f * u * u));
    }
  }
  void swiglu_forward(Queue, View out, ConstView gate, ConstView up) override {
    for (i64 r = 0; r < out.shape[0]; ++r)
      for (i64 c = 0; c < out.shape[1]; ++c) {
        const float g = rf(gate)[r * gate.row_stride + c];
        wf(out)[r * out.row_stride + c] = g / (1.0f + std::exp(-g)) * rf(up)[r * up.row_stride + c];
      }
  }
  void swiglu_backward(Queue, View d_gate, View d_up, ConstView d_out, ConstView gate, ConstView up) override {
    for (i64 r = 0; r < d_out.shape[0]; ++r)
      for (i64 c = 0; c < d_out.shape[1]; ++c) {
        const float g = rf(gate)[r * gate.row_stride + c], u = rf(up)[r * up.row_stride + c],
                    o = rf(d_out)[r * d_out.row_stride + c];
        const float s = 1.0f / (1.0f + std::exp(-g));
        wf(d_gate)[r * d_gate.row_stride + c] = o * u * s * (1.0f + g * (1.0f - s));
        wf(d_up)[r * d_up.row_stride + c] = o * g * s;
      }
  }
  void dropout(Queue, View out, ConstView x, const Dropout& d) override {
    const i64 C = x.shape[1];
    for (i64 r = 0; r < x.shape[0]; ++r)
      for (i64 c = 0; c < C; ++c)
        wf(out)[r * C + c] = d.p > 0 ? rf(x)[r * C + c] * drop_factor(d, r, c) : rf(x)[r * C + c];
  }
  void add(Queue, View out, ConstView a, ConstView b) override {
    for (i64 i = 0; i < out.count(); ++i) wf(out)[i] = rf(a)[i] + rf(b)[i];
  }

  void cross_entropy_stats(Queue, View max, View sum, View target, ConstView logits, ConstView targets, i64 begin,
                           i64 valid) override {
#pragma omp parallel for
    for (i64 r = 0; r < logits.shape[0]; ++r) {
      const float* p = rf(logits) + r * logits.row_stride;
      float m = -std::numeric_limits<float>::infinity(), s = 0;
      for (i64 c = 0; c < valid; ++c) m = std::max(m, p[c]);
      for (i64 c = 0; c < valid; ++c) s += std::exp(p[c] - m);
      const i64 t = targets.as<std::int32_t>()[r];
      wf(max)[r] = m;
      wf(sum)[r] = s;
      wf(target)[r] = t >= begin && t - begin < valid ? p[t - begin] : 0.0f;
    }
  }
  void cross_entropy_rescale(Queue, View sum, ConstView local, ConstView global) override {
    for (i64 r = 0; r < sum.count(); ++r) wf(sum)[r] *= std::exp(rf(local)[r] - rf(global)[r]);
  }
  void cross_entropy_loss(Queue, View loss, View lse, ConstView max, ConstView sum, ConstView target,
                          ConstView targets) override {
    for (i64 r = 0; r < loss.count(); ++r) {
      const float l = std::log(rf(sum)[r]) + rf(max)[r];
      wf(lse)[r] = l;
      wf(loss)[r] = targets.as<std::int32_t>()[r] < 0 ? 0.0f : l - rf(target)[r];
    }
  }
  void cross_entropy_backward(Queue, View logits, ConstView lse, ConstView targets, i64 begin, i64 valid,
                              float scale) override {
#pragma omp parallel for
    for (i64 r = 0; r < logits.shape[0]; ++r) {
      float* p = wf(logits) + r * logits.row_stride;
      const i64 t = targets.as<std::int32_t>()[r];
      for (i64 c = 0; c < logits.shape[1]; ++c)
        p[c] = t < 0 || c >= valid ? 0.0f : (std::exp(p[c] - rf(lse)[r]) - (c + begin == t ? 1.0f : 0.0f)) * scale;
    }
  }

  void adamw(Queue, View param, ConstView grad, View m, View v, const AdamW& h) override {
    const float c1 = static_cast<float>(1.0 - std::pow(static_cast<double>(h.beta1), static_cast<double>(h.step)));
    const float c2 = static_cast<float>(1.0 - std::pow(static_cast<double>(h.beta2), static_cast<double>(h.step)));
#pragma omp parallel for simd
    for (i64 i = 0; i < param.count(); ++i) {
      const float g = rf(grad)[i] * h.grad_scale;
      wf(m)[i] = h.beta1 * wf(m)[i] + (1 - h.beta1) * g;
      wf(v)[i] = h.beta2 * wf(v)[i] + (1 - h.beta2) * g * g;
      wf(param)[i] -= h.lr * (wf(m)[i] / c1 / (std::sqrt(wf(v)[i] / c2) + h.eps) + h.weight_decay * wf(param)[i]);
    }
  }
  double sum_squares(Queue, ConstView x) override {
    double s = 0;
    for (i64 i = 0; i < x.count(); ++i) s += static_cast<double>(rf(x)[i]) * static_cast<double>(rf(x)[i]);
    return s;
  }
  double sum(Queue, ConstView x) override {
    double s = 0;
    for (i64 i = 0; i < x.count(); ++i) s += static_cast<double>(rf(x)[i]);
    return s;
  }
  bool all_finite(Queue, ConstView x) override {
    for (i64 i = 0; i < x.count(); ++i)
      if (!std::isfinite(rf(x)[i])) return false;
    return true;
  }
  void scale(Queue, View x, float factor) override {
    for (i64 i = 0; i < x.count(); ++i) wf(x)[i] *= factor;
  }
  template <class T>
  static void reduce_as(T* a, const T* b, i64 n, ReduceOp op) {
    for (i64 i = 0; i < n; ++i)
      a[i] = op == ReduceOp::kSum   ? static_cast<T>(a[i] + b[i])
             : op == ReduceOp::kMax ? std::max(a[i], b[i])
                                    : std::min(a[i], b[i]);
  }
  void reduce(Queue, View inout, ConstView in, ReduceOp op) override {
    const i64 n = inout.count();
    switch (inout.dtype) {
      case DType::kF32:
        return reduce_as(inout.as<float>(), in.as<float>(), n, op);
      case DType::kF64:
        return reduce_as(inout.as<double>(), in.as<double>(), n, op);
      case DType::kI32:
        return reduce_as(inout.as<std::int32_t>(), in.as<std::int32_t>(), n, op);
      case DType::kI64:
        return reduce_as(inout.as<i64>(), in.as<i64>(), n, op);
      default:
        throw BugError("reduce: no arithmetic for {}", name_of(inout.dtype));
    }
  }

 private:
  struct Cached {
    dnnl::memory::desc a, b, c, bias;
    dnnl::matmul op;
  };
  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  std::map<std::vector<i64>, Cached> cache_;
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(const CpuOptions& options) { return std::make_unique<PlainBackend>(options); }
std::string cpu_isa() { return __builtin_cpu_supports("avx512f") ? "avx512" : "avx2"; }

}  // namespace banyan::kernels
