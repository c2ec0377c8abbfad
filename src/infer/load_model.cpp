#include "src/infer/load_model.hpp"

#include <fmt/core.h>

#include <system_error>

#include "io/checkpoint_reader.hpp"
#include "io/dataset.hpp"
#include "src/base/error.hpp"
#include "src/config/load.hpp"
#include "src/job/checkpoint.hpp"
#include "src/job/resume.hpp"
#include "src/plan/layout.hpp"

namespace banyan::infer {
namespace {

constexpr Seconds kIoLimit{1800};

/// First key of [model] in which the two shapes differ, "" when there is none.  Dropout and initial values do not
/// matter to a model that is only read.
std::string differing_key(const model::ModelShape& saved, const model::ModelShape& now) {
  const auto differ = [](const char* key, const auto& a, const auto& b) {
    return a == b ? std::string() : fmt::format("model.{} is {} in the config and {} in the checkpoint", key, b, a);
  };
  for (const std::string& sentence :
       {differ("layers", saved.layers, now.layers), differ("width", saved.width, now.width),
        differ("heads", saved.heads, now.heads), differ("kv_heads", saved.kv_heads, now.kv_heads),
        differ("ffn", saved.ffn, now.ffn), differ("context", saved.context, now.context),
        differ("vocab", saved.vocab, now.vocab),
        differ("norm", saved.norm == model::Norm::kRms ? "rms" : "layer",
               now.norm == model::Norm::kRms ? "rms" : "layer"),
        differ("position", saved.position == model::Position::kRotary ? "rotary" : "learned",
               now.position == model::Position::kRotary ? "rotary" : "learned"),
        differ("mlp", saved.mlp == model::Mlp::kSwiglu ? "swiglu" : "gelu",
               now.mlp == model::Mlp::kSwiglu ? "swiglu" : "gelu"),
        differ("bias", saved.bias, now.bias), differ("tied", saved.tied, now.tied),
        differ("rope_theta", saved.rope_theta, now.rope_theta), differ("norm_eps", saved.norm_eps, now.norm_eps)})
    if (!sentence.empty()) return sentence;
  return "";
}

}  // namespace

std::string checkpoint_source(const config::Config& config) {
  const std::string& resume = config.checkpoint.resume;
  return resume == "auto" || resume == "never" ? config.run.dir : resume;
}

SavedModel find_saved_model(comm::Communicator& ranks, const config::Config& config) {
  std::string path, text;
  if (ranks.rank() == 0) {
    // The newest whose manifest can be read speaks for all: checkpoints of one run hold one model.
    std::string reason;
    job::Listings listings;
    do {
      for (const job::Candidate& c : job::readable_candidates(checkpoint_source(config))) {
        try {
          text = io::CheckpointReader(c.path).manifest().config_text;
          path = c.path.string();
          break;
        } catch (const Error& e) {
          if (reason.empty()) reason = e.what();
          listings.removed(c);
        }
      }
    } while (path.empty() && listings.again());
    if (path.empty())
      throw ConfigError("no checkpoint of {} is usable; {}{}", checkpoint_source(config), reason, listings.advice());
  }
  SavedModel saved;
  saved.path = comm::broadcast_string(ranks, path, 0, "the name of the checkpoint");
  text = comm::broadcast_string(ranks, text, 0, "the configuration in the checkpoint");
  saved.config = config::load_text(text, "the configuration in " + saved.path.string()).config;

  const model::ModelShape shape = plan::make_model_shape(saved.config, 0);
  const std::string difference = differing_key(shape, plan::make_model_shape(config, shape.vocab));
  if (!difference.empty())
    throw ConfigError("{} is another model's: {}; use the configuration the model was trained with",
                      saved.path.string(), difference);
  return saved;
}

std::string load_model(job::Team& team, job::Job& job) {
  const job::InPhase phase(job.watchdog, job::Phase::kLoad);
  const std::string source = checkpoint_source(job.config);
  const io::Manifest manifest = job::load_readonly(*team.all, source, kIoLimit, [&](job::Source& from) {
    for (const model::LocalParam& p : team.stage->params())
      team.stage->fill_param(
          p, [&](const Shape& offset, View to) { from.read_slab(io::TensorKind::kParam, p.logical.name, offset, to); });
  });
  team.stage->params_changed();
  return fmt::format("step {} of {}", manifest.step, source);
}

io::Tokenizer find_tokenizer(const SavedModel& saved, const config::Config& config) {
  const auto make = [&]() -> io::Tokenizer {
    // CKPT/tokenizer.json, then RUN/tokenizer.json of RUN/ckpt/NAME
    for (const std::filesystem::path& directory : {saved.path, saved.path.parent_path().parent_path()}) {
      const std::filesystem::path file = directory / "tokenizer.json";
      std::error_code missing;
      if (std::filesystem::is_regular_file(file, missing)) return io::Tokenizer::from_path(file);
    }
    const std::string& train = config.data.train.empty() ? saved.config.data.train : config.data.train;
    if (train.empty())
      throw ConfigError(
          "no tokenizer is known for {}: there is no tokenizer.json beside it and data.train is empty; set data.train "
          "to "
          "the token file the model was trained on",
          saved.path.string());
    io::DatasetOptions options;
    options.train = train;
    options.length = 1;
    const io::Dataset dataset = io::Dataset::open(options);
    return io::Tokenizer::from_json(std::string(dataset.tokenizer_json()), "the tokenizer of " + train);
  };
  io::Tokenizer tokenizer = make();
  if (tokenizer.vocab() > saved.config.model.vocab)
    throw ConfigError(
        "the tokenizer knows {} tokens, but the model of {} was trained with model.vocab = {}; it is another "
        "model's tokenizer",
        tokenizer.vocab(), saved.path.string(), saved.config.model.vocab);
  return tokenizer;
}

}  // namespace banyan::infer
