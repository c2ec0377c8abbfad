#include "src/model/row_blocks.hpp"

#include <algorithm>

namespace banyan::model {
namespace {

/// Part i of n even ones.
Range even_part(Range rows, std::int64_t i, std::int64_t n) {
  return {rows.begin + rows.count() * i / n, rows.begin + rows.count() * (i + 1) / n};
}

}  // namespace

std::vector<RowBlock> row_blocks(std::int64_t rows, int blocks, int ranks, bool sequence) {
  std::vector<RowBlock> list;
  if (!sequence || blocks == 1) {
    const std::int64_t parts = std::clamp<std::int64_t>(blocks, 1, std::max<std::int64_t>(1, rows));
    for (std::int64_t i = 0; i < parts; ++i) list.push_back({even_part({0, rows}, i, parts)});
    return list;
  }
  const std::int64_t share = rows / ranks, parts = std::min<std::int64_t>((blocks + ranks - 1) / ranks, share);
  for (std::int64_t i = 0; i < parts; ++i)
    for (int r = 0; r < ranks; ++r) list.push_back({even_part({r * share, (r + 1) * share}, i, parts), r});
  return list;
}

}  // namespace banyan::model
