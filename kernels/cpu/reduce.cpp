// Reductions to one number and element by element.
#include <algorithm>
#include <array>
#include <bit>

#include "kernels/cpu/check.hpp"
#include "kernels/cpu/cpu_backend.hpp"
#include "kernels/cpu/parallel.hpp"
#include "kernels/cpu/stream_line.hpp"

namespace banyan::kernels::cpu {
namespace {

/// Sum of term(i) over [0, count) in double: at most 512 pieces whose bounds depend only on count, 32 interleaved sums
/// in each (as many as keep the adders busy), pieces added in order.
template <class Term>
double ordered_sum(int threads, std::int64_t count, const Term& term) {
  constexpr std::int64_t max_pieces = 512, lanes = 32;
  const std::int64_t piece = std::max<std::int64_t>(4096, (count + max_pieces - 1) / max_pieces);
  const std::int64_t pieces = (count + piece - 1) / piece;
  std::array<double, max_pieces> parts;
  parallel_for(threads, pieces, count, [&](std::int64_t p) {
    const std::int64_t begin = p * piece, end = std::min(count, begin + piece);
    double sum[lanes] = {};
    std::int64_t i = begin;
    for (; i + lanes <= end; i += lanes)
#pragma omp simd
      for (std::int64_t k = 0; k < lanes; ++k) sum[k] += term(i + k);
    for (; i < end; ++i) sum[(i - begin) % lanes] += term(i);
    for (std::int64_t half = lanes / 2; half > 0; half /= 2)
      for (std::int64_t k = 0; k < half; ++k) sum[k] += sum[k + half];
    parts[static_cast<std::size_t>(p)] = sum[0];
  });
  double total = 0;
  for (std::int64_t p = 0; p < pieces; ++p) total += parts[static_cast<std::size_t>(p)];
  return total;
}

/// work(combine), where combine(a, b) is a op b.
template <class T, class Work>
void with(ReduceOp op, const Work& work) {
  switch (op) {
    case ReduceOp::kSum:
      return work([](T a, T b) { return static_cast<T>(a + b); });
    case ReduceOp::kMax:
      return work([](T a, T b) { return b > a ? b : a; });
    case ReduceOp::kMin:
      return work([](T a, T b) { return b < a ? b : a; });
  }
}

template <class T>
void reduce_as(int threads, T* out, const T* a, const T* b, std::int64_t count, ReduceOp op) {
  with<T>(op, [=](const auto& combine) {
    parallel_pieces(threads, count, [=](std::int64_t begin, std::int64_t end) {
#pragma omp simd
      for (std::int64_t i = begin; i < end; ++i) out[i] = combine(a[i], b[i]);
    });
  });
}

/// Line by line of `out`; a run of elements for each thread.
template <class T>
void reduce_past_caches_as(int threads, T* out, const T* a, const T* b, std::int64_t count, ReduceOp op) {
  constexpr std::int64_t line = kLineBytes / sizeof(T);
  const std::int64_t runs = threads;
  with<T>(op, [=](const auto& combine) {
    parallel_for(threads, runs, count, [=](std::int64_t r) {
      std::int64_t i = count * r / runs;
      const std::int64_t end = count * (r + 1) / runs;
      for (; i < end && reinterpret_cast<std::uintptr_t>(out + i) % kLineBytes != 0; ++i) out[i] = combine(a[i], b[i]);
      for (; i + line <= end; i += line) {
        alignas(kLineBytes) T sum[line];
#pragma omp simd
        for (std::int64_t k = 0; k < line; ++k) sum[k] = combine(a[i + k], b[i + k]);
        stream_line(out + i, sum);
      }
      for (; i < end; ++i) out[i] = combine(a[i], b[i]);
      end_streaming();
    });
  });
}

}  // namespace

Number CpuBackend::sum_squares(Queue, ConstView x_n) {
  const float* x = Check("sum_squares").flat("x", x_n, x_n.count());
  return std::make_shared<const double>(ordered_sum(threads_, x_n.count(), [x](std::int64_t i) {
    return static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }));
}

Number CpuBackend::sum(Queue, ConstView x_n) {
  const float* x = Check("sum").flat("x", x_n, x_n.count());
  return std::make_shared<const double>(
      ordered_sum(threads_, x_n.count(), [x](std::int64_t i) { return static_cast<double>(x[i]); }));
}

bool CpuBackend::all_finite(Queue, ConstView x_n) {
  const std::int64_t count = x_n.count();
  const float* x = Check("all_finite").flat("x", x_n, count);
  // Infinity and NaN have all exponent bits set.
  constexpr std::int64_t piece = 1 << 16;
  int bad = 0;
#pragma omp parallel for schedule(static) reduction(| : bad) num_threads(threads_) if (count >= kWorthThreads)
  for (std::int64_t begin = 0; begin < count; begin += piece) {
    const std::int64_t end = std::min(count, begin + piece);
    int found = 0;
#pragma omp simd reduction(| : found)
    for (std::int64_t i = begin; i < end; ++i)
      found |= (std::bit_cast<std::uint32_t>(x[i]) & 0x7f800000u) == 0x7f800000u ? 1 : 0;
    bad |= found;
  }
  return bad == 0;
}

void CpuBackend::scale(Queue, View x_n, float factor) {
  float* x = Check("scale").flat("x", x_n, x_n.count());
  parallel_pieces(threads_, x_n.count(), [=](std::int64_t begin, std::int64_t end) {
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) x[i] *= factor;
  });
}

namespace {

/// work(out, a, b) with pointers to the elements of the views.
template <class Work>
void with_elements(const Check& check, const View& out, const ConstView& a, const ConstView& b, const Work& work) {
  const std::int64_t n = out.count();
  const auto as = [&]<class T>(T) {
    work(check.flat<T>("out", out, n), check.flat<T>("a", a, n), check.flat<T>("b", b, n));
  };
  switch (out.dtype) {
    case DType::kF32:
      return as(float{});
    case DType::kBF16:
      return as(BF16{});
    case DType::kF64:
      return as(double{});
    case DType::kI32:
      return as(std::int32_t{});
    case DType::kI64:
      return as(std::int64_t{});
    default:
      throw BugError("reduce: there is no arithmetic for {}", name_of(out.dtype));
  }
}

}  // namespace

// A long result apart from its terms goes past the caches: lines that are not brought in before they are overwritten
// take a third off what memory has to carry.  Who wants it in the caches asks for it in shorter pieces.
void CpuBackend::reduce(Queue, View out, ConstView a, ConstView b, ReduceOp op) {
  constexpr std::size_t long_bytes = 64 << 10;
  const bool past = out.bytes() >= long_bytes && out.data != a.data && out.data != b.data;
  with_elements(Check("reduce"), out, a, b, [&](auto* to, const auto* x, const auto* y) {
    if (past)
      reduce_past_caches_as(threads_, to, x, y, out.count(), op);
    else
      reduce_as(threads_, to, x, y, out.count(), op);
  });
}

}  // namespace banyan::kernels::cpu
