// Commands of the binary.  A command NAME is a line COMMAND(NAME) in commands.def and a file src/app/NAME.cpp that
// defines `Command NAME_command()`.  Its run function throws an Error for what went wrong; main() makes it the exit
// code.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/app/args.hpp"
#include "src/base/exit_code.hpp"

namespace banyan::app {

struct Command {
  std::string_view name;
  std::string_view summary;  ///< one line, for `banyan help`
  std::string_view usage;    ///< whole text of `banyan help NAME`; its first line is the synopsis
  std::vector<std::string_view> options_with_value;  ///< see Args
  ExitCode (*run)(Args& args) = nullptr;
  bool takes_config = false;  ///< `CONFIG --section.key=value`: --help also lists sections, --print-config works
};

/// The table, in the order of commands.def.
const std::vector<Command>& commands();
/// UsageError with the nearest name when there is none.
const Command& find_command(std::string_view name);

/// What main() does between its try and its catch: finds the command, answers --help, --version, help,
/// --print-exit-codes, --print-reference, --print-config, and runs it.
ExitCode dispatch(std::span<const std::string> arguments);

}  // namespace banyan::app
