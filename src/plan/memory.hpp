// What one rank will hold in memory, item by item, before anything is allocated.  Pure; the same table is printed by
// `banyan plan`, written to plan.txt at start and compared with what the kernel says the process used.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/base/dtype.hpp"
#include "src/parallel/mesh.hpp"
#include "src/plan/layout.hpp"

namespace banyan::plan {

struct MemoryRow {
  std::string name;  ///< "parameters"
  std::int64_t bytes = 0;
  std::string how;  ///< "124439808 x 4 B"
  MemoryKind kind = MemoryKind::kHost;
  bool own = false;  ///< taken by the backend or a library for itself, before what the program allocates
};

struct MemoryPlan {
  std::vector<MemoryRow> rows;       ///< of the process
  std::optional<MemoryRow> files{};  ///< that lie in the node's memory beside it
  std::int64_t total() const;        ///< of the process
  std::int64_t total(MemoryKind kind) const;
  std::int64_t arrays(MemoryKind kind) const;  ///< of it what the program allocates
  std::int64_t on_node() const;                ///< of the node's memory, with the files
  std::int64_t scarcest() const;               ///< of the GPU's memory, or without a GPU of the node's
  /// Aligned table with a sum for each kind of memory, one row per line.
  std::string str() const;
};

/// Whether checkpoints come while training goes on, and are written from a copy then.
bool saves_in_background(const config::Config& config);
/// Whether those that come into the run directory are copied there from node-local ones.
bool drains_nodes(const config::Config& config);

/// Of the rank at a coordinate.  Counts what the process itself writes to; not the mapped dataset, whose pages belong
/// to the file cache, nor what MPI holds before the first message.
MemoryPlan memory_plan(const Layout& layout, const config::Config& config, const parallel::Coordinate& c);

/// What generation takes beside that plan for `blocks` cache blocks of `block_size` positions each, and up to `rows`
/// rows of `batch` sequences in a call: keys and values, the results of a call, the backend's own.
std::int64_t generation_bytes(const model::StageSpec& spec, int threads, std::int32_t blocks, std::int32_t block_size,
                              std::int64_t rows, std::int64_t batch);

}  // namespace banyan::plan
