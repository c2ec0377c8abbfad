#include "src/app/command.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "src/app/command_config.hpp"
#include "src/base/error.hpp"
#include "src/base/nearest.hpp"
#include "src/config/describe.hpp"

namespace banyan::app {

#define COMMAND(name) Command name##_command();
#include "src/app/commands.def"
#undef COMMAND

namespace {

std::string overview() {
  std::string out =
      "banyan trains decoder-only language models on many ranks: tensor, pipeline and data parallel.\n\n"
      "usage: banyan COMMAND [ARGUMENT...] [--option=value...]\n\ncommands:\n";
  for (const Command& c : commands()) out += fmt::format("  {:<10} {}\n", c.name, c.summary);
  out +=
      "\n"
      "  banyan help COMMAND          what a command takes\n"
      "  banyan help config [SECTION] the keys of a config\n"
      "  banyan --print-reference     the same as Markdown (configs/README.md)\n"
      "  banyan --print-exit-codes    what the exit code says\n"
      "  banyan --version\n";
  return out;
}

std::string command_help(const Command& c) {
  std::string out = fmt::format("banyan {}: {}\n\nusage: {}", c.name, c.summary, c.usage);
  if (!out.ends_with('\n')) out += '\n';
  if (!c.takes_config) return out;
  out += "\nAny key of the config can be set as --section.key=value:\n";
  for (const auto& [name, sentence] : config::all_sections()) out += fmt::format("  {:<11} {}\n", name, sentence);
  out += fmt::format(
      "`banyan {} --help SECTION` lists the keys; `banyan {} CONFIG --print-config` shows every value and "
      "where it comes from.\n",
      c.name, c.name);
  return out;
}

std::string exit_codes() {
  std::string out;
  for (const ExitCodeRow& row : kExitCodes)
    out += fmt::format("{:>3}  {:<13}  {:<7}  {}\n", static_cast<int>(row.code), row.name,
                       row.requeue ? "requeue" : "-", row.sentence);
  return out;
}

void print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  if (std::fflush(stdout) != 0) throw IoError("cannot write to standard output");
}

ExitCode help(std::span<const std::string> topics) {
  if (topics.empty()) {
    print(overview());
  } else if (topics[0] == "config") {
    print(config::help(topics.size() > 1 ? topics[1] : ""));
  } else {
    print(command_help(find_command(topics[0])));
  }
  return ExitCode::kFinished;
}

std::string print_value(const config::Config& config, const std::string& key) {
  std::vector<std::string> names;
  for (const config::KeyInfo& k : config::all_keys()) names.push_back(k.full());
  if (std::find(names.begin(), names.end(), key) != names.end()) return config::value_text(config, key);
  const std::string best = nearest(key, names);
  throw UsageError("there is no key {}{}", key, best.empty() ? "" : "; did you mean " + best + "?");
}

/// --help, --print-config and --print-value, which every command answers in the same way; false when the command is to
/// run.
bool answered(const Command& c, std::span<const std::string> rest, Args& args) {
  const auto help_word = std::find_if(rest.begin(), rest.end(), [](const std::string& a) {
    return a == "--help" || a == "-h" || a.rfind("--help=", 0) == 0;
  });
  const auto end_of_options = std::find(rest.begin(), rest.end(), "--");
  if (help_word < end_of_options) {
    std::string section = help_word->rfind("--help=", 0) == 0 ? help_word->substr(7) : "";
    if (section.empty() && help_word + 1 < rest.end() && (help_word + 1)->rfind("-", 0) != 0)
      section = *(help_word + 1);
    print(section.empty() || !c.takes_config ? command_help(c) : config::help(section));
    return true;
  }
  if (c.takes_config && args.flag("print-config")) {
    print(config::print_config(load_command_config(args)));
    return true;
  }
  if (const std::optional<std::string> key = c.takes_config ? args.value("print-value") : std::nullopt) {
    print(print_value(load_command_config(args).config, *key) + "\n");
    return true;
  }
  return false;
}

}  // namespace

const std::vector<Command>& commands() {
  static const std::vector<Command> table{
#define COMMAND(name) name##_command(),
#include "src/app/commands.def"
#undef COMMAND
  };
  return table;
}

const Command& find_command(std::string_view name) {
  std::vector<std::string> names;
  for (const Command& c : commands()) {
    if (c.name == name) return c;
    names.emplace_back(c.name);
  }
  names.emplace_back("help");
  const std::string best = nearest(name, names);
  throw UsageError("there is no command {}{}", name,
                   best.empty() ? "; `banyan help` lists them" : "; did you mean " + best + "?");
}

config::LoadResult load_command_config(Args& args) {
  const std::vector<std::string> overrides = args.overrides();
  if (args.positional().empty()) throw UsageError("name a CONFIG, for example configs/quickstart.ini");
  return config::load(args.positional()[0], overrides);
}

ExitCode dispatch(std::span<const std::string> arguments) {
  if (arguments.empty()) {
    std::fputs(overview().c_str(), stderr);
    return ExitCode::kUsage;
  }
  const std::string& first = arguments[0];
  const std::span<const std::string> rest = arguments.subspan(1);
  if (first == "help" || first == "--help" || first == "-h") return help(rest);
  if (first == "--version") return print("banyan " BANYAN_VERSION "\n"), ExitCode::kFinished;
  if (first == "--print-exit-codes") return print(exit_codes()), ExitCode::kFinished;
  if (first == "--print-reference") return print(config::reference()), ExitCode::kFinished;
  if (first.rfind("-", 0) == 0) throw UsageError("{} is no command; `banyan help` lists them", first);
  const Command& command = find_command(first);
  std::vector<std::string> without_help;  // "-h" is the one short option
  for (const std::string& a : rest)
    if (a != "-h") without_help.push_back(a);
  Args args(without_help, command.options_with_value);
  if (answered(command, rest, args)) return ExitCode::kFinished;
  return command.run(args);
}

}  // namespace banyan::app
