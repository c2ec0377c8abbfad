#include "src/app/args.hpp"

#include <algorithm>

#include "src/base/error.hpp"
#include "src/base/nearest.hpp"
#include "src/base/units.hpp"

namespace banyan::app {

Args::Args(std::span<const std::string> arguments, std::span<const std::string_view> with_value) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& a = arguments[i];
    if (a == "--") {
      positional_.insert(positional_.end(), arguments.begin() + static_cast<std::ptrdiff_t>(i) + 1, arguments.end());
      return;
    }
    if (a.size() > 1 && a[0] == '-' && a[1] != '-') throw UsageError("{}: options are written --name", a);
    if (a.rfind("--", 0) != 0) {
      positional_.push_back(a);
      continue;
    }
    const std::size_t equals = a.find('=');
    Option option{a.substr(2, equals == std::string::npos ? equals : equals - 2), std::nullopt, false};
    if (equals != std::string::npos) {
      option.value = a.substr(equals + 1);
    } else if (std::find(with_value.begin(), with_value.end(), option.name) != with_value.end() &&
               i + 1 < arguments.size()) {
      option.value = arguments[++i];
    }
    options_.push_back(std::move(option));
  }
}

std::vector<std::string> Args::values(std::string_view name) {
  asked_.emplace_back(name);
  std::vector<std::string> out;
  for (Option& o : options_) {
    if (o.name != name) continue;
    if (!o.value) throw UsageError("--{} needs a value; write --{}=VALUE", name, name);
    o.used = true;
    out.push_back(*o.value);
  }
  return out;
}

std::optional<std::string> Args::value(std::string_view name) {
  const std::vector<std::string> all = values(name);
  return all.empty() ? std::nullopt : std::optional(all.back());
}

bool Args::flag(std::string_view name) {
  asked_.emplace_back(name);
  bool found = false;
  for (Option& o : options_) {
    if (o.name != name) continue;
    if (o.value) throw UsageError("--{} takes no value", name);
    found = o.used = true;
  }
  return found;
}

std::int64_t Args::integer(std::string_view name, std::int64_t otherwise, std::int64_t low, std::int64_t high) {
  const std::optional<std::string> text = value(name);
  if (!text) return otherwise;
  const std::optional<std::int64_t> n = parse_count(*text);
  if (!n || *n < low || *n > high)
    throw UsageError("--{}={} is refused; it must be a whole number from {} to {}", name, *text, low, high);
  return *n;
}

double Args::real(std::string_view name, double otherwise) {
  const std::optional<std::string> text = value(name);
  if (!text) return otherwise;
  const std::optional<double> x = parse_real(*text);
  if (!x) throw UsageError("--{}={} is refused; it must be a number", name, *text);
  return *x;
}

std::vector<std::string> Args::overrides() {
  std::vector<std::string> out;
  for (Option& o : options_) {
    if (o.name.find('.') == std::string::npos) continue;
    o.used = true;
    out.push_back("--" + o.name + (o.value ? "=" + *o.value : ""));
  }
  return out;
}

void Args::finish(std::size_t least_positional, std::size_t most_positional, std::string_view usage) const {
  for (const Option& o : options_) {
    if (o.used) continue;
    const std::string best = nearest(o.name, asked_);
    throw UsageError("there is no option --{}{}\nusage: {}", o.name,
                     best.empty() ? "" : "; did you mean --" + best + "?", usage);
  }
  if (positional_.size() > most_positional)
    throw UsageError("\"{}\" is one argument too many\nusage: {}", positional_[most_positional], usage);
  if (positional_.size() < least_positional) throw UsageError("an argument is missing\nusage: {}", usage);
}

}  // namespace banyan::app
