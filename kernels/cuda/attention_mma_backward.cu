// The two passes of attention_backward.cu in bf16, for heads of up to 128 channels: products by the tensor cores, the
// next tile on its way while this one is worked on.  Probabilities and d_s are rounded to bf16 for the products they go
// into; sums stay fp32.
#include <type_traits>

#include "kernels/cuda/attention_mma.cuh"

namespace banyan::kernels::cuda {
namespace attention::mma {
namespace {

constexpr int kInner = 32;

template <int D>
struct BackwardShared {
  Tile<D, kRows> outer[2];                     // queries and d_out, or keys and values
  Tile<D, kInner> inner[2][2];                 // keys and values, or queries and d_out; two of each
  float log_sum[2][kInner], delta[2][kInner];  // of inner queries
};

template <int D>
__global__ void __launch_bounds__(kThreads, 1)
    attention_mma_query_kernel(bf16* __restrict__ d_query, const bf16* __restrict__ d_out,
                               const bf16* __restrict__ query, const bf16* __restrict__ key,
                               const bf16* __restrict__ value, const float* __restrict__ lse,
                               const float* __restrict__ delta, const QueryTile* __restrict__ tiles,
                               const int64_t* __restrict__ sample, const int* __restrict__ position, AttentionSizes z,
                               int64_t d_stride, bool groups) {
  auto& m = dynamic_shared<BackwardShared<D>>();
  const int h = static_cast<int>(blockIdx.x) % z.heads, columns = z.head_size;
  const QueryTile t = tiles[blockIdx.x / static_cast<unsigned>(z.heads)];
  const int64_t head = static_cast<int64_t>(h) * columns, key_head = static_cast<int64_t>(h / z.group) * columns;
  const int64_t out_stride = static_cast<int64_t>(z.heads) * columns;
  const auto fetch_keys = [&](int b, int j) {
    fetch(m.inner[b][0], t.keys - j, columns, groups,
          [&](int r) { return key + (t.key + j + r) * z.k_stride + key_head; });
    fetch(m.inner[b][1], t.keys - j, columns, groups,
          [&](int r) { return value + (t.key + j + r) * z.v_stride + key_head; });
  };
  fetch(m.outer[0], t.count, columns, groups, [&](int r) { return query + (t.row + r) * z.q_stride + head; });
  fetch(m.outer[1], t.count, columns, groups, [&](int r) { return d_out + (t.row + r) * out_stride + head; });
  if (t.keys > 0) fetch_keys(0, 0);
  __pipeline_commit();
  const int first = warp() * 16, mine = first + lane() / 4;
  const int drawn = min(mine + lane() % 2 * 8, t.count - 1);
  const int64_t my_sample = z.kept > 1 ? sample[t.row + drawn] : 0;
  const int my_position = z.kept > 1 ? position[t.row + drawn] : 0;
  const float steep = z.scale * kLog2e;
  float log_sum[2], sub[2], sum[D / 8][4] = {};
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int r = mine + 8 * i;
    log_sum[i] = r < t.count ? lse[h * z.rows + t.row + r] * kLog2e : 0.0f;
    sub[i] = r < t.count ? delta[h * z.rows + t.row + r] : 0.0f;
  }
  for (int j = 0, b = 0; j < t.keys; j += kInner, b ^= 1) {
    if (j + kInner < t.keys) fetch_keys(b ^ 1, j + kInner);
    __pipeline_commit();
    __pipeline_wait_prior(1);
    __syncthreads();
    if (j <= t.position + first + 15) {
      float s[kInner / 8][4] = {}, g[kInner / 8][4] = {};
      add_dots<D, kInner>(s, m.outer[0], m.inner[b][0]);
      add_dots<D, kInner>(g, m.outer[1], m.inner[b][1]);
      if (z.kept > 1) drop<kInner>(g, z.kept, z, my_sample, my_position, h, j);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int seen = mine + 8 * i < t.count ? min(t.keys, t.position + mine + 8 * i + 1) : 0;
        const int end = seen - j - lane() % 4 * 2;
#pragma unroll
        for (int n = 0; n < kInner / 8; ++n)
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            const float p = n * 8 + e < end ? exp2f(s[n][2 * i + e] * steep - log_sum[i]) : 0.0f;
            s[n][2 * i + e] = p * (g[n][2 * i + e] - sub[i]);
          }
      }
      add_product<D, kInner>(sum, s, m.inner[b][0]);
    }
    __syncthreads();
  }
  __pipeline_wait_prior(0);
  const float factor[2] = {z.scale, z.scale};
  store_rows<D>(sum, factor, columns, [&](int i) -> bf16* {
    const int r = mine + 8 * i;
    return r < t.count ? d_query + (t.row + r) * d_stride + head : nullptr;
  });
}

template <int D>
__global__ void __launch_bounds__(kThreads, 1)
    attention_mma_key_kernel(bf16* __restrict__ d_key, bf16* __restrict__ d_value, const bf16* __restrict__ d_out,
                             const bf16* __restrict__ query, const bf16* __restrict__ key,
                             const bf16* __restrict__ value, const float* __restrict__ lse,
                             const float* __restrict__ delta, const KeyTile* __restrict__ tiles,
                             const int64_t* __restrict__ sample, const int* __restrict__ position, AttentionSizes z,
                             int64_t d_key_stride, int64_t d_value_stride, bool groups) {
  auto& m = dynamic_shared<BackwardShared<D>>();
  const int key_heads = z.heads / z.group, kh = static_cast<int>(blockIdx.x) % key_heads, columns = z.head_size;
  const KeyTile t = tiles[blockIdx.x / static_cast<unsigned>(key_heads)];
  const int64_t key_head = static_cast<int64_t>(kh) * columns;
  const int64_t out_stride = static_cast<int64_t>(z.heads) * columns;
  const int first_query = max(0, t.first - t.position);  // earlier ones see none of these keys
  // The tiles of queries of all heads of the group, one sequence of steps.
  const int tiles_of_head = max(0, (t.q_count - first_query + kInner - 1) / kInner), steps = tiles_of_head * z.group;
  const auto head_of = [&](int step) { return kh * z.group + step / tiles_of_head; };
  const auto query_of = [&](int step) { return first_query + step % tiles_of_head * kInner; };
  const auto fetch_queries = [&](int b, int step) {
    const int h = head_of(step), q = query_of(step), row = t.q_row + q, count = t.q_count - q;
    const int64_t head = static_cast<int64_t>(h) * columns;
    fetch(m.inner[b][0], count, columns, groups, [&](int r) { return query + (row + r) * z.q_stride + head; });
    fetch(m.inner[b][1], count, columns, groups, [&](int r) { return d_out + (row + r) * out_stride + head; });
    if (const int r = static_cast<int>(threadIdx.x); r < kInner) {
      m.log_sum[b][r] = r < count ? lse[h * z.rows + row + r] * kLog2e : 0.0f;
      m.delta[b][r] = r < count ? delta[h * z.rows + row + r] : 0.0f;
    }
  };
  fetch(m.outer[0], t.count, columns, groups, [&](int r) { return key + (t.row + r) * z.k_stride + key_head; });
  fetch(m.outer[1], t.count, columns, groups, [&](int r) { return value + (t.row + r) * z.v_stride + key_head; });
  if (steps > 0) fetch_queries(0, 0);
  __pipeline_commit();
  const int mine = warp() * 16 + lane() / 4;
  const float steep = z.scale * kLog2e;
  float key_sum[D / 8][4] = {}, value_sum[D / 8][4] = {};
  for (int step = 0, b = 0; step < steps; ++step, b ^= 1) {
    if (step + 1 < steps) fetch_queries(b ^ 1, step + 1);
    __pipeline_commit();
    __pipeline_wait_prior(1);
    __syncthreads();
    const int h = head_of(step), q = query_of(step), row = t.q_row + q, count = t.q_count - q;
    float p[kInner / 8][4] = {}, g[kInner / 8][4] = {};
    add_dots<D, kInner>(p, m.outer[0], m.inner[b][0]);
    add_dots<D, kInner>(g, m.outer[1], m.inner[b][1]);
#pragma unroll
    for (int n = 0; n < kInner / 8; ++n) {
      float factor[4] = {1, 1, 1, 1};
      if (z.kept > 1) {
        // The four keys that share a block of random numbers are those of four lanes, each of which draws for one of
        // the four pairs of query and eight keys that they all have.
        const int own = lane() / 4 % 4, drawn = row + min(n * 8 + lane() % 4 * 2 + own % 2, count - 1);
        const int quad = t.first + warp() * 16 + lane() / 16 * 4 + own / 2 * 8;
        const unsigned kept = kept_keys(z, sample[drawn], position[drawn], h, quad);
#pragma unroll
        for (int pair = 0; pair < 4; ++pair) {
          const unsigned bits = __shfl_sync(kAllLanes, kept, lane() / 16 * 16 + pair * 4 + lane() % 4);
          factor[pair] = (bits >> own & 1) != 0 ? z.kept : 0.0f;
        }
      }
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int r = n * 8 + lane() % 4 * 2 + e;
        const float log_sum = m.log_sum[b][r], sub = m.delta[b][r];
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const bool seen = r < count && t.first + mine + 8 * i <= t.position + q + r;
          const float probability = seen ? exp2f(p[n][2 * i + e] * steep - log_sum) : 0.0f;
          p[n][2 * i + e] = probability * factor[2 * i + e];
          g[n][2 * i + e] = probability * (g[n][2 * i + e] * factor[2 * i + e] - sub);
        }
      }
    }
    add_product<D, kInner>(value_sum, p, m.inner[b][1]);
    add_product<D, kInner>(key_sum, g, m.inner[b][0]);
    __syncthreads();
  }
  __pipeline_wait_prior(0);
  const float scale[2] = {z.scale, z.scale}, one[2] = {1, 1};
  store_rows<D>(key_sum, scale, columns, [&](int i) -> bf16* {
    const int r = mine + 8 * i;
    return r < t.count ? d_key + (t.row + r) * d_key_stride + key_head : nullptr;
  });
  store_rows<D>(value_sum, one, columns, [&](int i) -> bf16* {
    const int r = mine + 8 * i;
    return r < t.count ? d_value + (t.row + r) * d_value_stride + key_head : nullptr;
  });
}

bool in_groups(const bf16* d_out, const bf16* query, const bf16* key, const bf16* value, const AttentionSizes& z) {
  return aligned(d_out, z.head_size, z.head_size) && aligned(query, z.head_size, z.q_stride) &&
         aligned(key, z.head_size, z.k_stride) && aligned(value, z.head_size, z.v_stride);
}

}  // namespace
}  // namespace attention::mma

cudaError_t attention_mma_query(cudaStream_t s, bf16* d_query, const bf16* d_out, const bf16* query, const bf16* key,
                                const bf16* value, const float* lse, const float* delta, const QueryTile* tiles,
                                int64_t tile_count, const int64_t* sample, const int* position, AttentionSizes z,
                                int64_t d_stride) {
  using namespace attention::mma;
  const bool groups = in_groups(d_out, query, key, value, z);
  return for_head_size(z.head_size, [&]<int D>(std::integral_constant<int, D>) {
    return launch_with<BackwardShared<D>>(dim3(static_cast<unsigned>(tile_count * z.heads)), dim3(kThreads), s,
                                          attention_mma_query_kernel<D>, d_query, d_out, query, key, value, lse, delta,
                                          tiles, sample, position, z, d_stride, groups);
  });
}

cudaError_t attention_mma_key(cudaStream_t s, bf16* d_key, bf16* d_value, const bf16* d_out, const bf16* query,
                              const bf16* key, const bf16* value, const float* lse, const float* delta,
                              const KeyTile* tiles, int64_t tile_count, const int64_t* sample, const int* position,
                              AttentionSizes z, int64_t d_key_stride, int64_t d_value_stride) {
  using namespace attention::mma;
  const bool groups = in_groups(d_out, query, key, value, z);
  return for_head_size(z.head_size, [&]<int D>(std::integral_constant<int, D>) {
    return launch_with<BackwardShared<D>>(dim3(static_cast<unsigned>(tile_count * (z.heads / z.group))), dim3(kThreads),
                                          s, attention_mma_key_kernel<D>, d_key, d_value, d_out, query, key, value, lse,
                                          delta, tiles, sample, position, z, d_key_stride, d_value_stride, groups);
  });
}

}  // namespace banyan::kernels::cuda
