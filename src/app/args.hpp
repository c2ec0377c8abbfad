// What follows the name of a command, split into positional arguments and options.  Asking for an option marks it as
// known; finish() refuses those nobody asked for, so no option is silently ignored.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace banyan::app {

class Args {
 public:
  /// `with_value` lists the options (without "--") that may take their value from the next argument; all options take
  /// "--name=value".  "--" ends the options.  A single "-" is positional.
  Args(std::span<const std::string> arguments, std::span<const std::string_view> with_value);

  const std::vector<std::string>& positional() const { return positional_; }
  /// Last value of an option; nullopt when absent.  UsageError when it was given without a value.
  std::optional<std::string> value(std::string_view name);
  /// Every value, in order.
  std::vector<std::string> values(std::string_view name);
  /// True when the option is present; UsageError when it was given a value.
  bool flag(std::string_view name);
  /// Whole number with units, or `otherwise`.  UsageError when malformed or outside [low, high].
  std::int64_t integer(std::string_view name, std::int64_t otherwise, std::int64_t low, std::int64_t high);
  double real(std::string_view name, double otherwise);
  /// The options --section.key=value, as config::load takes them.
  std::vector<std::string> overrides();
  /// UsageError naming the first option that nobody asked for (with the nearest of those that were), or when there are
  /// fewer or more positional arguments than allowed; `usage` completes the message.  Call after the last question.
  void finish(std::size_t least_positional, std::size_t most_positional, std::string_view usage) const;

 private:
  struct Option {
    std::string name;
    std::optional<std::string> value;
    bool used = false;
  };
  std::vector<std::string> positional_;
  std::vector<Option> options_;
  std::vector<std::string> asked_;
};

}  // namespace banyan::app
