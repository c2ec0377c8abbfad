// bench: how fast Banyan is on this machine.  One subcommand per file of this folder.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "perf/commands.hpp"
#include "src/base/error.hpp"

namespace banyan::perf {
namespace {

struct Command {
  const char* name;
  int (*run)(const std::vector<std::string>&);
  const char* summary;
};

constexpr Command kCommands[] = {
    {"ops", bench_ops, "every operation of the backend, as a fraction of the machine's peak"},
    {"step", bench_step, "a whole optimizer step, in tokens per second and as a fraction of the GEMM peak"},
    {"schedule", bench_schedule,
     "the bubble of every pipeline schedule beside the played one (mpirun -n N bench schedule)"},
    {"generate", bench_generate, "reading prompts and writing tokens, beside the machine's arithmetic and memory"},
    {"comm", bench_comm, "messages and collectives between the ranks it is started on (mpirun -n N bench comm)"},
    {"checkpoint", bench_checkpoint, "saving and loading, beside the bare disk (mpirun -n N bench checkpoint)"},
    {"plan", bench_plan, "published steps beside what the cost model predicts; how long plans of many ranks take"},
    {"watch", bench_watch, "what it costs a rank to say where it is, for its watchdog"},
};

void print_usage(std::FILE* to) {
  fmt::print(to, "bench COMMAND [options]\n");
  for (const Command& c : kCommands) fmt::print(to, "  {:<11}{}\n", c.name, c.summary);
  fmt::print(to, "bench COMMAND --help lists a command's options.\n");
}

}  // namespace

Options::Options(std::vector<std::string> words, std::vector<std::string> known) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    std::string name = words[i], value;
    if (const auto equals = name.find('='); equals != std::string::npos) {
      value = name.substr(equals + 1);
      name.resize(equals);
    } else if (i + 1 < words.size()) {
      value = words[++i];
    } else {
      throw UsageError("option {} needs a value", name);
    }
    if (std::find(known.begin(), known.end(), name) == known.end())
      throw UsageError("there is no option {}; there are {}", name, fmt::join(known, ", "));
    values_.emplace_back(name, value);
  }
}

std::string Options::text(const std::string& name, const std::string& otherwise) const {
  for (const auto& [key, value] : values_)
    if (key == name) return value;
  return otherwise;
}

long Options::number(const std::string& name, long otherwise) const {
  const std::string value = text(name, "");
  if (value.empty()) return otherwise;
  std::size_t used = 0;
  long n = -1;
  try {
    n = std::stol(value, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  if (used != value.size() || n < 0) throw UsageError("{} = {} is not a whole number of 0 or more", name, value);
  return n;
}

}  // namespace banyan::perf

int main(int argc, char** argv) {
  using namespace banyan;
  const std::vector<std::string> words(argv + 1, argv + argc);
  try {
    if (!words.empty())
      for (const perf::Command& c : perf::kCommands)
        if (words[0] == c.name) return c.run({words.begin() + 1, words.end()});
    const bool asked = !words.empty() && (words[0] == "help" || words[0] == "--help");
    perf::print_usage(asked ? stdout : stderr);
    return asked ? 0 : static_cast<int>(ExitCode::kUsage);
  } catch (const Error& e) {
    fmt::print(stderr, "bench: {}\n", e.what());
    return static_cast<int>(e.code());
  } catch (const std::exception& e) {
    fmt::print(stderr, "bench: {}\n", e.what());
    return static_cast<int>(ExitCode::kBug);
  }
}
