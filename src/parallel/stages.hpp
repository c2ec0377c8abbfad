// How the blocks of a model are cut into pipeline stages.  Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace banyan::parallel {

/// Blocks [begin, end) of a stage.
struct BlockRange {
  std::int64_t begin = 0, end = 0;
  std::int64_t count() const { return end - begin; }
  bool operator==(const BlockRange&) const = default;
};

/// Cuts blocks with the given costs into `stages` consecutive parts of at least one block so that the dearest stage is
/// as cheap as possible; `first_extra` (embedding) is added to the first stage, `last_extra` (norm, head, loss) to the
/// last. Exact: among all cuts with the smallest maximum, the one whose stages are closest to even (smallest sum of
/// squares).
std::vector<BlockRange> balance_stages(std::span<const double> block_costs, int stages, double first_extra,
                                       double last_extra);

/// Reads parallel.stages: "5,7".  ConfigError unless it names `stages` positive counts that add up to `blocks`.
std::vector<BlockRange> parse_stages(std::string_view text, std::int64_t blocks, int stages);

/// "5,7"
std::string format_stages(std::span<const BlockRange> stages);

}  // namespace banyan::parallel
