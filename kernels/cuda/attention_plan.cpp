#include "kernels/cuda/attention_plan.hpp"

#include <algorithm>

namespace banyan::kernels::cuda {
namespace {

struct Sequence {
  int q_row, q_count, k_row, k_count, position;
  int key;  ///< where its keys begin: a row, or a place in the table of blocks
};

template <class Body>
void for_sequences(const Attention& a, const Body& body) {
  for (std::size_t s = 0; s + 1 < a.q_offsets.size(); ++s)
    body(Sequence{a.q_offsets[s], a.q_offsets[s + 1] - a.q_offsets[s], a.kv_offsets[s],
                  a.kv_offsets[s + 1] - a.kv_offsets[s], a.q_position[s],
                  a.blocks.table.empty() ? a.kv_offsets[s] : static_cast<int>(s) * a.blocks.blocks_per_sequence});
}

}  // namespace

std::vector<QueryTile> query_tiles(const Attention& a, int rows) {
  std::vector<QueryTile> tiles;
  for_sequences(a, [&](const Sequence& q) {
    for (int i = 0; i < q.q_count; i += rows) {
      const int count = std::min(rows, q.q_count - i), position = q.position + i;
      tiles.push_back({q.q_row + i, count, position, std::min(q.k_count, position + count), q.key});
    }
  });
  std::stable_sort(tiles.begin(), tiles.end(), [](const auto& x, const auto& y) { return x.keys > y.keys; });
  return tiles;
}

std::optional<SingleQueries> single_queries(const Attention& a) {
  bool single = true;
  for_sequences(a, [&](const Sequence& q) { single &= q.q_count <= 1; });
  if (!single) return std::nullopt;  // before anything is made: training asks, too
  SingleQueries plan;
  for_sequences(a, [&](const Sequence& q) {
    if (q.q_count == 0) return;
    const int keys = std::min(q.k_count, q.position + 1), before = static_cast<int>(plan.parts.size());
    for (int j = 0; j < keys; j += kPartKeys) plan.parts.push_back({q.q_row, j, std::min(kPartKeys, keys - j), q.key});
    plan.rows.push_back({q.q_row, before, static_cast<int>(plan.parts.size()) - before});
  });
  return plan;
}

std::vector<KeyTile> key_tiles(const Attention& a, int rows) {
  std::vector<KeyTile> tiles;
  for_sequences(a, [&](const Sequence& q) {
    for (int j = 0; j < q.k_count; j += rows)
      tiles.push_back({q.k_row + j, std::min(rows, q.k_count - j), j, q.q_row, q.q_count, q.position});
  });
  const auto queries = [](const KeyTile& t) { return t.q_count - std::max(0, t.first - t.position); };
  std::stable_sort(tiles.begin(), tiles.end(), [&](const auto& x, const auto& y) { return queries(x) > queries(y); });
  return tiles;
}

}  // namespace banyan::kernels::cuda
