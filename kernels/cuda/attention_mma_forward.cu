// The forward pass of attention_forward.cu in bf16, for heads of up to 128 channels: products by the tensor cores, keys
// and values of the next tile on their way while this one is worked on.
#include <type_traits>

#include "kernels/cuda/attention_mma.cuh"

namespace banyan::kernels::cuda {
namespace attention::mma {
namespace {

constexpr int kInner = 64;

template <int D>
struct ForwardShared {
  Tile<D, kRows> query;
  Tile<D, kInner> key[2], value[2];
};

template <int D>
__global__ void __launch_bounds__(kThreads, 1)
    attention_mma_forward_kernel(bf16* __restrict__ out, float* __restrict__ lse, const bf16* __restrict__ query,
                                 const bf16* __restrict__ key, const bf16* __restrict__ value,
                                 const QueryTile* __restrict__ tiles, const int* __restrict__ table,
                                 const int64_t* __restrict__ sample, const int* __restrict__ position, AttentionSizes z,
                                 bool groups) {
  auto& m = dynamic_shared<ForwardShared<D>>();
  const int h = static_cast<int>(blockIdx.x) % z.heads, columns = z.head_size;
  const QueryTile t = tiles[blockIdx.x / static_cast<unsigned>(z.heads)];
  const int64_t head = static_cast<int64_t>(h) * columns, key_head = static_cast<int64_t>(h / z.group) * columns;
  const auto key_row = [&](int j) -> int64_t {
    if (!table) return t.key + j;
    return static_cast<int64_t>(table[t.key + j / z.block_size]) * z.block_size + j % z.block_size;
  };
  const auto fetch_keys = [&](int buffer, int j) {
    fetch(m.key[buffer], t.keys - j, columns, groups,
          [&](int r) { return key + key_row(j + r) * z.k_stride + key_head; });
    fetch(m.value[buffer], t.keys - j, columns, groups,
          [&](int r) { return value + key_row(j + r) * z.v_stride + key_head; });
  };
  fetch(m.query, t.count, columns, groups, [&](int r) { return query + (t.row + r) * z.q_stride + head; });
  if (t.keys > 0) fetch_keys(0, 0);
  __pipeline_commit();
  const int first = warp() * 16, mine = first + lane() / 4;  // of the tile's queries: the warp's, the lane's
  const int drawn = min(mine + lane() % 2 * 8, t.count - 1);
  const int64_t my_sample = z.kept > 1 ? sample[t.row + drawn] : 0;
  const int my_position = z.kept > 1 ? position[t.row + drawn] : 0;
  const float steep = z.scale * kLog2e;
  float most[2] = {-kInfinity, -kInfinity}, total[2] = {}, sum[D / 8][4] = {};
  for (int j = 0, b = 0; j < t.keys; j += kInner, b ^= 1) {
    if (j + kInner < t.keys) fetch_keys(b ^ 1, j + kInner);
    __pipeline_commit();
    __pipeline_wait_prior(1);  // all but what was asked for last
    __syncthreads();
    if (j <= t.position + first + 15) {  // else none of the warp's queries sees these keys
      float s[kInner / 8][4] = {};
      add_dots<D, kInner>(s, m.query, m.key[b]);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        // Every query sees key 0: after the first tile the maximum is finite.
        float top = most[i];
        const int end = min(t.keys, t.position + mine + 8 * i + 1) - j - lane() % 4 * 2;
#pragma unroll
        for (int n = 0; n < kInner / 8; ++n)
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            float& score = s[n][2 * i + e];
            if (n * 8 + e >= end) score = -kInfinity;
            top = fmaxf(top, score);
          }
        top = over_row(top, [](float x, float y) { return fmaxf(x, y); });
        const float shrunk = exp2f((most[i] - top) * steep);
        most[i] = top;
        total[i] *= shrunk;  // the lane's share
#pragma unroll
        for (int n = 0; n < kInner / 8; ++n)
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            s[n][2 * i + e] = exp2f((s[n][2 * i + e] - top) * steep);
            total[i] += s[n][2 * i + e];
          }
#pragma unroll
        for (int n = 0; n < D / 8; ++n) {
          sum[n][2 * i] *= shrunk;
          sum[n][2 * i + 1] *= shrunk;
        }
      }
      // Their factor comes at the end: the largest probability, 1 so far, is then bf16 without rounding.
      if (z.kept > 1) drop<kInner>(s, 1.0f, z, my_sample, my_position, h, j);
      add_product<D, kInner>(sum, s, m.value[b]);
    }
    __syncthreads();
  }
  __pipeline_wait_prior(0);
  float inverse[2];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    total[i] = over_row(total[i], [](float x, float y) { return x + y; });
    inverse[i] = t.keys > 0 ? z.kept / total[i] : 0.0f;  // a sequence without keys: zeros
    const int r = mine + 8 * i;
    if (r < t.count && lane() % 4 == 0)
      lse[h * z.rows + t.row + r] = t.keys > 0 ? most[i] * z.scale + logf(total[i]) : -kInfinity;
  }
  store_rows<D>(sum, inverse, columns, [&](int i) -> bf16* {
    const int r = mine + 8 * i;
    return r < t.count ? out + (t.row + r) * static_cast<int64_t>(z.heads) * columns + head : nullptr;
  });
}

}  // namespace
}  // namespace attention::mma

cudaError_t attention_mma_forward(cudaStream_t s, bf16* out, float* lse, const bf16* query, const bf16* key,
                                  const bf16* value, const QueryTile* tiles, int64_t tile_count, const int* table,
                                  const int64_t* sample, const int* position, AttentionSizes z) {
  using namespace attention::mma;
  const bool groups = aligned(query, z.head_size, z.q_stride) && aligned(key, z.head_size, z.k_stride) &&
                      aligned(value, z.head_size, z.v_stride);
  return for_head_size(z.head_size, [&]<int D>(std::integral_constant<int, D>) {
    return launch_with<ForwardShared<D>>(dim3(static_cast<unsigned>(tile_count * z.heads)), dim3(kThreads), s,
                                         attention_mma_forward_kernel<D>, out, lse, query, key, value, tiles, table,
                                         sample, position, z, groups);
  });
}

}  // namespace banyan::kernels::cuda
