// Gradients of attention, after FlashAttention-2 (T. Dao, ICLR'24, algorithm 2), in two passes without atomics: one
// has a tile of queries and walks over keys, the other a tile of keys and walks over the queries of all heads that
// share it.  Scores are computed in both; that costs two products of seven and keeps the order of every sum.
//   p = exp(scale q k - lse)   d_p = (d_out v) * dropout   d_s = p (d_p - delta)
//   d_q = scale d_s k          d_k = d_s^T scale q         d_v = (p * dropout)^T d_out
#include <type_traits>

#include "kernels/cuda/attention_tile.cuh"

namespace banyan::kernels::cuda {
namespace attention {
namespace {

constexpr int kDeltaThreads = 256;

/// `width` neighbouring lanes, a power of two, have the columns of one head of one row.
template <class T>
__global__ void __launch_bounds__(kDeltaThreads)
    delta_kernel(float* __restrict__ delta, const T* __restrict__ d_out, const T* __restrict__ out, int64_t rows,
                 int heads, int head_size, int width, bool groups) {
  constexpr int N = kGroup<T>;
  const int64_t item = (static_cast<int64_t>(blockIdx.x) * kDeltaThreads + threadIdx.x) / width;
  const int lane = static_cast<int>(threadIdx.x) % width;
  float sum = 0;
  if (item < rows * heads)
    for (int c = lane * N; c < head_size; c += width * N) {
      const int64_t at = item * head_size + c;
      float a[N], b[N];
      if (groups) {
        load<true>(a, d_out + at, N);
        load<true>(b, out + at, N);
      } else {
        load<false>(a, d_out + at, head_size - c);
        load<false>(b, out + at, head_size - c);
      }
#pragma unroll
      for (int n = 0; n < N; ++n) sum += a[n] * b[n];
    }
  for (int other = width / 2; other > 0; other /= 2) sum += __shfl_xor_sync(kAllLanes, sum, other);
  if (lane == 0 && item < rows * heads) delta[item % heads * rows + item / heads] = sum;
}

template <int D>
struct QueryShared {
  OuterTile<D> query, d_out;
  InnerTile<D> key, value;
  ScoreTile<D> scores;
};

template <int D, class T>
__global__ void __launch_bounds__(Form<D>::threads, 1)
    attention_query_kernel(T* __restrict__ d_query, const T* __restrict__ d_out, const T* __restrict__ query,
                           const T* __restrict__ key, const T* __restrict__ value, const float* __restrict__ lse,
                           const float* __restrict__ delta, const QueryTile* __restrict__ tiles,
                           const int64_t* __restrict__ sample, const int* __restrict__ position, AttentionSizes z,
                           int64_t d_stride, bool groups) {
  auto& m = dynamic_shared<QueryShared<D>>();
  const int x = static_cast<int>(threadIdx.x) % 16, y = static_cast<int>(threadIdx.x) / 16;
  const int h = static_cast<int>(blockIdx.x) % z.heads, columns = z.head_size;
  const QueryTile t = tiles[blockIdx.x / static_cast<unsigned>(z.heads)];
  const int64_t head = static_cast<int64_t>(h) * columns, key_head = static_cast<int64_t>(h / z.group) * columns;
  load_tile<D, Form<D>::outer>(m.query, t.count, columns, groups, z.scale,
                               [&](int r) { return query + (t.row + r) * z.q_stride + head; });
  load_tile<D, Form<D>::outer>(m.d_out, t.count, columns, groups, 1.0f, [&](int r) {
    return d_out + (t.row + r) * static_cast<int64_t>(z.heads) * columns + head;
  });
  float log_sum[4], sub[4], sum[4][Form<D>::sums] = {};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int r = y * 4 + i;
    log_sum[i] = r < t.count ? lse[h * z.rows + t.row + r] : kInfinity;  // probability zero
    sub[i] = r < t.count ? delta[h * z.rows + t.row + r] : 0.0f;
  }
  for (int j = 0; j < t.keys; j += kInner) {
    load_tile<D, kInner>(m.key, t.keys - j, columns, groups, 1.0f,
                         [&](int r) { return key + (t.key + j + r) * z.k_stride + key_head; });
    load_tile<D, kInner>(m.value, t.keys - j, columns, groups, 1.0f,
                         [&](int r) { return value + (t.key + j + r) * z.v_stride + key_head; });
    __syncthreads();
    float s[4][kScores] = {}, g[4][kScores] = {};
    add_dots<D>(s, m.query, m.key);
    add_dots<D>(g, m.d_out, m.value);
    if (z.kept > 1) drop(g, m.scores, z, sample, position, t.row, t.count, h, j);
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int k = 0; k < kScores; ++k) {
        const int at = j + x + 16 * k;
        const bool seen = at < t.keys && at <= t.position + y * 4 + i;
        s[i][k] = seen ? expf(s[i][k] - log_sum[i]) * (g[i][k] - sub[i]) : 0.0f;
      }
    put_scores(m.scores, s);
    __syncwarp();
    add_product<D>(sum, m.scores, m.key);
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int r = y * 4 + i;
    if (r < t.count) store_row<D>(d_query + (t.row + r) * d_stride + head, sum[i], z.scale, columns);
  }
}

template <int D>
struct KeyShared {
  OuterTile<D> key, value;
  InnerTile<D> query, d_out;
  ScoreTile<D> scores;
};

template <int D, class T>
__global__ void __launch_bounds__(Form<D>::threads, 1)
    attention_key_kernel(T* __restrict__ d_key, T* __restrict__ d_value, const T* __restrict__ d_out,
                         const T* __restrict__ query, const T* __restrict__ key, const T* __restrict__ value,
                         const float* __restrict__ lse, const float* __restrict__ delta,
                         const KeyTile* __restrict__ tiles, const int64_t* __restrict__ sample,
                         const int* __restrict__ position, AttentionSizes z, int64_t d_key_stride,
                         int64_t d_value_stride, bool groups) {
  auto& m = dynamic_shared<KeyShared<D>>();
  const int x = static_cast<int>(threadIdx.x) % 16, y = static_cast<int>(threadIdx.x) / 16;
  const int key_heads = z.heads / z.group, kh = static_cast<int>(blockIdx.x) % key_heads, columns = z.head_size;
  const KeyTile t = tiles[blockIdx.x / static_cast<unsigned>(key_heads)];
  const int64_t key_head = static_cast<int64_t>(kh) * columns;
  load_tile<D, Form<D>::outer>(m.key, t.count, columns, groups, 1.0f,
                               [&](int r) { return key + (t.row + r) * z.k_stride + key_head; });
  load_tile<D, Form<D>::outer>(m.value, t.count, columns, groups, 1.0f,
                               [&](int r) { return value + (t.row + r) * z.v_stride + key_head; });
  float key_sum[4][Form<D>::sums] = {}, value_sum[4][Form<D>::sums] = {};
  const int first_query = max(0, t.first - t.position);  // earlier ones see none of these keys
  for (int h = kh * z.group; h < (kh + 1) * z.group; ++h)
    for (int q = first_query; q < t.q_count; q += kInner) {
      const int64_t head = static_cast<int64_t>(h) * columns;
      const int row = t.q_row + q, count = t.q_count - q;
      load_tile<D, kInner>(m.query, count, columns, groups, z.scale,
                           [&](int r) { return query + (row + r) * z.q_stride + head; });
      load_tile<D, kInner>(m.d_out, count, columns, groups, 1.0f,
                           [&](int r) { return d_out + (row + r) * static_cast<int64_t>(z.heads) * columns + head; });
      __syncthreads();
      float p[4][kScores] = {}, g[4][kScores] = {};
      add_dots<D>(p, m.key, m.query);
      add_dots<D>(g, m.value, m.d_out);
#pragma unroll
      for (int k = 0; k < kScores; ++k) {
        const int r = x + 16 * k;
        const bool real = r < count;
        const float log_sum = real ? lse[h * z.rows + row + r] : 0.0f, sub = real ? delta[h * z.rows + row + r] : 0.0f;
        float f[4] = {1, 1, 1, 1};
        if (z.kept > 1 && real) dropout_factors(f, z, sample[row + r], position[row + r], h, t.first + y * 4);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const bool seen = real && t.first + y * 4 + i <= t.position + q + r;
          const float e = seen ? expf(p[i][k] - log_sum) : 0.0f;
          p[i][k] = e * f[i];
          g[i][k] = e * (g[i][k] * f[i] - sub);
        }
      }
      put_scores(m.scores, p);
      __syncwarp();
      add_product<D>(value_sum, m.scores, m.d_out);
      __syncwarp();
      put_scores(m.scores, g);
      __syncwarp();
      add_product<D>(key_sum, m.scores, m.query);
      __syncthreads();
    }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int r = y * 4 + i;
    if (r >= t.count) continue;
    store_row<D>(d_key + (t.row + r) * d_key_stride + key_head, key_sum[i], 1.0f, columns);
    store_row<D>(d_value + (t.row + r) * d_value_stride + key_head, value_sum[i], 1.0f, columns);
  }
}

/// Whether all that a pass reads can be read in groups.
template <class T>
bool in_groups(const T* d_out, const T* query, const T* key, const T* value, const AttentionSizes& z) {
  return aligned(d_out, z.head_size, z.head_size) && aligned(query, z.head_size, z.q_stride) &&
         aligned(key, z.head_size, z.k_stride) && aligned(value, z.head_size, z.v_stride);
}

}  // namespace
}  // namespace attention

template <class T>
cudaError_t attention_delta(cudaStream_t s, float* delta, const T* d_out, const T* out, AttentionSizes z) {
  using namespace attention;
  int width = 1;
  while (width < 32 && width * kGroup<T> < z.head_size) width *= 2;
  const bool groups = aligned(d_out, z.head_size, z.head_size) && aligned(out);
  return launch(
      {dim3(static_cast<unsigned>(ceil_div(z.rows * z.heads * width, kDeltaThreads))), dim3(kDeltaThreads), 0, s},
      delta_kernel<T>, delta, d_out, out, z.rows, z.heads, z.head_size, width, groups);
}

template <class T>
cudaError_t attention_backward_query(cudaStream_t s, T* d_query, const T* d_out, const T* query, const T* key,
                                     const T* value, const float* lse, const float* delta, const QueryTile* tiles,
                                     int64_t tile_count, const int64_t* sample, const int* position, AttentionSizes z,
                                     int64_t d_stride) {
  using namespace attention;
  if constexpr (std::is_same_v<T, bf16>)
    if (z.head_size <= kMostMmaHeadSize)
      return attention_mma_query(s, d_query, d_out, query, key, value, lse, delta, tiles, tile_count, sample, position,
                                 z, d_stride);
  const bool groups = in_groups(d_out, query, key, value, z);
  return for_head_size<T>(z.head_size, [&]<int D>(std::integral_constant<int, D>) {
    return launch_with<QueryShared<D>>(dim3(static_cast<unsigned>(tile_count * z.heads)), dim3(Form<D>::threads), s,
                                       attention_query_kernel<D, T>, d_query, d_out, query, key, value, lse, delta,
                                       tiles, sample, position, z, d_stride, groups);
  });
}

template <class T>
cudaError_t attention_backward_key(cudaStream_t s, T* d_key, T* d_value, const T* d_out, const T* query, const T* key,
                                   const T* value, const float* lse, const float* delta, const KeyTile* tiles,
                                   int64_t tile_count, const int64_t* sample, const int* position, AttentionSizes z,
                                   int64_t d_key_stride, int64_t d_value_stride) {
  using namespace attention;
  if constexpr (std::is_same_v<T, bf16>)
    if (z.head_size <= kMostMmaHeadSize)
      return attention_mma_key(s, d_key, d_value, d_out, query, key, value, lse, delta, tiles, tile_count, sample,
                               position, z, d_key_stride, d_value_stride);
  const bool groups = in_groups(d_out, query, key, value, z);
  return for_head_size<T>(z.head_size, [&]<int D>(std::integral_constant<int, D>) {
    return launch_with<KeyShared<D>>(dim3(static_cast<unsigned>(tile_count * (z.heads / z.group))),
                                     dim3(Form<D>::threads), s, attention_key_kernel<D, T>, d_key, d_value, d_out,
                                     query, key, value, lse, delta, tiles, sample, position, z, d_key_stride,
                                     d_value_stride, groups);
  });
}

#define BANYAN_FOR(T)                                                                                                  \
  template cudaError_t attention_delta(cudaStream_t, float*, const T*, const T*, AttentionSizes);                      \
  template cudaError_t attention_backward_query(cudaStream_t, T*, const T*, const T*, const T*, const T*,              \
                                                const float*, const float*, const QueryTile*, int64_t, const int64_t*, \
                                                const int*, AttentionSizes, int64_t);                                  \
  template cudaError_t attention_backward_key(cudaStream_t, T*, T*, const T*, const T*, const T*, const T*,            \
                                              const float*, const float*, const KeyTile*, int64_t, const int64_t*,     \
                                              const int*, AttentionSizes, int64_t, int64_t);
BANYAN_FOR(float)
BANYAN_FOR(__nv_bfloat16)
#undef BANYAN_FOR

}  // namespace banyan::kernels::cuda
