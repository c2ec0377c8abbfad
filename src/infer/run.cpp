#include "src/infer/run.hpp"

#include <fmt/core.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "io/dataset.hpp"
#include "io/tokenizer.hpp"
#include "src/base/error.hpp"
#include "src/base/section.hpp"
#include "src/base/signals.hpp"
#include "src/base/units.hpp"
#include "src/infer/completion_writer.hpp"
#include "src/infer/generate.hpp"
#include "src/infer/load_model.hpp"
#include "src/infer/prompt_source.hpp"
#include "src/job/memory_check.hpp"
#include "src/plan/memory.hpp"

namespace banyan::infer {
namespace {

/// Full batches between two writes of JSONL answers.
constexpr std::int64_t kBatchesOfWindow = 4;
/// Silence that ranks bear while others compute a pass, and while others finish their share, of which every pass gives
/// a sign; deaths are noticed at once all the same.
constexpr Seconds kPassPatience{600}, kSharePatience{3600};

/// What only the rank that speaks with the user has.
struct Speaker {
  io::Tokenizer tokenizer;
  PromptSource source;
  std::unique_ptr<JsonlWriter> jsonl{};
  std::unique_ptr<TextPrinter> printer{};
  std::vector<Request> window{};
  std::int64_t prompt_tokens = 0, new_tokens = 0;
};

/// Vocabulary and end token, which every rank needs, travel with the prompts' tokens.
struct Header {
  std::int64_t vocab = 0, end_token = -1;
};

std::unique_ptr<Speaker> make_speaker(const job::Job& job, const SavedModel& saved, const RunOptions& options) {
  auto source =
      options.jsonl ? PromptSource::from_jsonl(*options.jsonl) : PromptSource(options.prompts, options.prompt_file);
  auto speaker = std::unique_ptr<Speaker>(new Speaker{find_tokenizer(saved, job.config), std::move(source)});
  if (options.jsonl || options.json)
    speaker->jsonl = std::make_unique<JsonlWriter>(speaker->tokenizer, options.out, options.replace);
  else
    speaker->printer = std::make_unique<TextPrinter>(speaker->tokenizer);
  return speaker;
}

std::vector<std::int32_t> encode(Speaker& speaker, const Request& request, std::int64_t context) {
  std::vector<std::int32_t> tokens = speaker.tokenizer.encode(request.text);
  if (tokens.empty()) {
    // Nothing to go on from: the model starts a document, as behind the token between documents.
    if (speaker.tokenizer.end_token() < 0)
      throw DataError("{} is empty, and the tokenizer has no token between documents to start from; give a prompt",
                      request.where);
    tokens.push_back(speaker.tokenizer.end_token());
  }
  if (static_cast<std::int64_t>(tokens.size()) > context)
    throw DataError("{} has {} tokens, but model.context = {}; shorten the prompt", request.where, tokens.size(),
                    context);
  return tokens;
}

/// The next prompts on every rank; empty at the end.
std::vector<Prompt> next_window(job::Team& team, Speaker* speaker, std::int64_t count) {
  std::string bytes;
  const auto append = [&](std::int64_t value) { bytes.append(reinterpret_cast<const char*>(&value), sizeof value); };
  if (speaker) {
    speaker->window = speaker->source.next(count);
    for (const Request& r : speaker->window) {
      const std::vector<std::int32_t> tokens = encode(*speaker, r, team.layout.model.context);
      speaker->prompt_tokens += static_cast<std::int64_t>(tokens.size());
      append(r.index);
      append(static_cast<std::int64_t>(tokens.size()));
      for (std::int32_t t : tokens) append(t);
    }
  }
  bytes = comm::broadcast_string(*team.all, bytes, 0, "the prompts");
  std::vector<std::int64_t> words(bytes.size() / sizeof(std::int64_t));
  if (!words.empty()) std::memcpy(words.data(), bytes.data(), words.size() * sizeof(std::int64_t));
  std::vector<Prompt> prompts;
  for (std::size_t at = 0; at < words.size();) {
    Prompt p;
    p.index = words[at];
    const std::size_t begin = at + 2, end = begin + static_cast<std::size_t>(words[at + 1]);
    for (std::size_t i = begin; i < end; ++i) p.tokens.push_back(static_cast<std::int32_t>(words[i]));
    at = end;
    prompts.push_back(std::move(p));
  }
  return prompts;
}

void write_window(Speaker& speaker, const std::vector<Completion>& completions) {
  for (const Completion& c : completions) speaker.new_tokens += static_cast<std::int64_t>(c.tokens.size());
  if (speaker.printer) speaker.printer->show(completions, [](std::size_t) { return true; });
  if (speaker.jsonl)
    for (std::size_t i = 0; i < completions.size(); ++i) speaker.jsonl->write(speaker.window.at(i), completions[i]);
}

void say_speed(const Speaker& speaker, Seconds seconds, const GenerateCounts& counts) {
  fmt::print(stderr, "{} prompt tokens, {} new tokens in {} ({:.1f} tokens/s)\n", speaker.prompt_tokens,
             speaker.new_tokens, format_seconds(seconds.count()),
             static_cast<double>(speaker.new_tokens) / std::max(1e-9, seconds.count()));
  fmt::print(stderr, "a replica reads prompts at {:.1f} tokens/s and writes at {:.1f} tokens/s\n",
             counts.reading.rate(), counts.writing.rate());
}

/// The work of the ranks of the mesh; true when a stop request cut it short.
bool generate_on(job::Team& team, job::Job& job, const SavedModel& saved, const RunOptions& options,
                 std::int64_t memory) {
  const comm::PatienceScope pass_patience(kPassPatience);
  std::optional<job::InPhase> setup(std::in_place, job.watchdog, job::Phase::kSetup);
  // The user's side first: a wrong path should not wait for gigabytes of parameters.
  std::unique_ptr<Speaker> speaker;
  Header header;
  if (team.all->rank() == 0) {
    speaker = make_speaker(job, saved, options);
    header = {speaker->tokenizer.vocab(), speaker->tokenizer.end_token()};
  }
  header.vocab = comm::all_reduce_value(*team.all, header.vocab, comm::ReduceOp::kMax, "the vocabulary");
  header.end_token = comm::all_reduce_value(*team.all, header.end_token, comm::ReduceOp::kMax, "the end token");
  setup.reset();
  const std::string loaded = load_model(team, job);
  if (speaker) fmt::print(stderr, "loaded {}\n", loaded);

  const auto& g = job.config.generate;
  Generator generator(team,
                      {.sampling = {.temperature = g.temperature,
                                    .top_k = g.top_k,
                                    .top_p = g.top_p,
                                    .seed = static_cast<std::uint64_t>(g.seed)},
                       .batch = g.batch,
                       .tokens = g.tokens,
                       .end_token = static_cast<std::int32_t>(header.end_token),
                       .vocab = header.vocab,
                       .threads = job.threads,
                       .planned = plan::memory_plan(team.layout, job.config, team.at).scarcest(),
                       .memory = memory},
                      job.queue);
  const int replicas = team.layout.mesh.data;
  // Running text is shown in the order of the prompts, so all of them are one window; JSONL may be endless.
  const std::int64_t window = options.jsonl ? kBatchesOfWindow * g.batch * replicas : std::int64_t{1} << 40;
  const Clock::time_point begun = Clock::now();
  bool stopped = false;
  while (!stopped) {
    const std::vector<Prompt> prompts = next_window(team, speaker.get(), window);
    if (prompts.empty()) break;
    if (speaker && speaker->printer) speaker->printer->begin(speaker->window);
    std::vector<Completion> mine;
    {
      const job::InPhase phase(job.watchdog, job::Phase::kGenerate);
      mine = generator.generate(prompts_of(prompts, team.at.data, replicas), [&](const Batcher& b) {
        job.world.beat(fmt::format("{} tokens generated", generator.counts().new_tokens));
        if (speaker && speaker->printer) {
          const job::InPhase printing(job.watchdog, job::Phase::kNone);  // who reads may take all the time there is
          speaker->printer->show(b.completions(), [&](std::size_t i) { return b.finished(i); });
        }
        job.watchdog.enter(job::Phase::kGenerate);  // again: what a pass takes is what the next one may take
      });
    }
    const comm::PatienceScope share_patience(kSharePatience);
    const std::vector<Completion> all = gather_completions(team, mine);
    if (speaker) write_window(*speaker, all);
    const bool asked = generator.stopped() || signals::stop_requests() > 0;
    stopped = comm::all_reduce_value(*team.all, std::int64_t{asked}, comm::ReduceOp::kMax, "whether to stop") != 0;
  }
  if (speaker) {
    if (speaker->jsonl) speaker->jsonl->close();
    say_speed(*speaker, Clock::now() - begun, generator.counts());
  }
  return stopped;
}

}  // namespace

ExitCode run_generate(job::Job& job, const RunOptions& options) {
  job.watchdog.start(Seconds(job.config.run.watchdog), {}, 0);
  std::optional<job::InPhase> setup(std::in_place, job.watchdog, job::Phase::kSetup);
  const SavedModel saved = find_saved_model(*job.everyone, job.config);
  const std::unique_ptr<job::Team> team = job.assemble(saved.config.model.vocab, job::Purpose::kGenerate);
  setup.reset();
  const std::int64_t memory = job.memory_of_a_rank();
  std::int64_t stopped = team && generate_on(*team, job, saved, options, memory);
  // Spares wait here from the start, so that all ranks leave with the same code.
  const comm::PatienceScope patience(kSharePatience);
  stopped = comm::all_reduce_value(*job.everyone, stopped, comm::ReduceOp::kMax, "the working ranks to finish");
  return stopped ? ExitCode::kStopped : ExitCode::kFinished;
}

}  // namespace banyan::infer
