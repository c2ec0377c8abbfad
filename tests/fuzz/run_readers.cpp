// The small files of a run directory, and what people write themselves.
#include <cmath>
#include <fstream>

#include "comm/plan_book.hpp"
#include "comm/plan_choice.hpp"
#include "comm/plan_verifier.hpp"
#include "src/base/error.hpp"
#include "src/config/load.hpp"
#include "src/job/causes.hpp"
#include "src/job/halt_file.hpp"
#include "src/job/save_interval.hpp"
#include "src/job/save_times.hpp"
#include "tests/fuzz/readers.hpp"
#include "tests/temp_dir.hpp"

namespace banyan::fuzz {
namespace {

namespace fs = std::filesystem;

/// The second part is a command line, one argument a line.
void read_config(std::string_view input) {
  const auto [text, lines] = two_parts(input);
  std::vector<std::string> arguments;
  for (std::size_t at = 0; at < lines.size();) {
    const std::size_t end = std::min(lines.find('\n', at), lines.size());
    arguments.emplace_back(lines.substr(at, end - at));
    at = end + 1;
  }
  try {
    const std::string written = config::write(config::load_text(text, "input", arguments).config);
    must(config::write(config::load_text(written, "written").config) == written, "a config changes when written");
  } catch (const ConfigError&) {
  } catch (const UsageError&) {  // of the command line
    must(!arguments.empty(), "a file is blamed on the command line");
  }
}

/// A book that was accepted gives correct plans.
void read_plans(std::string_view input) {
  using comm::CollectiveKind;
  comm::PlanBook book;
  try {
    comm::is_other_form(input, "input");
    book = comm::read_book(input, "input");
  } catch (const DataError&) {
    return;
  }
  const std::string written = comm::write_book(book);
  must(comm::write_book(comm::read_book(written, "written")) == written, "a book changes when written");
  must(!comm::book_table(book).empty(), "a book cannot be shown");
  for (const comm::GroupPlans& g : book.groups) {
    if (g.size > 6) continue;
    const comm::Recipe& recipe = g.recipe(CollectiveKind::kAllReduce, 4 * 37);
    if (recipe.algorithm == comm::kNative) continue;
    std::vector<comm::Plan> plans;
    for (int rank = 0; rank < g.size; ++rank)
      plans.push_back(comm::make_plan(recipe, {.size = g.size, .counts = {37}}, g.tree, rank));
    must(comm::verify({CollectiveKind::kAllReduce, {37}, {}}, plans).empty(), "a plan is wrong");
  }
}

/// attempts.jsonl and one cause record.
void read_attempts(std::string_view input) {
  static const test::TempDir dir;
  const auto [attempts, cause] = two_parts(input);
  put(dir / "attempts.jsonl", attempts);
  put(dir.path() / "causes" / "1.0.json", cause);
  const job::FailureHistory history = job::read_history(dir.path(), 1000, 2e9);
  must(history.failures >= 0 && history.failures <= 1 + static_cast<std::int64_t>(attempts.size()),
       "failures out of nothing");
  must(history.time.count() >= 0, "time ran backwards");
  const Seconds between = job::time_between_failures(history, 4);
  must(between.count() > 0 && std::isfinite(job::save_interval(Seconds(1), between).count()), "no interval");
}

void read_saves(std::string_view input) {
  static const test::TempDir dir;
  put(dir / "saves.jsonl", input);
  const job::SaveTimes times(dir.path());
  const double p99 = times.p99(Seconds(5)).count();
  must(std::isfinite(p99) && p99 >= 0, "a save takes no time that can be told");
}

void read_halt(std::string_view input) {
  const job::Halt halt = job::parse_halt(input);
  must(halt.at_step >= 0, "a stop before the beginning");
  must(job::parse_halt(job::halt_text(halt)).at_step == halt.at_step, "a stop changes when written");
}

std::string book_seed() {
  comm::Links links;
  links.measured = true;
  const comm::GroupTree tree{{{0, 0, 1, 1}, {0, 0, 0, 0}}};
  return comm::write_book({links,
                           {comm::choose_plans("data group", 4, tree, links, false, comm::no_wishes()),
                            comm::choose_plans("world", 2, {}, links, true, comm::no_wishes())}});
}

std::vector<std::string> config_seeds() {
  return {config::write(config::defaults()),
          "# small\n[run]\ndir = \"runs/a b\"\n[parallel]\ntensor = 2\ndata = 0\n[train]\nsteps = 10 # ten\n"
          "[data]\ntrain = a.h5:2,b.h5:1\n\n--\n--train.batch=8\n--checkpoint.every_steps=1k\nrun.watchdog=0"};
}

std::vector<std::string> attempt_seeds() {
  job::Cause cause;
  cause.attempt = 1;
  cause.code = ExitCode::kPeerLost;
  cause.message = "gone";
  return {R"({"attempt": 1, "epoch": 1, "from_step": 0, "started": "2026-01-31T12:00:00Z"})"
          "\n"
          R"({"attempt": 2, "epoch": 2, "from_step": 10, "started": "2026-01-31T13:00:00Z"})"
          "\n\n--\n" +
          job::cause_json(cause)};
}

}  // namespace

std::vector<Reader> run_readers() {
  const auto these = [](std::vector<std::string> seeds) { return [seeds = std::move(seeds)] { return seeds; }; };
  return {{"config", read_config, config_seeds},
          {"plans", read_plans, [] { return std::vector<std::string>{book_seed()}; }},
          {"attempts", read_attempts, attempt_seeds},
          {"saves", read_saves,
           these({R"({"attempt": 3, "step": 1200, "bytes": 1492992000, "seconds": 3.21})"
                  "\n"
                  R"({"attempt": 3, "step": 1300, "bytes": 1492992000, "seconds": 4e-1})"
                  "\n"})},
          {"halt", read_halt, these({"at-step 1200\n", "now\n", "at-step 3k"})}};
}

}  // namespace banyan::fuzz
