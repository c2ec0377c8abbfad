#include "kernels/dry/dry_backend.hpp"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <utility>

#include "src/base/error.hpp"

namespace banyan::kernels {
namespace dry {
namespace {

/// Forward multiplies scores and values, backward makes five products of that size.
constexpr double kBackwardProducts = 2.5;

double flop_of(const Attention& a) {
  double pairs = 0;  // of a query and a key that it sees
  for (std::size_t s = 0; s + 1 < a.q_offsets.size(); ++s) {
    const double queries = a.q_offsets[s + 1] - a.q_offsets[s], first = a.q_position[s];
    pairs += queries * (first + (queries + 1) / 2);
  }
  return 4.0 * a.heads * a.head_size * pairs;
}

}  // namespace

DryBackend::DryBackend(DryOptions options)
    : options_(std::move(options)), host_(make_cpu_backend({.threads = 1, .max_isa = ""})) {
  if (!(options_.flops > 0) || !(options_.attention_flops > 0) || !(options_.memory_rate > 0))
    throw ConfigError("a device of {} FLOP/s, {} in attention, and {} bytes/s never ends; give positive rates",
                      options_.flops, options_.attention_flops, options_.memory_rate);
}

DryBackend::~DryBackend() {
  for (const auto& [begin, bytes] : reserved_) ::munmap(const_cast<std::byte*>(begin), bytes);
}

std::string DryBackend::describe() const {
  return fmt::format("dry: computes nothing, products at {:.3g} FLOP/s, streams at {:.3g} bytes/s", options_.flops,
                     options_.memory_rate);
}

void* DryBackend::allocate(std::size_t bytes) {
  const std::size_t some = std::max<std::size_t>(bytes, 1);
  void* p = ::mmap(nullptr, some, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED)
    throw ConfigError(
        "there are no addresses for a dry array of {} bytes; use fewer ranks on this machine, or raise "
        "vm.max_map_count "
        "and the limit of virtual memory",
        bytes);
  reserved_.emplace(static_cast<std::byte*>(p), some);
  return p;
}

void DryBackend::release(void* p, std::size_t) {
  const auto found = reserved_.find(static_cast<std::byte*>(p));
  if (found == reserved_.end()) {
    if (p) throw BugError("memory was given back to the dry backend that is not its own");
    return;
  }
  ::munmap(p, found->second);
  reserved_.erase(found);
}

bool DryBackend::is_dry(const std::byte* p) const {
  auto after = reserved_.upper_bound(p);
  if (after == reserved_.begin()) return false;
  const auto& [begin, bytes] = *std::prev(after);
  return p < begin + bytes;
}

void DryBackend::spend(double seconds) const {
  if (options_.spend) options_.spend(options_.start + seconds);
}

void DryBackend::compute(double flop, double rate, double bytes) const {
  spend(std::max(flop / rate, bytes / options_.memory_rate));
}

void DryBackend::copy(Queue q, View out, ConstView in) {
  stream(out, in);
  if (!is_dry(out.data) && !is_dry(in.data)) host_->copy(q, out, in);
}

void DryBackend::fill_zero(Queue q, View out) {
  stream(out);
  if (!is_dry(out.data)) host_->fill_zero(q, out);
}

void DryBackend::embedding_forward(Queue, View out, ConstView tokens, ConstView, std::int64_t) {
  stream(out, out, tokens);
}

void DryBackend::embedding_backward(Queue, View, ConstView tokens, ConstView d_out, std::int64_t) {
  stream(d_out, d_out, d_out, tokens);
}

void DryBackend::position_forward(Queue, View x, ConstView position, ConstView) { stream(x, x, x, position); }

void DryBackend::layernorm_forward(Queue, View out, View mean, View rstd, ConstView x, ConstView weight, ConstView bias,
                                   float) {
  stream(out, mean, rstd, x, weight, bias);
}

void DryBackend::layernorm_backward(Queue, View d_x, View d_weight, View d_bias, ConstView d_out, ConstView x,
                                    ConstView weight, ConstView mean, ConstView rstd) {
  stream(d_x, d_x, d_weight, d_bias, d_out, x, weight, mean, rstd);
}

void DryBackend::rmsnorm_forward(Queue, View out, View rstd, ConstView x, ConstView weight, float) {
  stream(out, rstd, x, weight);
}

void DryBackend::rmsnorm_backward(Queue, View d_x, View d_weight, ConstView d_out, ConstView x, ConstView weight,
                                  ConstView rstd) {
  stream(d_x, d_x, d_weight, d_out, x, weight, rstd);
}

void DryBackend::gemm(Queue, const Gemm& g) {
  const auto inner = static_cast<double>(g.transpose_a ? g.a.shape[0] : g.a.shape[1]);
  compute(2.0 * static_cast<double>(g.c.count()) * inner, options_.flops, bytes_of(g.a, g.b, g.c));
}

void DryBackend::from_bf16(Queue, View out, ConstView in) { stream(out, in); }

void DryBackend::narrow(Queue, View out, ConstView in) { stream(out, in); }

void DryBackend::bias_backward(Queue, View d_bias, ConstView d_out) { stream(d_bias, d_out); }

void DryBackend::rotary(Queue, View x, ConstView position, int, float, bool) { stream(x, x, position); }

void DryBackend::attention_forward(Queue, View out, View lse, ConstView query, ConstView key, ConstView value,
                                   const Attention& a) {
  compute(flop_of(a), options_.attention_flops, bytes_of(out, lse, query, key, value));
}

void DryBackend::attention_backward(Queue, View d_query, View d_key, View d_value, ConstView d_out, ConstView query,
                                    ConstView key, ConstView value, ConstView out, ConstView lse, const Attention& a) {
  compute(kBackwardProducts * flop_of(a), options_.attention_flops,
          bytes_of(d_query, d_key, d_value, d_out, query, key, value, out, lse));
}

void DryBackend::gelu_forward(Queue, View out, ConstView x) { stream(out, x); }

void DryBackend::gelu_backward(Queue, View d_x, ConstView d_out, ConstView x) { stream(d_x, d_out, x); }

void DryBackend::swiglu_forward(Queue, View out, ConstView gate, ConstView up) { stream(out, gate, up); }

void DryBackend::swiglu_backward(Queue, View d_gate, View d_up, ConstView d_out, ConstView gate, ConstView up) {
  stream(d_gate, d_up, d_out, gate, up);
}

void DryBackend::dropout(Queue, View out, ConstView x, const Dropout& d) {
  if (d.p > 0 || out.data != x.data) stream(out, x);
}

void DryBackend::add(Queue, View out, ConstView a, ConstView b) { stream(out, a, b); }

void DryBackend::cross_entropy_stats(Queue, View max, View sum, View target, ConstView logits, ConstView targets,
                                     std::int64_t, std::int64_t) {
  stream(max, sum, target, logits, logits, targets);
}

void DryBackend::cross_entropy_rescale(Queue, View sum, ConstView local_max, ConstView global_max) {
  stream(sum, local_max, global_max);
}

void DryBackend::cross_entropy_loss(Queue, View loss, View lse, ConstView max, ConstView sum, ConstView target,
                                    ConstView targets) {
  stream(loss, lse, max, sum, target, targets);
}

void DryBackend::cross_entropy_backward(Queue, View logits, ConstView lse, ConstView targets, std::int64_t,
                                        std::int64_t, float) {
  stream(logits, logits, lse, targets);
}

void DryBackend::adamw(Queue, View param, ConstView grad, View m, View v, const AdamW&) {
  stream(param, param, grad, m, m, v, v);
}

Number DryBackend::sum_squares(Queue, ConstView x) {
  stream(x);
  return std::make_shared<const double>(0);
}

Number DryBackend::sum(Queue, ConstView x) {
  stream(x);
  return std::make_shared<const double>(0);
}

bool DryBackend::all_finite(Queue, ConstView x) {
  stream(x);
  return true;
}

void DryBackend::scale(Queue, View x, float) { stream(x, x); }

void DryBackend::reduce(Queue q, View out, ConstView a, ConstView b, ReduceOp op) {
  stream(out, a, b);
  if (!is_dry(out.data) && !is_dry(a.data) && !is_dry(b.data)) host_->reduce(q, out, a, b, op);
}

}  // namespace dry

std::unique_ptr<Backend> make_dry_backend(DryOptions options) {
  return std::make_unique<dry::DryBackend>(std::move(options));
}

}  // namespace banyan::kernels
