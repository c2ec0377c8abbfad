#include "perf/comm_row.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "src/base/json.hpp"

namespace banyan::perf {
namespace {

std::string or_dash(bool there, const std::string& text) { return there ? text : "-"; }

const char* reduction(const Row& r) {
  return r.traffic == Traffic::kAllReduce || r.traffic == Traffic::kReduceScatter ? "sum" : "none";
}

}  // namespace

double median(std::vector<double> v) {
  if (v.empty()) return 0;
  std::sort(v.begin(), v.end());
  return v.size() % 2 ? v[v.size() / 2] : (v[v.size() / 2 - 1] + v[v.size() / 2]) / 2;
}

double Row::spread() const {
  if (seconds.size() < 2) return 0;
  std::vector<double> v = seconds;
  std::sort(v.begin(), v.end());
  return (v[v.size() * 3 / 4] - v[v.size() / 4]) / time();
}

double paired_ratio(const std::vector<double>& other, const std::vector<double>& mine) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < std::min(other.size(), mine.size()); ++i)
    if (other[i] > 0 && mine[i] > 0) ratios.push_back(other[i] / mine[i]);
  return median(ratios);
}

std::string row_header() {
  return fmt::format(
      "{:<18} {:>10} {:>10} {:>5} {:>5} {:>11} {:>7} {:>7} {:>6} | {:>11} {:>11} {:>11} {:>6} | {:>6} {:>6} {:>6} "
      "{:>6}\n",
      "algorithm", "size(B)", "count", "type", "redop", "time(us)", "algbw", "busbw", "#wrong", "avg(us)", "min(us)",
      "max(us)", "calls", "spread", "x MPI", "limit", "memcpy");
}

std::string to_text(const Row& r) {
  return fmt::format(
      "{:<18} {:>10} {:>10} {:>5} {:>5} {:>11.2f} {:>7} {:>7} {:>6} | {:>11.2f} {:>11.2f} {:>11.2f} {:>6} | {:>5.0f}% "
      "{:>6} "
      "{:>6} {:>6}\n",
      r.plan.empty() ? r.algorithm : r.algorithm + ": " + r.plan, r.bytes, r.elements, r.bytes > 0 ? "float" : "none",
      reduction(r), r.time() * 1e6, or_dash(r.bytes > 0, fmt::format("{:.3f}", r.algorithm_bandwidth() * 1e-9)),
      or_dash(r.bytes > 0, fmt::format("{:.3f}", r.bus_bandwidth() * 1e-9)),
      or_dash(r.wrong >= 0, std::to_string(r.wrong)), median(r.average) * 1e6, median(r.least) * 1e6,
      median(r.most) * 1e6, r.calls, r.spread() * 100, or_dash(r.ratio > 0, fmt::format("{:.2f}", r.ratio)),
      or_dash(r.share > 0, fmt::format("{:.0f}%", r.share * 100)),
      or_dash(r.copy_share > 0, fmt::format("{:.0f}%", r.copy_share * 100)));
}

Json to_json(const Row& r) {
  Json j;
  j["kind"] = name_of(r.traffic);
  j["algorithm"] = r.algorithm;
  if (!r.plan.empty()) j["plan"] = r.plan;
  j["bytes"] = r.bytes;
  j["count"] = r.elements;
  j["type"] = r.bytes > 0 ? "float" : "none";
  j["redop"] = reduction(r);
  j["seconds"] = r.time();
  j["seconds_of_blocks"] = r.seconds;
  j["spread"] = r.spread();
  if (r.bytes > 0) {
    j["algbw_bytes_per_s"] = r.algorithm_bandwidth();
    j["busbw_bytes_per_s"] = r.bus_bandwidth();
  }
  if (r.wrong >= 0) j["wrong"] = r.wrong;
  j["latency_average_s"] = median(r.average);
  j["latency_min_s"] = median(r.least);
  j["latency_max_s"] = median(r.most);
  j["calls"] = r.calls;
  if (r.ratio > 0) j["times_faster_than_mpi"] = r.ratio;
  if (r.share > 0) j["share_of_limit"] = r.share;
  if (r.copy_share > 0) j["share_of_memcpy"] = r.copy_share;
  return j;
}

std::string summary(const std::vector<Row>& rows) {
  struct Figures {
    std::vector<double> ratios, shares;
  };
  std::vector<std::pair<Traffic, std::string>> order;
  std::map<std::pair<Traffic, std::string>, Figures> all;
  for (const Row& r : rows) {
    if (r.ratio <= 0 && r.share <= 0) continue;
    const std::pair key{r.traffic, r.algorithm};
    if (!all.count(key)) order.push_back(key);
    if (r.ratio > 0) all[key].ratios.push_back(r.ratio);
    if (r.share > 0) all[key].shares.push_back(r.share);
  }
  std::string text = fmt::format("{:<16}{:<16}{:>14}{:>10}{:>18}{:>10}\n", "over all sizes", "algorithm",
                                 "median x MPI", "worst", "median of limit", "worst");
  for (const auto& key : order) {
    const Figures& f = all[key];
    const auto worst = [](const std::vector<double>& v) { return *std::min_element(v.begin(), v.end()); };
    const bool ratio = !f.ratios.empty(), share = !f.shares.empty();
    text += fmt::format("{:<16}{:<16}{:>14}{:>10}{:>18}{:>10}\n", name_of(key.first), key.second,
                        or_dash(ratio, fmt::format("{:.2f}", median(f.ratios))),
                        or_dash(ratio, fmt::format("{:.2f}", ratio ? worst(f.ratios) : 0)),
                        or_dash(share, fmt::format("{:.0f}%", 100 * median(f.shares))),
                        or_dash(share, fmt::format("{:.0f}%", share ? 100 * worst(f.shares) : 0)));
  }
  return text;
}

}  // namespace banyan::perf
