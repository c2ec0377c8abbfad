#include "src/train/shards.hpp"

#include <algorithm>
#include <numeric>

namespace banyan::train {
namespace {

/// The rows of a tensor that data rank `rank` owns, as flat elements.
View owned_view(View whole, int rank, int ranks) {
  const model::Range rows = owned_rows(whole.shape[0], rank, ranks);
  View v = whole.rows(rows.begin, rows.end);
  return v.reshaped({v.count()});
}

/// body(rows, bytes) for what data rank `rank` has for the others, and its place in the message.
template <class Body>
void for_update(const std::vector<model::LocalParam>& params, const Bucket& bucket, int rank, int ranks, auto message,
                const Body& body) {
  std::int64_t at = 0;
  for (const bool spread : {false, true})
    for (int i : bucket.params) {
      const model::LocalParam& p = params[static_cast<std::size_t>(i)];
      if (p.spread != spread) continue;
      const View rows = owned_view(spread ? p.rounded : p.param, rank, ranks);
      if (rows.count() == 0) continue;
      auto place = message;
      place.data += at;
      place.dtype = rows.dtype;
      place.shape = rows.shape;
      body(rows, place);
      at += static_cast<std::int64_t>(rows.bytes());
    }
}

}  // namespace

std::int64_t Bucket::elements() const { return std::accumulate(counts.begin(), counts.end(), std::int64_t{0}); }

std::int64_t Bucket::all_update_bytes() const {
  return std::accumulate(update_bytes.begin(), update_bytes.end(), std::int64_t{0});
}

std::vector<Bucket> make_buckets(const std::vector<model::LocalParam>& params, int parts, int data_ranks) {
  std::vector<Bucket> buckets(static_cast<std::size_t>(parts));
  for (int part = 0; part < parts; ++part) {
    Bucket& b = buckets[static_cast<std::size_t>(part)];
    b.part = part;
    b.counts.assign(static_cast<std::size_t>(data_ranks), 0);
    b.update_bytes = b.counts;
    for (std::size_t i = 0; i < params.size(); ++i) {
      const model::LocalParam& p = params[i];
      if (p.part != part) continue;
      if (b.params.empty()) b.begin = p.begin;
      if (p.begin < b.end) throw BugError("{} lies before its neighbours in the arena", p.logical.name);
      b.params.push_back(static_cast<int>(i));
      b.end = p.begin + p.count.count();
      for (int r = 0; r < data_ranks; ++r) {
        const std::int64_t count = owned_rows(p.count[0], r, data_ranks).count() * p.count.row_count();
        b.counts[static_cast<std::size_t>(r)] += count;
        b.update_bytes[static_cast<std::size_t>(r)] +=
            count * static_cast<std::int64_t>(size_of(p.spread ? DType::kBF16 : DType::kF32));
      }
    }
    for (std::int64_t& bytes : b.update_bytes) bytes = (bytes + 3) / 4 * 4;
  }
  return buckets;
}

void copy_rounded(kernels::Backend& backend, Queue q, View out, ConstView in) {
  if (out.dtype == in.dtype) return backend.copy(q, out, in);
  backend.narrow(q, out.reshaped({1, out.count()}), in.reshaped({1, in.count()}));
}

void copy_widened(kernels::Backend& backend, Queue q, View out, ConstView in) {
  if (out.dtype == in.dtype) return backend.copy(q, out, in);
  backend.from_bf16(q, out, in);
}

void pack_grads(kernels::Backend& backend, Queue q, const std::vector<model::LocalParam>& params, const Bucket& bucket,
                int rank, int ranks, View out) {
  std::int64_t at = 0;
  for (int i : bucket.params) {
    const View in = owned_view(params[static_cast<std::size_t>(i)].grad, rank, ranks);
    if (in.count() == 0) continue;
    copy_rounded(backend, q, out.rows(at, at + in.count()), in);
    at += in.count();
  }
}

void unpack_grads(kernels::Backend& backend, Queue q, const std::vector<model::LocalParam>& params,
                  const Bucket& bucket, int rank, int ranks, ConstView in) {
  std::int64_t at = 0;
  for (int i : bucket.params) {
    const View out = owned_view(params[static_cast<std::size_t>(i)].grad, rank, ranks);
    if (out.count() == 0) continue;
    copy_widened(backend, q, out, in.rows(at, at + out.count()));
    at += out.count();
  }
}

void pack_update(kernels::Backend& backend, Queue q, const std::vector<model::LocalParam>& params, const Bucket& bucket,
                 int rank, int ranks, View out) {
  for_update(params, bucket, rank, ranks, out, [&](View rows, View place) { backend.copy(q, place, rows); });
}

void unpack_update(kernels::Backend& backend, Queue q, const std::vector<model::LocalParam>& params,
                   const Bucket& bucket, int rank, int ranks, ConstView in) {
  for_update(params, bucket, rank, ranks, in, [&](View rows, ConstView place) { backend.copy(q, rows, place); });
}

}  // namespace banyan::train
