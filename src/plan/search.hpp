// Every way to divide a job over its ranks, priced: which tensor x data x pipeline and microbatch fit into memory, and
// how long a step would take.  Pure; it tries all of them and uses the same layout, memory plan and cost as a job
// would.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/config/config.hpp"
#include "src/plan/cost.hpp"
#include "src/plan/layout.hpp"

namespace banyan::plan {

struct Division {
  parallel::MeshShape mesh;
  std::int64_t microbatch = 1;
  std::int64_t memory = 0;  ///< of the largest rank
  StepCost cost;
};

struct SearchResult {
  std::vector<Division> divisions;  ///< that fit, fastest first
  std::int64_t too_large = 0;       ///< that do not fit
};

/// Uses all `ranks`; microbatches are the divisors of train.batch that are powers of two.  Everything else is as the
/// config says.  `memory` of a rank, 0: no limit.
SearchResult search_divisions(const config::Config& config, int ranks, std::int64_t dataset_vocab,
                              const Machine& machine, std::int64_t memory);

/// The best `count` as a table, each with the options that choose it.
std::string division_table(const SearchResult& result, std::size_t count);

}  // namespace banyan::plan
