#include "src/plan/step_messages.hpp"

#include <algorithm>
#include <numeric>

namespace banyan::plan {
namespace {

/// Of a fixed point that is approached from below, each time by half of what is left.
constexpr int kRounds = 12;
/// What a call exchanges at a time, so that the phases of a longer one overlap: comm/plans cuts into two pieces of
/// 256 KiB.
constexpr double kSegment = 512 << 10;

std::size_t at(MeshAxis axis) { return static_cast<std::size_t>(axis); }
std::size_t at(int i) { return static_cast<std::size_t>(i); }

/// Seconds of calls of so many bytes each: phases that follow each other, or overlap until the busiest way counts
/// alone.
double follow(double phases, double busiest, double bytes) {
  return busiest + std::max(0.0, phases - busiest) / std::max(1.0, bytes / kSegment);
}

/// Seconds of a step that each stage adds up over its tensor groups, beyond those that it computes.
std::vector<double> tensor_seconds(const parallel::MeshShape& mesh, const Demand& demand,
                                   const std::vector<Pass>& computing, const AxisLoad& load,
                                   const std::vector<double>& rates, const comm::Links& links,
                                   const std::vector<double>& speaks) {
  const std::size_t stages = demand.tensor.size();
  std::vector<double> busiest(stages, 0.0), others(stages, 0.0), hidden(stages, 0.0), seconds(stages, 0.0);
  for (std::size_t s = 0; s < stages; ++s) busiest[s] = load.inside[s] / links.node.rate;
  for (std::size_t w = 0; w < rates.size(); ++w) {
    double all = 0;
    for (std::size_t s = 0; s < stages; ++s) all += speaks[s] * load.bytes[w * stages + s];
    for (std::size_t s = 0; s < stages; ++s)
      if (const double own = load.bytes[w * stages + s]; own > 0) {
        others[s] = std::max(others[s], (all - speaks[s] * own) / rates[w]);
        if (own / rates[w] <= busiest[s]) continue;
        busiest[s] = own / rates[w];
        // No group has more to send from one place, so that there are so many of them or more.
        const double most = sent_by_part(demand.tensor[s], mesh.tensor), groups = most > 0 ? own / most : 0;
        // Two drift apart only if they did not begin at one time.
        const double drift = stages > 1 ? 1 : std::clamp(groups - 2, 0.0, 1.0);
        hidden[s] = groups > 1 ? drift * busiest[s] * (1 - 1 / groups) : 0;
      }
  }
  for (std::size_t s = 0; s < stages; ++s)
    if (const double calls = demand.tensor_calls[s].total(); calls > 0)
      seconds[s] = follow(load.phases[s], busiest[s], demand.tensor[s] / calls) + others[s] + calls * load.latency[s] -
                   std::min(hidden[s], demand.microbatches * computing[s].total());
  return seconds;
}

/// Seconds of a microbatch's messages, one for each chunk, between stage `s` and the next.
double message_seconds(const AxisLoad& stream, std::size_t s, double microbatches, int chunks,
                       const std::vector<double>& rates, const comm::Links& links) {
  double seconds = stream.inside[s] / links.node.rate;
  for (std::size_t w = 0; w < rates.size(); ++w)
    seconds = std::max(seconds, stream.bytes[w * at(stream.stages) + s] / rates[w]);
  return seconds / microbatches + chunks * stream.latency[s];
}

/// By stage: how much longer its last backward pass and the message before it take because later stages already add
/// gradients.  Flows of a way share it: a rank has one to each of its partners, which carries 1/p of a call among p
/// there and back, one direction after the other; of gradients both are under way at one time.
std::vector<double> held_up(const parallel::MeshShape& mesh, const Demand& demand, const Loads& loads,
                            const std::vector<double>& rates, const std::vector<Pass>& passes) {
  const AxisLoad &tensor = loads[at(MeshAxis::kTensor)], &stream = loads[at(MeshAxis::kPipeline)],
                 &data = loads[at(MeshAxis::kData)];
  const std::size_t stages = demand.data.size();
  const double m = std::max(1.0, demand.microbatches);
  std::vector<double> longer(stages, 0.0), flows(rates.size(), 0.0), left(rates.size(), 0.0);  // of gradients, by way
  double since = 0;  // that the last stage began to add
  for (std::size_t s = stages; s-- > 1;) {
    double pass = 0, message = 0;
    const Calls& calls = demand.tensor_calls[s - 1];
    for (std::size_t w = 0; w < rates.size(); ++w) {
      const double bytes = data.bytes[w * stages + s];
      if (demand.data[s] > 0) flows[w] += bytes / (demand.data[s] / mesh.data);
      left[w] += bytes / rates[w];
      if (left[w] <= since) continue;
      // While one of its own flows moves a byte, so does each of those.
      const auto meets = [&](double of_a_flow) { return std::min(left[w] - since, flows[w] * of_a_flow / rates[w]); };
      if (tensor.bytes[w * stages + s - 1] > 0 && calls.total() > 0)
        pass = std::max(pass, meets(2 * demand.tensor[s - 1] / mesh.tensor / m * calls.backward / calls.total()));
      if (stream.bytes[w * stages + s - 1] > 0) message = std::max(message, meets(demand.pipeline / m));
    }
    longer[s - 1] = pass + message;
    since += passes[s - 1].backward + longer[s - 1];
  }
  return longer;
}

/// How long the data groups go on after the last backward pass, did they not hold it up.
double data_seconds(const parallel::MeshShape& mesh, const Demand& demand, const Loads& loads,
                    const std::vector<double>& rates, const comm::Links& links, const std::vector<Pass>& passes) {
  const AxisLoad& load = loads[at(MeshAxis::kData)];
  const std::size_t stages = demand.data.size();
  // When each stage begins to add, 0 being when the first stage's backward pass would end.
  const std::vector<double> longer = held_up(mesh, demand, loads, rates, passes);
  std::vector<double> begin(stages, std::accumulate(longer.begin(), longer.end(), 0.0));
  for (std::size_t s = 1; s < stages; ++s) begin[s] = begin[s - 1] - passes[s - 1].backward - longer[s - 1];
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

double pipeline_seconds(const std::vector<Pass>& passes, double microbatches, bool gpipe, double fill) {
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
    const double ways = before + (microbatches > slots ? first + last : std::max(first, last));
    longest = std::max(longest, microbatches * own.total() + fill * ways);
    before += own.total();
  }
  return longest;
}

StepMessages step_messages(const parallel::MeshShape& mesh, const Demand& demand, const std::vector<Pass>& computing,
                           const Loads& loads, const std::vector<double>& rates, const comm::Links& links) {
  const std::size_t stages = demand.data.size();
  const double m = std::max(1.0, demand.microbatches);
  const bool gpipe = demand.gpipe || !demand.trains;
  std::vector<Pass> silent = computing, passes, all;
  silent.resize(stages);
  const double fill = demand.trains ? demand.fill : 1;
  const double idle = pipeline_seconds(silent, m, gpipe, fill);

  const AxisLoad& stream = loads[at(MeshAxis::kPipeline)];
  std::vector<double> speaks(stages, 0.0);
  for (int round = 0; round < kRounds; ++round) {
    const std::vector<double> tensor =
        tensor_seconds(mesh, demand, silent, loads[at(MeshAxis::kTensor)], rates, links, speaks);
    passes = silent;
    for (std::size_t s = 0; s < stages; ++s) {
      const Calls& calls = demand.tensor_calls[s];
      const double each = calls.total() > 0 ? tensor[s] / calls.total() / m : 0;
      passes[s].forward += each * calls.forward;
      passes[s].backward += each * calls.backward;
    }
    all = passes;
    for (std::size_t s = 0; s + 1 < stages; ++s) {
      const double message = message_seconds(stream, s, m, demand.chunks, rates, links);
      all[s + 1].forward += message;
      if (demand.trains) all[s].backward += message;
    }
    const double step = pipeline_seconds(all, m, gpipe, fill);
    for (std::size_t s = 0; s < stages && step > 0; ++s)
      speaks[s] += (std::min(1.0, tensor[s] / step) - speaks[s]) / (round == 0 ? 1 : 2);
  }
  const double tensor_only = pipeline_seconds(passes, m, gpipe, fill);
  return {tensor_only - idle, pipeline_seconds(all, m, gpipe, fill) - tensor_only,
          data_seconds(mesh, demand, loads, rates, links, all)};
}

}  // namespace banyan::plan
