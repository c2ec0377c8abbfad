// A line of `bench comm`: in the columns of nccl-tests, in those of OSU's micro-benchmarks, and as JSON.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "perf/comm_case.hpp"

namespace banyan::perf {

/// Middle of the values, or mean of the two in the middle; 0 of none.
double median(std::vector<double> values);

/// Times are seconds per call, one for each block of calls, that of the slowest rank.
struct Row {
  Traffic traffic = Traffic::kLatency;
  std::string algorithm;
  std::string plan = {};  ///< what auto chose
  std::int64_t bytes = 0, elements = 0;
  double bus_factor = 1;
  std::vector<double> seconds = {};                         ///< calls one after the other, as in nccl-tests
  std::vector<double> average = {}, least = {}, most = {};  ///< over the ranks; each call after a barrier, as in OSU's
  int calls = 0;                                            ///< in a block
  std::int64_t wrong = -1;                                  ///< -1: there was nothing to check
  double ratio =
      0;  ///< time of the MPI library's best / time, median over the blocks, pairs of the same moment; 0: none
  bool is_limit = false;  ///< measured what bounds the others
  double share = 0;       ///< time at the limit / time, as ratio
  double copy_share = 0;  ///< time of memcpy of the same bytes / time, likewise

  double time() const { return median(seconds); }
  double algorithm_bandwidth() const { return static_cast<double>(bytes) / time(); }
  double bus_bandwidth() const { return algorithm_bandwidth() * bus_factor; }
  /// Between the quartiles of the blocks, as a share of the median.
  double spread() const;
};

/// Median over pairs of blocks of other / mine.
double paired_ratio(const std::vector<double>& other, const std::vector<double>& mine);

std::string row_header();
std::string to_text(const Row& row);
nlohmann::ordered_json to_json(const Row& row);
/// Over all sizes of one kind and algorithm: median and worst ratio, median and worst share.
std::string summary(const std::vector<Row>& rows);

}  // namespace banyan::perf
