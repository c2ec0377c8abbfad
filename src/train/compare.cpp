#include "src/train/compare.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>

#include "io/dataset.hpp"
#include "src/base/units.hpp"
#include "src/plan/memory.hpp"
#include "src/train/step.hpp"

namespace banyan::train {
namespace {

constexpr int kGradChannel = 0;
/// The other ranks wait while rank 0 computes the whole batch alone.
constexpr Seconds kReferencePatience{3600};

config::Config reference_config(config::Config c) {
  c.parallel.tensor = c.parallel.pipeline = c.parallel.data = 1;
  c.parallel.zero = 0;
  c.parallel.sequence = false;
  c.parallel.stages = "auto";
  c.parallel.schedule = "1f1b";
  c.parallel.virtual_stages = 1;
  c.train.recompute = "none";
  c.checkpoint.async = "off";  // nothing is saved
  return c;
}

/// Bytes that the kernel would give without swapping; 0 where it does not say.
std::int64_t available_memory() {
  std::ifstream info("/proc/meminfo");
  for (std::string line; std::getline(info, line);)
    if (line.rfind("MemAvailable:", 0) == 0) return std::stoll(line.substr(13)) * 1024;
  return 0;
}

void refuse_if_too_large(const config::Config& reference, std::int64_t vocab) {
  const plan::Layout layout = plan::make_layout(reference, 1, vocab);
  const std::int64_t needed = plan::memory_plan(layout, reference, {}).total(), there = available_memory();
  if (there > 0 && needed > there)
    throw ConfigError(
        "one rank cannot hold this model: the reference needs {} and {} are available; compare a smaller "
        "model of the same kind (model.layers, model.width)",
        format_bytes(static_cast<double>(needed)), format_bytes(static_cast<double>(there)));
}

/// What the data rank at a coordinate owns of one local gradient; every value of a logical tensor once over the mesh.
bool contributes(const model::LocalParam& p, const parallel::Coordinate& c) {
  return !p.tied_copy && !(p.replicated && c.tensor != 0);
}

struct Norms {
  double difference = 0, reference = 0;  // squared
};

/// Adds the squares of a slab and of its difference to the reference gradient.
void add_norms(Norms& n, const model::LocalParam& p, model::Range rows, const float* slab, ConstView reference) {
  const std::int64_t width = reference.shape.row_count(), row_values = p.count.row_count();
  const std::int64_t first_column = p.count.rank() > 1 ? p.offset[1] : 0;
  for (std::int64_t r = rows.begin; r < rows.end; ++r) {
    const float* b = reference.as<float>() + (p.offset[0] + r) * width + first_column;
    for (std::int64_t c = 0; c < row_values; ++c) {
      const double want = b[c], difference = slab[(r - rows.begin) * row_values + c] - want;
      n.difference += difference * difference;
      n.reference += want * want;
    }
  }
}

/// Waits for the values.
void fetch(kernels::Backend* backend, Queue queue, View out, ConstView in) {
  backend->copy(queue, out, in);
  backend->synchronize(queue);
}

/// Rank 0 receives every gradient once, slab by slab, and compares it with the reference's; it knows all layouts.
std::map<std::string, Norms> compare_grads(job::Job& job, Trainer* mesh, Trainer* reference) {
  std::map<std::string, Norms> norms;
  if (!mesh) return norms;
  const plan::Layout& layout = mesh->team.layout;
  if (!job.root()) {
    for (const model::LocalParam& p : mesh->stage.params()) {
      const model::Range rows = owned_rows(p.count[0], mesh->team.at.data, layout.mesh.data);
      const View grad = p.grad.rows(rows.begin, rows.end);
      if (contributes(p, mesh->team.at) && grad.count() > 0)
        job.everyone->send(job.queue, grad.reshaped({grad.count()}), 0, kGradChannel, "rank 0 to compare gradients")
            .wait();
    }
    return norms;
  }
  std::map<std::string, ConstView> want;
  std::vector<ConstView> grads;
  for (const model::LocalParam& p : reference->stage.params()) grads.push_back(p.grad);
  grads = reference->host_copy.of_all(grads);
  for (std::size_t i = 0; i < grads.size(); ++i) want[reference->stage.params()[i].logical.name] = grads[i];
  std::vector<float> buffer;
  const parallel::Mesh& places = mesh->team.mesh;
  for (int logical = 0; logical < layout.mesh.size(); ++logical) {
    const parallel::Coordinate c = places.coordinate(logical);
    const int rank = places.process(c);
    const std::vector<model::LocalParam> params =
        rank == 0 ? mesh->stage.params() : model::local_params(layout.stage_spec(c));
    for (const model::LocalParam& p : params) {
      const model::Range rows = owned_rows(p.count[0], c.data, layout.mesh.data);
      const std::int64_t count = rows.count() * p.count.row_count();
      if (!contributes(p, c) || count == 0) continue;
      buffer.resize(static_cast<std::size_t>(count));
      const View slab(buffer.data(), {count});
      if (rank == 0)
        fetch(mesh->team.backend, job.queue, slab, p.grad.rows(rows.begin, rows.end).reshaped({count}));
      else
        job.everyone->receive(job.queue, slab, rank, kGradChannel, "gradients to compare").wait();
      add_norms(norms[p.logical.name], p, rows, buffer.data(), want.at(p.logical.name));
    }
  }
  return norms;
}

void take_worst(std::map<std::string, GradRow>& rows, const std::map<std::string, Norms>& norms, std::int64_t step) {
  double global = 0;
  for (const auto& [name, n] : norms) global += n.reference;
  for (const auto& [name, n] : norms) {
    const double scale = std::max(std::sqrt(n.reference), kSmallestShare * std::sqrt(global));
    const double difference = scale > 0 ? std::sqrt(n.difference) / scale : 0;
    GradRow& row = rows[name];
    if (row.name.empty() || !(difference <= row.difference)) row = {name, step, std::sqrt(n.reference), difference};
  }
}

}  // namespace

double LossRow::difference() const { return std::abs(mesh - reference) / std::abs(reference); }

bool Comparison::agrees() const {
  // Written so that NaN does not agree.
  return std::all_of(losses.begin(), losses.end(),
                     [this](const LossRow& r) { return r.difference() <= tolerance.loss; }) &&
         std::all_of(grads.begin(), grads.end(), [this](const GradRow& r) { return r.difference <= tolerance.grad; });
}

std::string Comparison::str() const {
  constexpr std::size_t kShown = 12;
  std::string s = fmt::format("{:>6}  {:>14}  {:>14}  {:>10}\n", "step", "loss mesh", "loss one rank", "relative");
  for (const LossRow& r : losses)
    s += fmt::format("{:>6}  {:>14.8f}  {:>14.8f}  {:>10.2e}{}\n", r.step, r.mesh, r.reference, r.difference(),
                     r.difference() <= tolerance.loss ? "" : "  <-- beyond " + fmt::format("{:.0e}", tolerance.loss));
  s += fmt::format("\n{:<40}  {:>6}  {:>12}  {:>10}\n", "gradient (largest differences first)", "step", "norm",
                   "relative");
  for (std::size_t i = 0; i < std::min(kShown, grads.size()); ++i)
    s += fmt::format(
        "{:<40}  {:>6}  {:>12.5e}  {:>10.2e}{}\n", grads[i].name, grads[i].step, grads[i].reference_norm,
        grads[i].difference,
        grads[i].difference <= tolerance.grad ? "" : "  <-- beyond " + fmt::format("{:.0e}", tolerance.grad));
  if (grads.size() > kShown) s += fmt::format("... and {} more, all smaller\n", grads.size() - kShown);
  return s;
}

Comparison compare(job::Job& job, std::int64_t steps) {
  const std::unique_ptr<Samples> samples = samples_of(open_dataset(job.config), io::Split::kTrain);
  const config::Config alone = reference_config(job.config);
  if (job.root()) refuse_if_too_large(alone, samples->vocab());
  job.everyone->barrier("rank 0 to look at its memory");
  const comm::PatienceScope patience(kReferencePatience);
  const std::unique_ptr<job::Team> team = job.assemble(samples->vocab(), job::Purpose::kTrain);
  const std::unique_ptr<job::Team> alone_team = job.assemble(alone, 1, samples->vocab(), job::Purpose::kTrain);
  std::unique_ptr<Trainer> mesh, reference;
  const auto start = [&](const std::unique_ptr<job::Team>& t, std::unique_ptr<Trainer>& trainer) {
    if (!t) return;
    trainer = std::make_unique<Trainer>(job, *t, *samples);
    t->stage->init_params(static_cast<std::uint64_t>(job.config.run.seed));
    t->stage->params_changed();
  };
  start(team, mesh);
  start(alone_team, reference);

  Comparison result;
  if (job.config.run.precision == "bf16") result.tolerance = kBf16Tolerance;
  std::map<std::string, GradRow> worst;
  for (std::int64_t step = 0; step < steps; ++step) {
    job.watchdog.at_step(step);
    StepReport ignored;
    const StepTotals totals = agree_on_step(job, step, mesh ? mesh->compute_gradients(step, ignored) : StepShare{});
    const StepShare alone_share = reference ? reference->compute_gradients(step, ignored) : StepShare{};
    const auto norms = compare_grads(job, mesh.get(), reference.get());
    if (reference) {
      const StepTotals own = totals_of(alone_share);
      result.losses.push_back({step + 1, totals.loss, own.loss});
      take_worst(worst, norms, step + 1);
      reference->apply_update(step, own, ignored);
    }
    if (mesh) mesh->apply_update(step, totals, ignored);
  }
  for (const auto& [name, row] : worst) result.grads.push_back(row);
  std::stable_sort(result.grads.begin(), result.grads.end(),
                   [](const GradRow& a, const GradRow& b) { return a.difference > b.difference; });
  return result;
}

}  // namespace banyan::train
