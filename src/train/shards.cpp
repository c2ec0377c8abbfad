#include "src/train/shards.hpp"

#include <algorithm>

namespace banyan::train {
namespace {

/// The rows of `p` that data rank `rank` owns, as flat elements; empty when there are none.
View owned_view(const model::LocalParam& p, Arena arena, int rank, int ranks) {
  const View whole = arena == Arena::kParams ? p.param : p.grad;
  const model::Range rows = owned_rows(whole.shape[0], rank, ranks);
  View v = whole.rows(rows.begin, rows.end);
  return v.reshaped({v.count()});
}

}  // namespace

model::Range owned_rows(std::int64_t rows, int rank, int ranks) {
  return {rows * rank / ranks, rows * (rank + 1) / ranks};
}

std::int64_t Bucket::elements() const {
  std::int64_t n = 0;
  for (std::int64_t c : counts) n += c;
  return n;
}

std::vector<Bucket> make_buckets(const std::vector<model::LocalParam>& params, int parts, int data_ranks) {
  std::vector<Bucket> buckets(static_cast<std::size_t>(parts));
  for (int part = 0; part < parts; ++part) {
    Bucket& b = buckets[static_cast<std::size_t>(part)];
    b.part = part;
    b.counts.assign(static_cast<std::size_t>(data_ranks), 0);
    for (std::size_t i = 0; i < params.size(); ++i) {
      const model::LocalParam& p = params[i];
      if (p.part != part) continue;
      if (b.params.empty()) b.begin = p.begin;
      if (p.begin < b.end) throw BugError("{} lies before its neighbours in the arena", p.logical.name);
      b.params.push_back(static_cast<int>(i));
      b.end = p.begin + p.count.count();
      for (int r = 0; r < data_ranks; ++r)
        b.counts[static_cast<std::size_t>(r)] += owned_rows(p.count[0], r, data_ranks).count() * p.count.row_count();
    }
  }
  return buckets;
}

void pack_shard(kernels::Backend& backend, Queue q, const std::vector<model::LocalParam>& params, const Bucket& bucket,
                Arena arena, int rank, int ranks, View out) {
  std::int64_t at = 0;
  for (int i : bucket.params) {
    const View in = owned_view(params[static_cast<std::size_t>(i)], arena, rank, ranks);
    if (in.count() == 0) continue;
    backend.copy(q, out.rows(at, at + in.count()), in);
    at += in.count();
  }
}

void unpack_shard(kernels::Backend& backend, Queue q, const std::vector<model::LocalParam>& params,
                  const Bucket& bucket, Arena arena, int rank, int ranks, ConstView in) {
  std::int64_t at = 0;
  for (int i : bucket.params) {
    const View out = owned_view(params[static_cast<std::size_t>(i)], arena, rank, ranks);
    if (out.count() == 0) continue;
    backend.copy(q, out, in.rows(at, at + out.count()));
    at += out.count();
  }
}

}  // namespace banyan::train
