// Errors are named by who can act on them.  The function that first knows which error it is writes the message (a full
// sentence that says what to do); callers add context with add_context and rethrow, or let it pass.
// main() turns an Error into its exit code; a std::exception that is no Error counts as a bug (70).
#pragma once

#include <fmt/core.h>

#include <exception>
#include <string>
#include <utility>

#include "src/base/exit_code.hpp"

namespace banyan {

class Error : public std::exception {
 public:
  Error(ExitCode code, std::string message) : code_(code), message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }
  ExitCode code() const { return code_; }
  /// Puts "context: " in front of the message.
  void add_context(const std::string& context) { message_ = context + ": " + message_; }

 private:
  ExitCode code_;
  std::string message_;
};

/// Defines an error class whose constructor takes a fmt format string and its arguments.
#define BANYAN_ERROR_CLASS(Name, Code)                                           \
  class Name : public Error {                                                    \
   public:                                                                       \
    template <class... Args>                                                     \
    explicit Name(fmt::format_string<Args...> format, Args&&... args)            \
        : Error(Code, fmt::format(format, std::forward<Args>(args)...)) {}       \
  }

BANYAN_ERROR_CLASS(UsageError, ExitCode::kUsage);          ///< the person at the command line acts
BANYAN_ERROR_CLASS(ConfigError, ExitCode::kConfig);        ///< the author of the config acts
BANYAN_ERROR_CLASS(DataError, ExitCode::kBadData);         ///< the owner of the input acts
BANYAN_ERROR_CLASS(CommError, ExitCode::kPeerLost);        ///< the launcher acts: start again
BANYAN_ERROR_CLASS(IoError, ExitCode::kIoFailed);          ///< the resume logic acts
BANYAN_ERROR_CLASS(RunHeldError, ExitCode::kRunHeld);      ///< the other job's owner acts
BANYAN_ERROR_CLASS(NumericsError, ExitCode::kNumbersWrong);///< the author of the recipe acts
BANYAN_ERROR_CLASS(BugError, ExitCode::kBug);              ///< we act

#undef BANYAN_ERROR_CLASS

}  // namespace banyan
