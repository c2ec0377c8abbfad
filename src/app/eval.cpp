// banyan eval CONFIG: loss and perplexity of the newest checkpoint on held-out or given text.
#include <fmt/core.h>

#include <cmath>
#include <cstdio>
#include <limits>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "io/atomic_file.hpp"
#include "io/dataset.hpp"
#include "src/app/command.hpp"
#include "src/base/log.hpp"
#include "src/infer/load_model.hpp"
#include "src/job/run_job.hpp"
#include "src/train/evaluate.hpp"

namespace banyan::app {
namespace {

constexpr std::string_view kUsage = R"(banyan eval CONFIG [--text FILE | --data FILE] [--section.key=value ...]

Loads the newest checkpoint of run.dir that verifies (or the one checkpoint.resume names) and prints the mean loss per token
and the perplexity.  Runs on any mesh; trains nothing and writes no files.

  --text FILE   of plain text, cut with the tokenizer the model was trained with
  --data FILE   of all of a token file
  (neither)     of what [data] holds out for validation
)";

/// Longest --text; larger ones belong into a token file, which is not read into memory.
constexpr std::size_t kTextLimit = std::size_t{256} << 20;
/// Silence that ranks bear while others read, and while they compute: each microbatch gives a sign of life.
constexpr Seconds kReading{3600}, kComputing{600};

/// Tokens of one text, end to end; the last sample is filled up with places that count for nothing.
class TextSamples : public train::Samples {
 public:
  TextSamples(std::vector<std::int32_t> tokens, std::int64_t vocab, std::int64_t length)
      : tokens_(std::move(tokens)), vocab_(vocab), length_(length) {}
  std::int64_t vocab() const override { return vocab_; }
  std::int64_t count() const override {
    return (static_cast<std::int64_t>(tokens_.size()) - 1 + length_ - 1) / length_;
  }
  std::string fingerprint() const override { return "text"; }
  void read(std::int64_t index, std::span<std::int32_t> out) override {
    const auto begin = static_cast<std::size_t>(index * length_);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = begin + i < tokens_.size() ? tokens_[begin + i] : -1;
  }

 private:
  std::vector<std::int32_t> tokens_;
  std::int64_t vocab_, length_;
};

std::unique_ptr<train::Samples> open_text(const std::string& path, const infer::SavedModel& saved,
                                          const config::Config& config) {
  io::Tokenizer tokenizer = infer::find_tokenizer(saved, config);
  std::vector<std::int32_t> tokens;
  // A document follows an end token in training, so that its first token is predicted too.
  if (tokenizer.end_token() >= 0) tokens.push_back(tokenizer.end_token());
  tokenizer.encode(io::read_limited(path, kTextLimit), tokens);
  if (tokens.size() < 2) throw DataError("{} holds no text to evaluate; give a file with at least two tokens", path);
  return std::make_unique<TextSamples>(std::move(tokens), tokenizer.vocab(), saved.config.model.context);
}

std::unique_ptr<train::Samples> open_data(const std::string& path, const infer::SavedModel& saved) {
  io::DatasetOptions options;
  options.train = path;
  options.length = saved.config.model.context;
  auto dataset = std::make_shared<io::Dataset>(io::Dataset::open(options));
  if (dataset->vocab() > saved.config.model.vocab)
    throw DataError("{} has a vocabulary of {} tokens, the model one of {}; use a token file made with its tokenizer",
                    path, dataset->vocab(), saved.config.model.vocab);
  return train::samples_of(std::move(dataset), io::Split::kTrain);
}

ExitCode evaluate(job::Job& job, const std::optional<std::string>& text, const std::optional<std::string>& data) {
  job.watchdog.start(Seconds(job.config.run.watchdog), {}, 0);
  std::optional<job::InPhase> setup(std::in_place, job.watchdog, job::Phase::kSetup);
  std::optional<comm::PatienceScope> reading(kReading);
  const infer::SavedModel saved = infer::find_saved_model(*job.everyone, job.config);
  const std::unique_ptr<train::Samples> samples =
      text   ? open_text(*text, saved, job.config)
      : data ? open_data(*data, saved)
             : train::samples_of(train::open_dataset(job.config), io::Split::kValidation);
  const std::unique_ptr<job::Team> team = job.assemble(saved.config.model.vocab, job::Purpose::kEvaluate);
  setup.reset();
  std::int64_t stopped = 0;
  if (team) {
    const std::string from = infer::load_model(*team, job);
    if (job.root()) log::info("evaluating {}", from);
    // Spares stay patient: they hear of nobody until the end.
    reading.reset();
    const comm::PatienceScope computing(kComputing);
    const job::InPhase phase(job.watchdog, job::Phase::kEvaluate);
    const auto e = train::evaluate(job, *team, *samples, std::numeric_limits<std::int64_t>::max(), 1);
    stopped = e ? 0 : 1;
    if (e && e->tokens == 0)
      throw DataError("there is no text to evaluate; raise data.validation_fraction or give --text");
    if (e && !std::isfinite(e->loss))
      throw NumericsError("the loss is {}; the model's parameters are not usable", e->loss);
    if (e && job.root())
      fmt::print("loss {:.6f}  perplexity {:.3f}  tokens {}\n", e->loss, std::exp(e->loss), e->tokens);
    if (!e && job.root()) log::info("stopped by a signal; start the same command again to evaluate from the beginning");
  }
  std::fflush(stdout);
  stopped = comm::all_reduce_value(*job.everyone, stopped, comm::ReduceOp::kMax, "the end of the evaluation");
  return stopped != 0 ? ExitCode::kStopped : ExitCode::kFinished;
}

ExitCode run(Args& args) {
  const std::optional<std::string> text = args.value("text"), data = args.value("data");
  const std::vector<std::string> overrides = args.overrides();
  args.finish(1, 1, kUsage);
  if (text && data) throw UsageError("--text and --data exclude each other; give one of them");
  return job::run_job({.command = "eval", .config_path = args.positional()[0], .overrides = overrides},
                      [&](job::Job& job) { return evaluate(job, text, data); });
}

}  // namespace

Command eval_command() {
  return {.name = "eval",
          .summary = "loss and perplexity of a checkpoint",
          .usage = kUsage,
          .options_with_value = {"text", "data"},
          .run = run,
          .takes_config = true};
}

}  // namespace banyan::app
