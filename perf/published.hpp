// Published training rates of other systems, and what our cost model predicts for them from the machine files.  What a
// paper does not say about a row (microbatch, model chunks) is chosen as the search would: what is predicted to be
// fastest of what fits into memory.  Pure but for reading the machine files.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/plan/rank_memory.hpp"
#include "src/plan/step_price.hpp"

namespace banyan::perf {

struct PublishedRow {
  std::string name;
  model::ModelShape shape;
  plan::Division division;  ///< microbatch 0: not published
  std::int64_t batch = 1;   ///< sequences
  double published = 0;     ///< FLOP/s of a GPU
  bool hardware = false;    ///< counted with recomputation
};
struct PublishedTable {
  std::string source;
  std::string machine;  ///< its file, from the repository's root
  std::vector<PublishedRow> rows;
};
std::vector<PublishedTable> published_tables();

struct PublishedPrediction {
  plan::Division division;  ///< with what was chosen
  plan::StepPrice price;
  plan::RankMemory memory;
  double predicted = 0;  ///< FLOP/s of a GPU, counted as published
  double error = 0;      ///< relative
};
/// BugError when nothing fits into memory.
PublishedPrediction predict(const PublishedRow& row, const plan::Machine& machine);

}  // namespace banyan::perf
