#include "sim/verdict.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "src/base/error.hpp"
#include "src/base/json.hpp"
#include "src/base/units.hpp"

namespace banyan::sim {
namespace {

std::vector<double> ranks_of(const std::vector<double>& values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (std::size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    for (std::size_t i = begin; i < end; ++i) ranks[order[i]] = static_cast<double>(begin + end - 1) / 2;
  }
  return ranks;
}

/// Of a step's messages, relative.
double error_of(const Trial& t, double idle) {
  const double played = t.step - idle;
  return played > 0 ? std::abs(t.price.seconds() - played) / played : 0;
}

}  // namespace

double spearman(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size() || a.size() < 2) throw BugError("a correlation of {} and {} values", a.size(), b.size());
  const std::vector<double> x = ranks_of(a), y = ranks_of(b);
  const double mean = static_cast<double>(a.size() - 1) / 2;
  double both = 0, xx = 0, yy = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    both += (x[i] - mean) * (y[i] - mean);
    xx += (x[i] - mean) * (x[i] - mean);
    yy += (y[i] - mean) * (y[i] - mean);
  }
  return xx > 0 && yy > 0 ? both / std::sqrt(xx * yy) : 0;
}

Verdict judge(const std::vector<Trial>& trials, double idle) {
  Verdict v;
  std::vector<double> predicted, played;
  const Trial* cheapest = &trials.at(0);
  for (const Trial& t : trials) {
    predicted.push_back(t.price.seconds());
    played.push_back(t.step);
    if (t.price.seconds() < cheapest->price.seconds()) cheapest = &t;
    v.mean_error += error_of(t, idle) / static_cast<double>(trials.size());
    v.worst_error = std::max(v.worst_error, error_of(t, idle));
  }
  v.spearman = spearman(predicted, played);
  v.regret = cheapest->step / *std::min_element(played.begin(), played.end()) - 1;
  return v;
}

std::string verdict_table(const std::vector<Trial>& trials, double idle) {
  std::vector<Trial> sorted = trials;
  std::stable_sort(sorted.begin(), sorted.end(), [](const Trial& a, const Trial& b) { return a.step < b.step; });
  std::string text = fmt::format("{:<56} {:>9} {:>9} {:>9} {:>7}   {:>8} {:>8} {:>8}\n", "placement, fastest first",
                                 "step", "messages", "predicted", "error", "tensor", "pipeline", "data");
  for (const Trial& t : sorted)
    text += fmt::format("{:<56} {:>9} {:>9} {:>9} {:>5.0f} %   {:>8} {:>8} {:>8}\n", t.price.name,
                        format_seconds(t.step), format_seconds(t.step - idle), format_seconds(t.price.seconds()),
                        100 * (t.price.seconds() / (t.step - idle) - 1), format_seconds(t.price.tensor),
                        format_seconds(t.price.pipeline), format_seconds(t.price.data));
  const Verdict v = judge(trials, idle);
  text += fmt::format(
      "{} placements; a step that waits for no message takes {}\n"
      "Spearman's rank correlation of predicted messages and played steps {:.3f}\n"
      "error of predicted messages: mean {:.1f} %, worst {:.1f} %\n"
      "the placement predicted to be best takes {:.1f} % longer than the one that is\n",
      trials.size(), format_seconds(idle), v.spearman, 100 * v.mean_error, 100 * v.worst_error, 100 * v.regret);
  return text;
}

Record read_record(const std::string& text, const std::string& file, int ranks, int world) {
  const Json json = parse_json(text, file);
  Record record{.trials = {}, .idle = get<double>(json, "idle_s", file)};
  const Json& placements = member(json, "placements", file);
  if (!placements.is_array() || placements.size() < 2)
    throw DataError("{}: it takes the record of two placements or more to tell their order", file);
  for (const Json& p : placements) {
    Trial t;
    t.price.name = get<std::string>(p, "name", file);
    t.step = get<double>(p, "step_s", file);
    t.price.process_of = get<std::vector<int>>(p, "process_of", file);
    if (static_cast<int>(t.price.process_of.size()) != ranks)
      throw DataError("{}: {} places {} ranks, but the mesh has {}; give the options it was played with", file,
                      t.price.name, t.price.process_of.size(), ranks);
    std::vector<char> seen(static_cast<std::size_t>(world), 0);
    for (int r : t.price.process_of)
      if (r < 0 || r >= world || seen[static_cast<std::size_t>(r)]++)
        throw DataError("{}: {} places rank {} twice, or there is none", file, t.price.name, r);
    record.trials.push_back(std::move(t));
  }
  return record;
}

Json to_json(const std::vector<Trial>& trials, double idle) {
  const Verdict v = judge(trials, idle);
  Json j;
  j["idle_s"] = idle;
  j["spearman"] = v.spearman;
  j["mean_error"] = v.mean_error;
  j["worst_error"] = v.worst_error;
  j["regret"] = v.regret;
  j["placements"] = Json::array();
  for (const Trial& t : trials)
    j["placements"].push_back({{"name", t.price.name},
                               {"step_s", t.step},
                               {"messages_s", t.step - idle},
                               {"predicted_s", t.price.seconds()},
                               {"tensor_s", t.price.tensor},
                               {"pipeline_s", t.price.pipeline},
                               {"data_s", t.price.data},
                               {"process_of", t.price.process_of}});
  return j;
}

}  // namespace banyan::sim
