// Rotary position embedding, in the half-split order.
#include <cmath>

#include "kernels/cpu/check.hpp"
#include "kernels/cpu/cpu_backend.hpp"
#include "kernels/cpu/parallel.hpp"

namespace banyan::kernels::cpu {

void RotaryTable::cover(int new_head_size, float new_theta, std::int64_t wanted) {
  if (new_head_size != head_size || new_theta != theta) {
    head_size = new_head_size;
    theta = new_theta;
    cos_sin.clear();
  }
  const std::int64_t D = head_size, half = D / 2, old = positions();
  if (wanted <= old) return;
  cos_sin.reserve(static_cast<std::size_t>(wanted * D));  // exactly: it is part of the memory plan
  cos_sin.resize(static_cast<std::size_t>(wanted * D));
  for (std::int64_t i = 0; i < half; ++i) {
    const double frequency =
        std::pow(static_cast<double>(theta), -2.0 * static_cast<double>(i) / static_cast<double>(D));
    for (std::int64_t p = old; p < wanted; ++p) {
      const double angle = static_cast<double>(p) * frequency;
      cos_sin[static_cast<std::size_t>(p * D + i)] = static_cast<float>(std::cos(angle));
      cos_sin[static_cast<std::size_t>(p * D + half + i)] = static_cast<float>(std::sin(angle));
    }
  }
}

void CpuBackend::rotary(Queue, View x_RHD, ConstView position_R, int head_size, float theta, bool inverse) {
  constexpr Check check("rotary");
  check.by_element("x", x_RHD, [&]<class T>(T) {
    const auto x = check.strided<T>("x", x_RHD);
    const std::int32_t* position = check.flat<std::int32_t>("position", position_R, x.rows);
    check.that(head_size > 0 && head_size % 2 == 0, "head_size", "must be even and positive");
    check.that(x.columns % head_size == 0, "x", "does not hold whole heads");
    std::int64_t last = -1;
    for (std::int64_t r = 0; r < x.rows; ++r) {
      check.that(position[r] >= 0, "position", "holds a negative number");
      last = std::max<std::int64_t>(last, position[r]);
    }
    rotary_table_.cover(head_size, theta, last + 1);
    const std::int64_t D = head_size, half = D / 2, heads = x.columns / D;
    const float sign = inverse ? -1.0f : 1.0f;
    parallel_for(threads_, x.rows, 2 * x.count(), [&](std::int64_t r) {
      const float* cosine = rotary_table_.cos_sin.data() + position[r] * D;
      const float* sine = cosine + half;
      for (std::int64_t h = 0; h < heads; ++h) {
        T *first = x.row(r) + h * D, *second = first + half;
#pragma omp simd
        for (std::int64_t i = 0; i < half; ++i) {
          const float a = first[i], b = second[i], s = sign * sine[i];
          first[i] = a * cosine[i] - b * s;
          second[i] = b * cosine[i] + a * s;
        }
      }
    });
  });
}

}  // namespace banyan::kernels::cpu
