// Every way to divide a job over its ranks, priced: tensor x context x pipeline x data, microbatch, schedule, model
// chunks, ZeRO, recomputation and sequence parallelism, the fastest first, and why the others are out.  Divisions the
// program cannot run yet are priced like all others and say so.  Pure and deterministic; needs no cluster.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/config/config.hpp"
#include "src/plan/rank_memory.hpp"
#include "src/plan/step_price.hpp"

namespace banyan::plan {

struct Candidate {
  Division division;
  double step = 0;        ///< seconds
  double memory = 0;      ///< bytes of the fullest rank
  bool runnable = false;  ///< by this program, as it is
};
struct Rejection {
  parallel::MeshShape mesh;  ///< 0 where the reason holds whatever that axis is
  std::string reason;
};

struct SearchResult {
  model::ModelShape model;
  Machine machine;
  int ranks = 1;
  std::int64_t batch = 1, steps = 1;
  std::int64_t priced = 0;            ///< divisions
  std::vector<Candidate> candidates;  ///< the fastest of each mesh, and the fastest that runs; fastest first
  std::vector<Rejection> rejections;  ///< meshes of which nothing is left
  std::int64_t too_large = 0;         ///< priced divisions that do not fit into memory
};

struct SearchOptions {
  Precision precision = Precision::kFp32;
  double memory = 0;  ///< of a rank, bytes; 0: the machine's, or no limit where that is unknown
};

/// Uses all `ranks`; microbatches are the divisors of train.batch that are powers of two, at most 64.
SearchResult search_divisions(const config::Config& config, int ranks, std::int64_t dataset_vocab,
                              const Machine& machine, const SearchOptions& options = {});

/// Why the program cannot run a division as it is; empty when it can.
std::string not_runnable(const Division& d);
/// The options that choose it: "--parallel.tensor=2 ...".
std::string options_of(const Division& d);
/// The price of a candidate again, with all terms.
StepPrice price_of(const SearchResult& result, const Candidate& c);

}  // namespace banyan::plan
