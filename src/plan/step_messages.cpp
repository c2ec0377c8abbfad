#include "src/plan/step_messages.hpp"

#include <algorithm>

namespace banyan::plan {
namespace {

/// Of a fixed point that is approached from below, each time by half of what is left.
constexpr int kRounds = 12;
/// What a call exchanges at a time, so that the phases of a longer one overlap: comm/plans cuts into two pieces of
/// 256 KiB.
constexpr double kSegment = 512 << 10;

/// Seconds of calls of so many bytes each: phases that follow each other, or overlap until the busiest way counts
/// alone.
double follow(double phases, double busiest, double bytes) {
  return busiest + std::max(0.0, phases - busiest) / std::max(1.0, bytes / kSegment);
}

/// Seconds of a step that each stage adds up over its tensor groups.
std::vector<double> tensor_seconds(const Demand& demand, const AxisLoad& load, const std::vector<double>& rates,
                                   const comm::Links& links, const std::vector<double>& speaks) {
  const std::size_t stages = demand.tensor.size();
  std::vector<double> busiest(stages, 0.0), others(stages, 0.0), seconds(stages, 0.0);
  for (std::size_t s = 0; s < stages; ++s) busiest[s] = load.inside[s] / links.node.rate;
  for (std::size_t w = 0; w < rates.size(); ++w) {
    double all = 0;
    for (std::size_t s = 0; s < stages; ++s) all += speaks[s] * load.bytes[w * stages + s];
    for (std::size_t s = 0; s < stages; ++s)
      if (const double own = load.bytes[w * stages + s]; own > 0) {
        busiest[s] = std::max(busiest[s], own / rates[w]);
        others[s] = std::max(others[s], (all - speaks[s] * own) / rates[w]);
      }
  }
  for (std::size_t s = 0; s < stages; ++s)
    if (const double calls = demand.tensor_calls[s].total(); calls > 0)
      seconds[s] = follow(load.phases[s], busiest[s], demand.tensor[s] / calls) + others[s] + calls * load.latency[s];
  return seconds;
}

/// How long the data groups go on after the last backward pass.
double data_seconds(const Demand& demand, const AxisLoad& load, const std::vector<double>& rates,
                    const comm::Links& links, const std::vector<Pass>& passes) {
  const std::size_t stages = demand.data.size();
  // When each stage begins to add, the end of the first stage's backward pass being 0.
  std::vector<double> begin(stages, 0.0);
  for (std::size_t s = 1; s < stages; ++s) begin[s] = begin[s - 1] - passes[s - 1].backward;
  std::vector<double> longest(stages, 0.0), busiest(stages, 0.0);  // with those that begin later, and alone
  for (std::size_t s = 0; s < stages; ++s) longest[s] = busiest[s] = load.inside[s] / links.node.rate;
  for (std::size_t w = 0; w < rates.size(); ++w) {
    // From when a stage begins on it and those that begin later keep the way busy.
    double bytes = 0;
    for (std::size_t s = 0; s < stages; ++s) {
      const double own = load.bytes[w * stages + s];
      bytes += own;
      if (own <= 0) continue;
      longest[s] = std::max(longest[s], bytes / rates[w]);
      busiest[s] = std::max(busiest[s], own / rates[w]);
    }
  }
  double last = 0;
  for (std::size_t s = 0; s < stages; ++s) {
    if (longest[s] <= 0) continue;
    const double phases = longest[s] - busiest[s] + load.phases[s];
    last = std::max(last, begin[s] + follow(phases, longest[s], demand.data[s]) + load.latency[s]);
  }
  return last;
}

}  // namespace

double pipeline_seconds(const std::vector<Pass>& passes, double microbatches, bool gpipe) {
  Pass sum, most;
  for (const Pass& p : passes) {
    sum = {sum.forward + p.forward, sum.backward + p.backward};
    most = {std::max(most.forward, p.forward), std::max(most.backward, p.backward)};
  }
  if (gpipe) return sum.total() + (microbatches - 1) * most.total();
  double before = 0, longest = 0;
  for (std::size_t s = 0; s < passes.size(); ++s) {
    const Pass& own = passes[s];
    // While the first microbatch is behind this stage, and the last one, it has passes of as many others to go on with;
    // where they are few the first and the last are behind it at one time.
    const auto slots = static_cast<double>(passes.size() - s);
    const double behind = sum.total() - before - own.total(), ahead = std::min(microbatches, slots) - 1;
    const double first = std::max(0.0, behind - ahead * own.forward),
                 last = std::max(0.0, behind - ahead * own.backward);
    longest = std::max(
        longest, before + microbatches * own.total() + (microbatches > slots ? first + last : std::max(first, last)));
    before += own.total();
  }
  return longest;
}

StepMessages step_messages(const Demand& demand, const std::vector<Pass>& computing, const Loads& loads,
                           const std::vector<double>& rates, const comm::Links& links) {
  const std::size_t stages = demand.data.size();
  const double m = std::max(1.0, demand.microbatches);
  const bool gpipe = demand.gpipe || !demand.trains;
  std::vector<Pass> silent = computing, passes, all;
  silent.resize(stages);
  const double idle = pipeline_seconds(silent, m, gpipe);

  const AxisLoad& stream = loads[static_cast<std::size_t>(MeshAxis::kPipeline)];
  std::vector<double> message(stages, 0.0);  // between a stage and the next
  for (std::size_t s = 0; s + 1 < stages; ++s) {
    double seconds = stream.inside[s] / links.node.rate;
    // What the neighbours on both sides send takes turns where it meets.
    for (std::size_t w = 0; w < rates.size(); ++w)
      if (stream.bytes[w * stages + s] > 0) seconds = std::max(seconds, stream.carried(w) / rates[w]);
    message[s] = seconds / m + stream.latency[s];
  }
  std::vector<double> speaks(stages, 0.0);
  for (int round = 0; round < kRounds; ++round) {
    const std::vector<double> tensor =
        tensor_seconds(demand, loads[static_cast<std::size_t>(MeshAxis::kTensor)], rates, links, speaks);
    passes = silent;
    for (std::size_t s = 0; s < stages; ++s) {
      const Calls& calls = demand.tensor_calls[s];
      const double each = calls.total() > 0 ? tensor[s] / calls.total() / m : 0;
      passes[s].forward += each * calls.forward;
      passes[s].backward += each * calls.backward;
    }
    all = passes;
    for (std::size_t s = 0; s + 1 < stages; ++s) {
      all[s + 1].forward += message[s];
      if (demand.trains) all[s].backward += message[s];
    }
    const double step = pipeline_seconds(all, m, gpipe);
    for (std::size_t s = 0; s < stages && step > 0; ++s)
      speaks[s] += (std::min(1.0, tensor[s] / step) - speaks[s]) / (round == 0 ? 1 : 2);
  }
  const double tensor_only = pipeline_seconds(passes, m, gpipe);
  return {tensor_only - idle, pipeline_seconds(all, m, gpipe) - tensor_only,
          data_seconds(demand, loads[static_cast<std::size_t>(MeshAxis::kData)], rates, links, all)};
}

}  // namespace banyan::plan
