// banyan generate CONFIG: text from a trained model.
#include <optional>

#include "src/app/command.hpp"
#include "src/base/error.hpp"
#include "src/infer/run.hpp"
#include "src/job/run_job.hpp"

namespace banyan::app {
namespace {

constexpr std::string_view kUsage =
    R"(banyan generate CONFIG (--prompt TEXT ... | --prompt-file FILE | --jsonl IN [--out OUT]) [--section.key=value ...]

Continues prompts with the newest checkpoint of run.dir, or with --checkpoint.resume=PATH; under mpirun or srun on all
their ranks, divided as [parallel] says.  The keys of [generate] decide how tokens are chosen; the same seed, prompt and
model give the same text on any mesh.  An empty prompt starts a document.

  --prompt TEXT        may be given several times; prompt and continuation appear on standard output as they grow
  --prompt-file FILE   the whole file is one prompt; any bytes
  --jsonl IN           a file of JSON objects, one a line, each with a string "prompt"
  --json               answers to --prompt and --prompt-file as JSON lines too
  --out OUT            file for the JSON lines: the members of the request, then "text", "tokens" and "finish"
                       ("end": the end token came, "length": generate.tokens, "context": model.context is full,
                       "stopped": by a signal); default standard output
  --force              OUT may exist

The tokenizer is tokenizer.json beside the checkpoint or in the run directory, or the one inside data.train.
)";

ExitCode run(Args& args) {
  infer::RunOptions options;
  options.prompts = args.values("prompt");
  options.prompt_file = args.value("prompt-file");
  options.jsonl = args.value("jsonl");
  const std::optional<std::string> out = args.value("out");
  options.out = out.value_or("");
  options.json = args.flag("json");
  options.replace = args.flag("force");
  const std::vector<std::string> overrides = args.overrides();
  args.finish(1, 1, kUsage);
  const bool texts = !options.prompts.empty() || options.prompt_file;
  if (!texts && !options.jsonl)
    throw UsageError("generate needs something to continue: --prompt TEXT, --prompt-file FILE or --jsonl IN");
  if (texts && options.jsonl) throw UsageError("--jsonl brings its own prompts; leave out --prompt and --prompt-file");
  if (out && !options.jsonl && !options.json) throw UsageError("--out takes JSON lines; add --json");
  return job::run_job({.command = "generate", .config_path = args.positional()[0], .overrides = overrides},
                      [&](job::Job& job) { return infer::run_generate(job, options); });
}

}  // namespace

Command generate_command() {
  return {.name = "generate",
          .summary = "continue prompts with a trained model",
          .usage = kUsage,
          .options_with_value = {"prompt", "prompt-file", "jsonl", "out"},
          .run = run,
          .takes_config = true};
}

}  // namespace banyan::app
