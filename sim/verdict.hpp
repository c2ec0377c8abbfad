// Predicted against played: rank correlation, errors, the table and the JSON.  Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "src/plan/link_load.hpp"

namespace banyan::sim {

/// Spearman's rank correlation, ties at their mean rank; of two values or more.  0 when one side is all alike.
double spearman(const std::vector<double>& a, const std::vector<double>& b);

struct Trial {
  plan::PlacementPrice price;
  double step = 0;  ///< seconds of a step as played
};

struct Verdict {
  double spearman = 0;     ///< of predicted messages and played steps
  double mean_error = 0;   ///< mean of |predicted - played| / played, of messages
  double worst_error = 0;  ///< the largest of them
  double regret = 0;       ///< how much longer than the best step the one with the least prediction takes; 0: it is it
};
/// `idle` is a step that waits for no message; what a step takes beyond it are its messages.
Verdict judge(const std::vector<Trial>& trials, double idle);

/// What to_json wrote: what was played, with its names and placements, but no prices but names and process_of.
struct Record {
  std::vector<Trial> trials;
  double idle = 0;
};
/// DataError when `text`, which `file` holds, is no such thing, or places another number of ranks than `ranks`, or one
/// of them twice or outside `world`.
Record read_record(const std::string& text, const std::string& file, int ranks, int world);

/// The trials, fastest first, and the verdict, for people.
std::string verdict_table(const std::vector<Trial>& trials, double idle);
nlohmann::ordered_json to_json(const std::vector<Trial>& trials, double idle);

}  // namespace banyan::sim
