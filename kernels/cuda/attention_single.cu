// Attention of single queries, as in generation: a sequence's keys in parts, a block to each part and key head, which
// all query heads of its group meet while a key is in registers; then the parts are joined (T. Dao et al.,
// "Flash-Decoding for long-context inference", 2023).
//
// A few lanes share a key, eight channels each; such a team meets one key after the other and keeps a running maximum,
// sum and weighted sum of values.  Teams are joined at the end, in a fixed order.
#include <type_traits>

#include "kernels/cuda/attention.hpp"
#include "kernels/cuda/element.cuh"

namespace banyan::kernels::cuda {
namespace single {
namespace {

constexpr int kWarps = 4, kThreads = 32 * kWarps;
constexpr int kChannels = 8;  // of a lane
constexpr float kInfinity = __builtin_huge_valf();

/// D: the head size rounded up.
template <int D>
struct Form {
  static constexpr int lanes = D / kChannels;  ///< of a team
  static constexpr int per_warp = 32 / lanes, teams = kWarps * per_warp;
};

template <int D, int Heads>
struct Shared {
  float most[Form<D>::teams][Heads], total[Form<D>::teams][Heads], sum[Form<D>::teams][Heads][D];
};

template <class T>
__device__ __forceinline__ void load_channels(float (&f)[kChannels], const T* row, int c, int columns, bool groups) {
  if (c >= columns) return;
  if (groups)
    load<true>(f, row + c, kChannels);
  else
    load<false>(f, row + c, columns - c);
}

/// Heads: of a group that a block takes at a time; `chunks` of them make the group.
template <int D, int Heads, class T>
__global__ void __launch_bounds__(kThreads)
    attention_part_kernel(float* __restrict__ room, const T* __restrict__ query, const T* __restrict__ key,
                          const T* __restrict__ value, const KeyPart* __restrict__ parts, const int* __restrict__ table,
                          AttentionSizes z, int chunks, bool groups) {
  using F = Form<D>;
  auto& m = block_shared<Shared<D, Heads>>();
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int team = warp * F::per_warp + lane / F::lanes, c = lane % F::lanes * kChannels, columns = z.head_size;
  const int chunk = static_cast<int>(blockIdx.x) % chunks, key_heads = z.heads / z.group;
  const int key_head = static_cast<int>(blockIdx.x) / chunks % key_heads;
  const int64_t number = blockIdx.x / static_cast<unsigned>(chunks * key_heads);
  const KeyPart p = parts[number];
  const int head0 = key_head * z.group + chunk * Heads, heads = min(Heads, z.group - chunk * Heads);
  const auto key_row = [&](int j) -> int64_t {
    if (!table) return p.key + j;
    return static_cast<int64_t>(table[p.key + j / z.block_size]) * z.block_size + j % z.block_size;
  };

  float q[Heads][kChannels] = {}, sum[Heads][kChannels] = {}, most[Heads], total[Heads] = {};
#pragma unroll
  for (int h = 0; h < Heads; ++h) {
    most[h] = -kInfinity;
    if (h < heads)
      load_channels(q[h], query + p.row * z.q_stride + static_cast<int64_t>(head0 + h) * columns, c, columns, groups);
#pragma unroll
    for (int n = 0; n < kChannels; ++n) q[h][n] *= z.scale;
  }
  for (int first = warp * F::per_warp; first < p.count; first += F::teams) {
    const int j = first + lane / F::lanes;
    const bool there = j < p.count;
    float k[kChannels] = {}, v[kChannels] = {};
    if (there) {
      const int64_t row = key_row(p.first + j), at = static_cast<int64_t>(key_head) * columns;
      load_channels(k, key + row * z.k_stride + at, c, columns, groups);
      load_channels(v, value + row * z.v_stride + at, c, columns, groups);
    }
#pragma unroll
    for (int h = 0; h < Heads; ++h) {
      float score = 0;
#pragma unroll
      for (int n = 0; n < kChannels; ++n) score += q[h][n] * k[n];
#pragma unroll
      for (int other = F::lanes / 2; other > 0; other /= 2) score += __shfl_xor_sync(kAllLanes, score, other);
      if (!there) continue;
      const float top = fmaxf(most[h], score), shrunk = expf(most[h] - top), weight = expf(score - top);
      most[h] = top;
      total[h] = total[h] * shrunk + weight;
#pragma unroll
      for (int n = 0; n < kChannels; ++n) sum[h][n] = sum[h][n] * shrunk + weight * v[n];
    }
  }
#pragma unroll
  for (int h = 0; h < Heads; ++h) {
    if (c == 0) {
      m.most[team][h] = most[h];
      m.total[team][h] = total[h];
    }
    store<true>(&m.sum[team][h][c], sum[h], kChannels);
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < heads * columns; i += kThreads) {
    const int h = i / columns, d = i % columns;
    float top = -kInfinity, all = 0, of_d = 0;
    for (int t = 0; t < F::teams; ++t) top = fmaxf(top, m.most[t][h]);  // a part has a key: finite
    for (int t = 0; t < F::teams; ++t) {
      const float share = expf(m.most[t][h] - top);
      all += share * m.total[t][h];
      of_d += share * m.sum[t][h][d];
    }
    float* to = room + (number * z.heads + head0 + h) * part_floats(columns);
    to[2 + d] = of_d;
    if (d != 0) continue;
    to[0] = top;
    to[1] = all;
  }
}

/// A warp to a head of a query.
template <class T>
__global__ void __launch_bounds__(kThreads)
    attention_join_kernel(T* __restrict__ out, float* __restrict__ lse, const float* __restrict__ room,
                          const RowParts* __restrict__ rows, int64_t row_count, AttentionSizes z) {
  const int64_t w = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (w >= row_count * z.heads) return;
  const RowParts r = rows[w / z.heads];
  const int h = static_cast<int>(w % z.heads), lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t step = z.heads * part_floats(z.head_size);
  const float* parts = room + (static_cast<int64_t>(r.first) * z.heads + h) * part_floats(z.head_size);
  float top = -kInfinity, all = 0;
  for (int i = 0; i < r.count; ++i) top = fmaxf(top, parts[i * step]);
  for (int i = 0; i < r.count; ++i) all += expf(parts[i * step] - top) * parts[i * step + 1];
  T* to = out + (static_cast<int64_t>(r.row) * z.heads + h) * z.head_size;
  for (int d = lane; d < z.head_size; d += 32) {
    float sum = 0;
    for (int i = 0; i < r.count; ++i) sum += expf(parts[i * step] - top) * parts[i * step + 2 + d];
    to[d] = from_float<T>(r.count > 0 ? sum / all : 0.0f);  // a sequence without keys: zeros
  }
  if (lane == 0) lse[h * z.rows + r.row] = r.count > 0 ? top + logf(all) : -kInfinity;
}

template <int D, int Heads, class T>
cudaError_t start_parts(cudaStream_t s, float* room, const T* query, const T* key, const T* value, const KeyPart* parts,
                        int64_t part_count, const int* table, AttentionSizes z) {
  const int chunks = static_cast<int>(ceil_div(z.group, Heads));
  const bool groups = z.head_size % kChannels == 0 && aligned(query, z.head_size, z.q_stride) &&
                      aligned(key, z.head_size, z.k_stride) && aligned(value, z.head_size, z.v_stride);
  const int64_t blocks = part_count * (z.heads / z.group) * chunks;
  return launch({dim3(static_cast<unsigned>(blocks)), dim3(kThreads), 0, s}, attention_part_kernel<D, Heads, T>, room,
                query, key, value, parts, table, z, chunks, groups);
}

}  // namespace
}  // namespace single

template <class T>
cudaError_t attention_single(cudaStream_t s, T* out, float* lse, float* room, const T* query, const T* key,
                             const T* value, const KeyPart* parts, int64_t part_count, const RowParts* rows,
                             int64_t row_count, const int* table, AttentionSizes z) {
  using namespace single;
  if (part_count > 0) {
    const auto start = z.head_size <= 64    ? z.group == 1 ? start_parts<64, 1, T> : start_parts<64, 4, T>
                          : z.head_size <= 128 ? z.group == 1 ? start_parts<128, 1, T> : start_parts<128, 4, T>
                          : z.group == 1 ? start_parts<256, 1, T>
                                            : start_parts<256, 4, T>;
    if (const cudaError_t e = start(s, room, query, key, value, parts, part_count, table, z)) return e;
  }
  return launch({dim3(static_cast<unsigned>(ceil_div(row_count * z.heads, kWarps))), dim3(kThreads), 0, s},
                attention_join_kernel<T>, out, lse, room, rows, row_count, z);
}

#define BANYAN_FOR(T)                                                                                   \
  template cudaError_t attention_single(cudaStream_t, T*, float*, float*, const T*, const T*, const T*, \
                                        const KeyPart*, int64_t, const RowParts*, int64_t, const int*,  \
                                        AttentionSizes);
BANYAN_FOR(float)
BANYAN_FOR(__nv_bfloat16)
#undef BANYAN_FOR

}  // namespace banyan::kernels::cuda
