#include "src/train/resume.hpp"

#include <optional>
#include <string>

#include "io/checksum.hpp"
#include "src/base/log.hpp"
#include "src/config/load.hpp"
#include "src/train/state.hpp"

namespace banyan::train {
namespace {

/// Small facts beside the tensors, under their names in Manifest::extra.
constexpr const char *kDataset = "dataset", *kIsa = "isa", *kThreads = "threads", *kLosses = "losses";

void check_unchanged(const Trainer& t, const io::Manifest& m, bool model_only) {
  const config::Config saved = config::load_text(m.config_text, "the configuration in the checkpoint").config;
  const std::vector<FixedKey> changed = changed_keys(saved, resolved(t.job.config, t.team.layout.model), model_only);
  const auto refuse = [&](bool vocab) {
    for (const FixedKey& k : changed)
      if ((k.name == "model.vocab") == vocab)
        throw ConfigError("{} = {} cannot be resumed with {} = {}: put the old value back, or start a new run.dir",
                          k.name, k.saved, k.name, k.now);
  };
  refuse(false);
  // A vocabulary that came with other data is not the mistake to name.
  const auto data = m.extra.find(kDataset);
  const std::string now = t.batch.samples().fingerprint();
  if (!model_only && data != m.extra.end() && data->second != now)
    throw ConfigError(
        "data.train does not hold the data of this run (checkpoint: {}, now: {}): put the old files and weights back, "
        "or start a new run.dir",
        data->second, now);
  refuse(true);
}

/// Allowed, but the promise of equal bits ends here.
void report_differences(const Trainer& t, const io::Manifest& m) {
  const auto differs = [&](const char* key, const std::string& now) {
    const auto was = m.extra.find(key);
    if (was != m.extra.end() && was->second != now)
      log::warning("{} was {} when the checkpoint was written and is {} now: losses will not be equal to the bit", key,
                   was->second, now);
  };
  differs(kIsa, t.job.arithmetic());
  differs(kThreads, std::to_string(t.job.threads));
  if (m.mesh_text != t.team.mesh.shape().str())
    log::info("the mesh was {} and is {} now", m.mesh_text, t.team.mesh.shape().str());
  const config::Config saved = config::load_text(m.config_text, "the configuration in the checkpoint").config;
  for (const std::string& key : config::differing_keys(saved, t.job.config))
    if (key.rfind("optimizer.", 0) == 0)
      log::warning("{} was {} and is {} from here on", key, config::value_text(saved, key),
                   config::value_text(t.job.config, key));
}

}  // namespace

ResumePoint resume(Trainer& t, job::Checkpoints& checkpoints) {
  bool optimizer = true;
  const std::optional<io::Manifest> m = checkpoints.load([&](job::Source& source) {
    // An imported model has parameters only: it is where training begins, not where it was.
    optimizer = !t.stage.params().empty() && source.has(io::TensorKind::kM, t.stage.params()[0].logical.name);
    check_unchanged(t, source.manifest(), !optimizer);
    fill_state(t, source, optimizer);
  });
  ResumePoint point;
  if (!m) {
    t.stage.init_params(static_cast<std::uint64_t>(t.job.config.run.seed));
    if (t.job.root()) log::info("starting fresh with seed {}", t.job.config.run.seed);
  } else if (optimizer) {
    const auto kept = [&](const char* key) {
      const auto found = m->extra.find(key);
      return found == m->extra.end() ? "" : found->second;
    };
    point = {m->step,       m->tokens,     m->run_uuid != checkpoints.run_uuid() || m->extra.contains(io::kLevel),
             m->plans_text, kept(kLosses), kept(kDroppedBatches)};
    // Roll-backs read further than the steps alone; what they left out is in kDroppedBatches.
    const std::int64_t batch = t.team.layout.batch(), read = m->cursor / batch;
    if (m->cursor % batch != 0 || read < m->step || (read > m->step && point.dropped.empty()))
      throw ConfigError("the checkpoint has read {} samples in {} steps, which train.batch = {} does not make",
                        m->cursor, m->step, batch);
    t.data_shift = read - m->step;
    if (t.job.root()) {
      log::info("resuming after step {}", point.step);
      report_differences(t, *m);
    }
  } else if (t.job.root()) {
    log::info("starting from the parameters of a checkpoint without optimizer state");
  }
  t.stage.params_changed();
  return point;
}

job::SaveState save_state(const Trainer& t, std::int64_t step, std::int64_t tokens, const BadSteps& bad) {
  return {.step = step,
          .tokens = tokens,
          .cursor = (step + t.data_shift) * t.team.layout.batch(),
          .model_hash = model_hash(t.team.layout.model),
          .config_text = config::write(resolved(t.job.config, t.team.layout.model)),
          .mesh_text = t.team.mesh.shape().str(),
          .plans_text = t.job.plans_text,
          .extra = {{kDataset, t.batch.samples().fingerprint()},
                    {kIsa, t.job.arithmetic()},
                    {kThreads, std::to_string(t.job.threads)},
                    {kLosses, bad.losses_text()},
                    {kDroppedBatches, bad.dropped_text()}}};
}

config::Config resolved(config::Config config, const model::ModelShape& shape) {
  config.model.vocab = shape.vocab;
  config.model.kv_heads = shape.kv_heads;
  config.model.ffn = shape.ffn;
  return config;
}

}  // namespace banyan::train
