#include "src/train/evaluate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>
#include <string>

#include "src/base/signals.hpp"
#include "src/parallel/schedule.hpp"
#include "src/train/batch.hpp"
#include "src/train/stage_link.hpp"

namespace banyan::train {

namespace {

/// Every sample once: what lies behind the last one has no targets.
class FirstSamples : public Samples {
 public:
  explicit FirstSamples(Samples& samples) : samples_(samples) {}
  std::int64_t vocab() const override { return samples_.vocab(); }
  std::int64_t count() const override { return samples_.count(); }
  std::string fingerprint() const override { return samples_.fingerprint(); }
  void read(std::int64_t index, std::span<std::int32_t> out) override {
    if (index < samples_.count()) return samples_.read(index, out);
    std::fill(out.begin(), out.end(), -1);
  }

 private:
  Samples& samples_;
};

}  // namespace

using parallel::Action;
using parallel::ActionKind;

std::optional<Evaluation> evaluate(job::Job& job, job::Team& team, Samples& samples, std::int64_t batches, int enough) {
  const std::vector<Action> schedule =
      parallel::make_forward_schedule(team.layout.schedule_args(team.at), team.stage->spec().slots);
  const bool speaks = team.stage->spec().has_head && team.at.tensor == 0;
  StageLink link(team, job.queue);
  FirstSamples once(samples);
  BatchReader reader(team, once, false);
  std::array<double, 2> sums{};         // loss, tokens
  std::vector<kernels::Number> losses;  // of the microbatches of a batch
  batches = std::min(batches, (samples.count() + team.layout.batch() - 1) / team.layout.batch());
  // What all have voted when they began a batch is known when they begin the next one, so that stages which are ahead
  // wait for nobody.
  double leave = 0;
  Event voted;
  for (std::int64_t batch = 0; batch < batches; ++batch) {
    voted.wait();
    if (leave > 0) break;
    leave = signals::stop_requests() >= enough ? 1 : 0;
    voted = team.all->all_reduce(job.queue, View(&leave, {1}), comm::ReduceOp::kMax, "whether the evaluation goes on");
    reader.begin(batch);
    job.watchdog.enter(job::Phase::kEvaluate);  // again: what a batch takes is what the next one may take
    for (const Action& a : schedule) {
      switch (a.kind) {
        case ActionKind::kLoad:
          link.await_free(a.slot);
          team.stage->load(a.slot, reader.microbatch(a.microbatch, a.chunk));
          break;
        case ActionKind::kReceiveActivation:
          link.receive_activation(a);
          break;
        case ActionKind::kForward:
          link.await_activation(a.slot);
          team.stage->forward(a.slot);
          job.world.beat(fmt::format("batch {} of the evaluation, microbatch {}", batch + 1, a.microbatch + 1));
          if (speaks && a.chunk + 1 == team.layout.chunks) losses.push_back(team.stage->loss_sum(a.slot));
          break;
        case ActionKind::kSendActivation:
          link.send_activation(a);
          break;
        default:
          throw BugError("a forward schedule holds a backward action");
      }
    }
    if (!speaks) continue;
    team.backend->synchronize(job.queue);
    for (const kernels::Number& loss : losses) sums[0] += *loss;
    losses.clear();
    sums[1] += static_cast<double>(reader.tokens());
  }
  link.finish();
  voted.wait();
  if (leave > 0) return std::nullopt;
  team.all->all_reduce(job.queue, View(sums.data(), {2}), comm::ReduceOp::kSum, "losses of the evaluation").wait();
  return Evaluation{.loss = sums[1] > 0 ? sums[0] / sums[1] : 0, .tokens = static_cast<std::int64_t>(sums[1])};
}

}  // namespace banyan::train
