#include "kernels/cuda/attention_plan.hpp"

#include <algorithm>

namespace banyan::kernels::cuda {
namespace {

struct Sequence {
  int q_row, q_count, k_row, k_count, position;
};

template <class Body>
void for_sequences(const Attention& a, const Body& body) {
  for (std::size_t s = 0; s + 1 < a.q_offsets.size(); ++s)
    body(static_cast<int>(s), Sequence{a.q_offsets[s], a.q_offsets[s + 1] - a.q_offsets[s], a.kv_offsets[s],
                                       a.kv_offsets[s + 1] - a.kv_offsets[s], a.q_position[s]});
}

}  // namespace

std::vector<QueryTile> query_tiles(const Attention& a, int rows) {
  std::vector<QueryTile> tiles;
  for_sequences(a, [&](int s, const Sequence& q) {
    const int key = a.blocks.table.empty() ? q.k_row : s * a.blocks.blocks_per_sequence;
    for (int i = 0; i < q.q_count; i += rows) {
      const int count = std::min(rows, q.q_count - i), position = q.position + i;
      tiles.push_back({q.q_row + i, count, position, std::min(q.k_count, position + count), key});
    }
  });
  std::stable_sort(tiles.begin(), tiles.end(), [](const auto& x, const auto& y) { return x.keys > y.keys; });
  return tiles;
}

std::optional<SingleQueries> single_queries(const Attention& a) {
  SingleQueries plan;
  bool single = true;
  for_sequences(a, [&](int s, const Sequence& q) {
    if (q.q_count == 0) return;
    single &= q.q_count == 1;
    const int key = a.blocks.table.empty() ? q.k_row : s * a.blocks.blocks_per_sequence;
    const int keys = std::min(q.k_count, q.position + 1), before = static_cast<int>(plan.parts.size());
    for (int j = 0; j < keys; j += kPartKeys) plan.parts.push_back({q.q_row, j, std::min(kPartKeys, keys - j), key});
    plan.rows.push_back({q.q_row, before, static_cast<int>(plan.parts.size()) - before});
  });
  if (!single) return std::nullopt;
  return plan;
}

std::vector<KeyTile> key_tiles(const Attention& a, int rows) {
  std::vector<KeyTile> tiles;
  for_sequences(a, [&](int, const Sequence& q) {
    for (int j = 0; j < q.k_count; j += rows)
      tiles.push_back({q.k_row + j, std::min(rows, q.k_count - j), j, q.q_row, q.q_count, q.position});
  });
  const auto queries = [](const KeyTile& t) { return t.q_count - std::max(0, t.first - t.position); };
  std::stable_sort(tiles.begin(), tiles.end(), [&](const auto& x, const auto& y) { return queries(x) > queries(y); });
  return tiles;
}

}  // namespace banyan::kernels::cuda
