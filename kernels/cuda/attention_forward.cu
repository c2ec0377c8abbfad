// Causal grouped-query attention, after FlashAttention-2 (T. Dao, ICLR'24, algorithm 1): a block has a tile of queries
// of one head, meets the tiles of keys that they see one after the other, and keeps a running maximum and sum.
#include <type_traits>

#include "kernels/cuda/attention_tile.cuh"

namespace banyan::kernels::cuda {
namespace attention {
namespace {

template <int D>
struct ForwardShared {
  OuterTile<D> query;
  InnerTile<D> key, value;
  ScoreTile<D> scores;
};

template <int D, class T>
__global__ void __launch_bounds__(Form<D>::threads, 1)
    attention_forward_kernel(T* __restrict__ out, float* __restrict__ lse, const T* __restrict__ query,
                             const T* __restrict__ key, const T* __restrict__ value,
                             const QueryTile* __restrict__ tiles, const int* __restrict__ table,
                             const int64_t* __restrict__ sample, const int* __restrict__ position, AttentionSizes z,
                             bool groups) {
  auto& m = dynamic_shared<ForwardShared<D>>();
  const int x = static_cast<int>(threadIdx.x) % 16, y = static_cast<int>(threadIdx.x) / 16;
  const int h = static_cast<int>(blockIdx.x) % z.heads, columns = z.head_size;
  const QueryTile t = tiles[blockIdx.x / static_cast<unsigned>(z.heads)];
  const int64_t head = static_cast<int64_t>(h) * columns, key_head = static_cast<int64_t>(h / z.group) * columns;
  const auto key_row = [&](int j) -> int64_t {
    if (!table) return t.key + j;
    return static_cast<int64_t>(table[t.key + j / z.block_size]) * z.block_size + j % z.block_size;
  };
  load_tile<D, Form<D>::outer>(m.query, t.count, columns, groups, z.scale,
                               [&](int r) { return query + (t.row + r) * z.q_stride + head; });
  float most[4], total[4] = {}, sum[4][Form<D>::sums] = {};
#pragma unroll
  for (int i = 0; i < 4; ++i) most[i] = -kInfinity;
  for (int j = 0; j < t.keys; j += kInner) {
    load_tile<D, kInner>(m.key, t.keys - j, columns, groups, 1.0f,
                         [&](int r) { return key + key_row(j + r) * z.k_stride + key_head; });
    load_tile<D, kInner>(m.value, t.keys - j, columns, groups, 1.0f,
                         [&](int r) { return value + key_row(j + r) * z.v_stride + key_head; });
    __syncthreads();
    float s[4][kScores] = {};
    add_dots<D>(s, m.query, m.key);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      // Every query sees key 0: after the first tile the maximum is finite.
      float top = most[i];
#pragma unroll
      for (int k = 0; k < kScores; ++k) {
        const int at = j + x + 16 * k;
        if (at >= t.keys || at > t.position + y * 4 + i) s[i][k] = -kInfinity;
        top = fmaxf(top, s[i][k]);
      }
      top = over_row(top, [](float a, float b) { return fmaxf(a, b); });
      const float shrunk = expf(most[i] - top);
      most[i] = top;
      total[i] *= shrunk;  // the thread's share
#pragma unroll
      for (int k = 0; k < kScores; ++k) {
        s[i][k] = expf(s[i][k] - top);
        total[i] += s[i][k];
      }
#pragma unroll
      for (int c = 0; c < Form<D>::sums; ++c) sum[i][c] *= shrunk;
    }
    if (z.kept > 1) drop(s, m.scores, z, sample, position, t.row, t.count, h, j);
    put_scores(m.scores, s);
    __syncwarp();
    add_product<D>(sum, m.scores, m.value);
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int r = y * 4 + i;
    total[i] = over_row(total[i], [](float a, float b) { return a + b; });
    if (r >= t.count) continue;
    // A sequence without keys: zeros.
    store_row<D>(out + (t.row + r) * static_cast<int64_t>(z.heads) * columns + head, sum[i],
                 t.keys > 0 ? 1.0f / total[i] : 0.0f, columns);
    if (x == 0) lse[h * z.rows + t.row + r] = t.keys > 0 ? most[i] + logf(total[i]) : -kInfinity;
  }
}

}  // namespace
}  // namespace attention

template <class T>
cudaError_t attention_forward(cudaStream_t s, T* out, float* lse, const T* query, const T* key, const T* value,
                              const QueryTile* tiles, int64_t tile_count, const int* table, const int64_t* sample,
                              const int* position, AttentionSizes z) {
  using namespace attention;
  if constexpr (std::is_same_v<T, bf16>)
    if (z.head_size <= kMostMmaHeadSize)
      return attention_mma_forward(s, out, lse, query, key, value, tiles, tile_count, table, sample, position, z);
  const bool groups = aligned(query, z.head_size, z.q_stride) && aligned(key, z.head_size, z.k_stride) &&
                      aligned(value, z.head_size, z.v_stride);
  return for_head_size<T>(z.head_size, [&]<int D>(std::integral_constant<int, D>) {
    return launch_with<ForwardShared<D>>(dim3(static_cast<unsigned>(tile_count * z.heads)), dim3(Form<D>::threads), s,
                                         attention_forward_kernel<D, T>, out, lse, query, key, value, tiles, table,
                                         sample, position, z, groups);
  });
}

#define BANYAN_FOR(T)                                                                                              \
  template cudaError_t attention_forward(cudaStream_t, T*, float*, const T*, const T*, const T*, const QueryTile*, \
                                         int64_t, const int*, const int64_t*, const int*, AttentionSizes);
BANYAN_FOR(float)
BANYAN_FOR(__nv_bfloat16)
#undef BANYAN_FOR

}  // namespace banyan::kernels::cuda
