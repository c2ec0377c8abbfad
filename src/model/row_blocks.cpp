#include "src/model/row_blocks.hpp"

#include <algorithm>

#include "src/model/local_params.hpp"

namespace banyan::model {

std::vector<RowBlock> row_blocks(std::int64_t rows, int blocks, int ranks, bool sequence) {
  std::vector<RowBlock> list;
  if (!sequence || blocks == 1) {
    const int parts = static_cast<int>(std::clamp<std::int64_t>(blocks, 1, std::max<std::int64_t>(1, rows)));
    for (int i = 0; i < parts; ++i) list.push_back({owned_rows(rows, i, parts)});
    return list;
  }
  const std::int64_t share = rows / ranks;
  const int parts = static_cast<int>(std::min<std::int64_t>((blocks + ranks - 1) / ranks, share));
  for (int i = 0; i < parts; ++i)
    for (int r = 0; r < ranks; ++r) {
      const Range part = owned_rows(share, i, parts);
      list.push_back({{r * share + part.begin, r * share + part.end}, r});
    }
  return list;
}

}  // namespace banyan::model
