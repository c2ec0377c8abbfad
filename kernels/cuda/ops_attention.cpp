// Attention: what it is given, checked, and its kernels started.
#include <cmath>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "kernels/cpu/attention_check.hpp"
#include "kernels/cuda/attention.hpp"
#include "kernels/cuda/attention_plan.hpp"
#include "kernels/cuda/cuda_backend.hpp"
#include "kernels/cuda/device_check.hpp"

namespace banyan::kernels::cuda {
namespace {

/// Arrays of the host that go to the device together.
class Parcel {
 public:
  /// Where the array will begin.
  template <class T>
  std::size_t add(std::span<const T> values) {
    const std::size_t at = (bytes_.size() + 15) / 16 * 16;
    bytes_.resize(at + values.size_bytes());
    if (!values.empty()) std::memcpy(bytes_.data() + at, values.data(), values.size_bytes());
    return at;
  }
  const std::vector<std::byte>& bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

template <class T>
AttentionSizes sizes_of(const DeviceCheck& check, const cpu::attention::Problem<T>& p, int64_t rows) {
  const Attention& a = p.a;
  if (a.head_size > kMostHeadSize)
    throw ConfigError("heads of {} channels: the GPU's kernels of attention take up to {}; write run.backend = cpu",
                      a.head_size, kMostHeadSize);
  AttentionSizes z;
  z.heads = a.heads;
  z.group = static_cast<int>(p.group);
  z.head_size = a.head_size;
  z.block_size = p.blocked() ? a.blocks.block_size : 0;
  z.rows = rows;
  z.q_stride = p.query.stride;
  z.k_stride = p.key.stride;
  z.v_stride = p.value.stride;
  z.scale = a.scale;
  if (a.dropout.p > 0) {
    check.that(a.dropout.channel0 % 4 == 0, "dropout.channel0", "is no multiple of 4");
    z.kept = 1.0f / (1.0f - a.dropout.p);
    // uniform(bits) >= p means (bits >> 8) * 2^-24 >= p: a comparison of integers.
    z.least_kept = static_cast<unsigned>(std::ceil(static_cast<double>(a.dropout.p) * 0x1p24)) << 8;
    z.dropout_key = a.dropout.key;
    z.channel0 = a.dropout.channel0;
  }
  return z;
}

}  // namespace

template <class T>
bool CudaBackend::attend_single(Queue q, T* out, float* lse, const cpu::attention::Problem<T>& p,
                                const SingleQueries& single, const AttentionSizes& z) {
  constexpr DeviceCheck check("attention_forward");
  const std::size_t room =
      single.parts.size() * static_cast<std::size_t>(z.heads * part_floats(z.head_size)) * sizeof(float);
  if (room > workspace_.bytes()) return false;
  if (single.rows.empty()) return true;
  Parcel parcel;
  const std::size_t parts_at = parcel.add(std::span(single.parts)), rows_at = parcel.add(std::span(single.rows));
  const std::size_t table_at = parcel.add(p.a.blocks.table);
  const auto* base =
      static_cast<const std::byte*>(staging_.upload(stream(q), parcel.bytes().data(), parcel.bytes().size()));
  const Workspace w = workspace(q, "attention_forward", room);
  check.must(cuda::attention_single(stream(q), out, lse, static_cast<float*>(w.data), p.query.data, p.key.data,
                                    p.value.data, reinterpret_cast<const KeyPart*>(base + parts_at),
                                    std::ssize(single.parts), reinterpret_cast<const RowParts*>(base + rows_at),
                                    std::ssize(single.rows),
                                    p.blocked() ? reinterpret_cast<const int*>(base + table_at) : nullptr, z));
  return true;
}

void CudaBackend::attention_forward(Queue q, View out_RHD, View lse_HR, ConstView query, ConstView key, ConstView value,
                                    const Attention& a) {
  constexpr DeviceCheck check("attention_forward");
  check.for_type(out_RHD.dtype, [&]<class T>(T) {
    const int64_t rows = out_RHD.shape[0];
    const auto out = check.matrix<T>("out", out_RHD, rows, int64_t{a.heads} * a.head_size);
    float* lse = check.flat("lse", lse_HR, a.heads * rows);
    const auto p = cpu::attention::checked<T>(check, query, key, value, a, rows);
    const AttentionSizes z = sizes_of(check, p, rows);
    if (a.dropout.p == 0)
      if (const std::optional<SingleQueries> single = single_queries(a))
        if (attend_single(q, out.data, lse, p, *single, z)) return;
    const std::vector<QueryTile> tiles = query_tiles(a, attention_tile_rows(a.head_size));
    if (tiles.empty()) return;
    Parcel parcel;
    const std::size_t tiles_at = parcel.add(std::span(tiles)), table_at = parcel.add(a.blocks.table);
    const std::size_t sample_at = parcel.add(a.dropout.sample), position_at = parcel.add(a.dropout.position);
    const auto* base =
        static_cast<const std::byte*>(staging_.upload(stream(q), parcel.bytes().data(), parcel.bytes().size()));
    check.must(cuda::attention_forward(stream(q), out.data, lse, p.query.data, p.key.data, p.value.data,
                                       reinterpret_cast<const QueryTile*>(base + tiles_at), std::ssize(tiles),
                                       p.blocked() ? reinterpret_cast<const int*>(base + table_at) : nullptr,
                                       reinterpret_cast<const int64_t*>(base + sample_at),
                                       reinterpret_cast<const int*>(base + position_at), z));
  });
}

void CudaBackend::attention_backward(Queue q, View d_query_RHD, View d_key_RGD, View d_value_RGD, ConstView d_out_RHD,
                                     ConstView query, ConstView key, ConstView value, ConstView out_RHD,
                                     ConstView lse_HR, const Attention& a) {
  constexpr DeviceCheck check("attention_backward");
  check.that(a.blocks.table.empty(), "blocks", "have no backward pass");
  check.for_type(out_RHD.dtype, [&]<class T>(T) {
    const int64_t rows = out_RHD.shape[0], D = a.head_size;
    const auto out = check.matrix<T>("out", out_RHD, rows, a.heads * D);
    const auto d_out = check.matrix<T>("d_out", d_out_RHD, rows, a.heads * D);
    const float* lse = check.flat("lse", lse_HR, a.heads * rows);
    const auto p = cpu::attention::checked<T>(check, query, key, value, a, rows);
    const auto d_query = check.strided<T>("d_query", d_query_RHD, rows, a.heads * D);
    const auto d_key = check.strided<T>("d_key", d_key_RGD, p.key.rows, a.kv_heads * D);
    const auto d_value = check.strided<T>("d_value", d_value_RGD, p.key.rows, a.kv_heads * D);
    const AttentionSizes z = sizes_of(check, p, rows);
    // Rows of no sequence have gradient zero, which no tile writes.
    if (a.q_offsets.front() > 0 || a.q_offsets.back() < rows) fill_zero(q, d_query_RHD);
    if (a.kv_offsets.front() > 0 || a.kv_offsets.back() < p.key.rows) {
      fill_zero(q, d_key_RGD);
      fill_zero(q, d_value_RGD);
    }
    const std::vector<QueryTile> queries = query_tiles(a, attention_tile_rows(a.head_size));
    const std::vector<KeyTile> keys = key_tiles(a, attention_tile_rows(a.head_size));
    if (queries.empty() && keys.empty()) return;
    Parcel parcel;
    const std::size_t queries_at = parcel.add(std::span(queries)), keys_at = parcel.add(std::span(keys));
    const std::size_t sample_at = parcel.add(a.dropout.sample), position_at = parcel.add(a.dropout.position);
    const auto* base =
        static_cast<const std::byte*>(staging_.upload(stream(q), parcel.bytes().data(), parcel.bytes().size()));
    const auto* sample = reinterpret_cast<const int64_t*>(base + sample_at);
    const auto* position = reinterpret_cast<const int*>(base + position_at);
    const Workspace w = workspace(q, "attention_backward", static_cast<std::size_t>(a.heads * rows) * sizeof(float));
    auto* delta = static_cast<float*>(w.data);
    if (!queries.empty()) {
      check.must(attention_delta(stream(q), delta, d_out.data, out.data, z));
      check.must(attention_backward_query(stream(q), d_query.data, d_out.data, p.query.data, p.key.data, p.value.data,
                                          lse, delta, reinterpret_cast<const QueryTile*>(base + queries_at),
                                          std::ssize(queries), sample, position, z, d_query.stride));
    }
    if (!keys.empty())
      check.must(attention_backward_key(stream(q), d_key.data, d_value.data, d_out.data, p.query.data, p.key.data,
                                        p.value.data, lse, delta, reinterpret_cast<const KeyTile*>(base + keys_at),
                                        std::ssize(keys), sample, position, z, d_key.stride, d_value.stride));
  });
}

}  // namespace banyan::kernels::cuda
