#include "src/config/load.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/program_options.hpp>
#include <cerrno>
#include <cstring>
#include <utility>

#include "src/base/error.hpp"
#include "src/base/nearest.hpp"
#include "src/base/units.hpp"
#include "src/config/keys.hpp"
#include "src/config/rules.hpp"
#include "src/config/scan.hpp"

namespace banyan::config {

// Types of the schema as Boost.ProgramOptions tells them apart; validate() below is found by their namespace.
struct WholeNumber {
  Int value;
};
struct ByteCount {
  Bytes value;
};
struct Duration {
  Time value;
};
struct Number {
  Real value;
};
struct Switch {
  Bool value;
};

namespace po = boost::program_options;

template <class T, class V>
void store_or_refuse(boost::any& out, const std::optional<V>& parsed) {
  if (!parsed) throw po::validation_error(po::validation_error::invalid_option_value);
  out = T{*parsed};
}
using Words = std::vector<std::string>;
void validate(boost::any& out, const Words& w, WholeNumber*, int) {
  store_or_refuse<WholeNumber>(out, parse_count(w.at(0)));
}
void validate(boost::any& out, const Words& w, ByteCount*, int) {
  store_or_refuse<ByteCount>(out, parse_bytes(w.at(0)));
}
void validate(boost::any& out, const Words& w, Duration*, int) { store_or_refuse<Duration>(out, parse_time(w.at(0))); }
void validate(boost::any& out, const Words& w, Number*, int) { store_or_refuse<Number>(out, parse_real(w.at(0))); }
void validate(boost::any& out, const Words& w, Switch*, int) {
  const std::string& s = w.at(0);
  store_or_refuse<Switch>(out, s == "true" || s == "false" ? std::optional<bool>(s == "true") : std::nullopt);
}

namespace {

constexpr std::size_t kLargestFile = 1 << 20;

/// The typed options of the schema.
po::options_description make_options() {
  po::options_description options;
  for (const KeyRow& row : key_rows()) {
    const auto add = [&](const po::value_semantic* s) {
      options.add_options()(row.full().c_str(), s, row.sentence.c_str());
    };
    switch (row.type) {
      case Type::kInt:
        add(po::value<WholeNumber>());
        break;
      case Type::kReal:
        add(po::value<Number>());
        break;
      case Type::kBool:
        add(po::value<Switch>());
        break;
      case Type::kText:
        add(po::value<std::string>());
        break;
      case Type::kBytes:
        add(po::value<ByteCount>());
        break;
      case Type::kTime:
        add(po::value<Duration>());
        break;
    }
  }
  return options;
}

Value value_of(const po::variable_value& v) {
  if (const auto* p = boost::any_cast<WholeNumber>(&v.value())) return p->value;
  if (const auto* p = boost::any_cast<ByteCount>(&v.value())) return p->value;
  if (const auto* p = boost::any_cast<Duration>(&v.value())) return p->value;
  if (const auto* p = boost::any_cast<Number>(&v.value())) return p->value;
  if (const auto* p = boost::any_cast<Switch>(&v.value())) return p->value;
  return v.as<std::string>();
}

/// Types and checks one value.  `where` starts the message ("file.ini:3" or "command line").
void assign(Config& config, const KeyRow& row, const std::string& text, const std::string& where) {
  static const po::options_description options = make_options();
  po::parsed_options parsed(&options);
  parsed.options.emplace_back(row.full(), std::vector<std::string>{text});
  po::variables_map variables;
  try {
    po::store(parsed, variables);
  } catch (const po::error&) {
    throw ConfigError("{}: {} = {} is not understood; it takes {}", where, row.full(), text.empty() ? "\"\"" : text,
                      type_phrase(row.type));
  }
  const Value value = value_of(variables[row.full()]);
  if (!row.check.ok(value))
    throw ConfigError("{}: {} = {} is refused; it must be {}", where, row.full(), text.empty() ? "\"\"" : text,
                      row.check.phrase);
  row.set(config, value);
}

[[noreturn]] void unknown_key(const std::string& full, const std::string& where) {
  std::vector<std::string> names;
  for (const KeyRow& row : key_rows()) names.push_back(row.full());
  std::string best = nearest(full, names);
  const std::string section = full.substr(0, full.find('.'));
  if (best.empty()) {
    // The right name under a wrong section, for example model.steps.
    for (const KeyRow& row : key_rows())
      if ("." + row.name == full.substr(std::min(full.find('.'), full.size()))) best = row.full();
  }
  const std::string hint = best.empty() ? "; `banyan help config` lists every key" : "; did you mean " + best + "?";
  for (const SectionRow& s : section_rows())
    if (s.name == section) throw ConfigError("{}: there is no key {}{}", where, full, hint);
  throw ConfigError("{}: there is no key {} (and no section {}){}", where, full, section, hint);
}

std::string read_file(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw ConfigError("cannot open the config {}: {}", path, std::strerror(errno));
  struct stat status {};
  if (fstat(fd, &status) == 0 && S_ISDIR(status.st_mode)) {
    close(fd);
    throw ConfigError("the config {} is a directory; name a file", path);
  }
  std::string text;
  char buffer[8192];
  ssize_t n = 0;
  while ((n = read(fd, buffer, sizeof buffer)) > 0 || (n < 0 && errno == EINTR)) {
    if (n > 0) text.append(buffer, static_cast<std::size_t>(n));
    if (text.size() > kLargestFile) break;
  }
  const int error = n < 0 ? errno : 0;
  close(fd);
  if (error != 0) throw ConfigError("cannot read the config {}: {}", path, std::strerror(error));
  if (text.size() > kLargestFile) throw ConfigError("the config {} is larger than a megabyte; this is no config", path);
  return text;
}

}  // namespace

std::string Provenance::str() const {
  switch (origin) {
    case Origin::kDefault:
      return "default";
    case Origin::kFile:
      return file + ":" + std::to_string(line);
    case Origin::kCommandLine:
      return "command line";
  }
  return "";
}

Config defaults() {
  Config config;
  for (const KeyRow& row : key_rows()) assign(config, row, row.default_text, "src/config/schema.def");
  return config;
}

LoadResult load_text(std::string_view text, const std::string& name, std::span<const std::string> overrides) {
  LoadResult result{defaults(), {}};
  for (const KeyRow& row : key_rows()) result.origin[row.full()] = {};
  for (const Entry& e : scan(text, name)) {
    const std::string where = name + ":" + std::to_string(e.line);
    const KeyRow* row = find_key(e.full());
    if (!row) unknown_key(e.full(), where);
    assign(result.config, *row, e.value, where);
    result.origin[row->full()] = {Provenance::Origin::kFile, name, e.line};
  }
  for (const std::string& argument : overrides) {
    const std::string option = argument.rfind("--", 0) == 0 ? argument.substr(2) : argument;
    const std::size_t equals = option.find('=');
    const std::string key = option.substr(0, equals);
    const KeyRow* row = find_key(key);
    if (!row) unknown_key(key, "command line");
    if (equals == std::string::npos) throw ConfigError("command line: --{} needs a value; write --{}=VALUE", key, key);
    assign(result.config, *row, option.substr(equals + 1), "command line");
    result.origin[key] = {Provenance::Origin::kCommandLine, "", 0};
  }
  check_rules(result.config);
  return result;
}

LoadResult load(const std::string& path, std::span<const std::string> overrides) {
  return load_text(path.empty() ? std::string() : read_file(path), path, overrides);
}

std::string write(const Config& config) {
  std::string out, section;
  for (const KeyRow& row : key_rows()) {
    if (row.section != section) {
      out += (section.empty() ? "[" : "\n[") + row.section + "]\n";
      section = row.section;
    }
    const std::string value = quoted(text_of(row.type, row.get(config)));
    out += row.name + (value.empty() ? " =" : " = ") + value + "\n";
  }
  return out;
}

std::string value_text(const Config& config, std::string_view key) {
  const KeyRow* row = find_key(key);
  if (!row) throw BugError("the schema has no key {}", key);
  return text_of(row->type, row->get(config));
}

std::vector<std::string> differing_keys(const Config& a, const Config& b) {
  std::vector<std::string> keys;
  for (const KeyRow& row : key_rows())
    if (row.get(a) != row.get(b)) keys.push_back(row.full());
  return keys;
}

}  // namespace banyan::config
