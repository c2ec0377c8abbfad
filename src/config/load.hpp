// From text to Config.  Command line overrides file overrides default; whatever is wrong is a ConfigError that names
// the file and line (or the command line), the key, the value and what would be right.  Nothing is clipped or ignored.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/config/config.hpp"

namespace banyan::config {

/// Where an effective value comes from.
struct Provenance {
  enum class Origin { kDefault, kFile, kCommandLine } origin = Origin::kDefault;
  std::string file;  ///< when from a file
  int line = 0;
  /// "default", "configs/quickstart.ini:12" or "command line".
  std::string str() const;
};

struct LoadResult {
  Config config;
  std::map<std::string, Provenance> origin;  ///< by "section.key", every key of the schema
};

/// Reads an INI file and applies overrides of the form "--section.key=value" (or "section.key=value").  Checks every
/// key alone and all rules of rules.hpp.  An empty path means defaults and overrides only.
LoadResult load(const std::string& path, std::span<const std::string> overrides = {});
/// The same from text; `name` stands for the file in messages.
LoadResult load_text(std::string_view text, const std::string& name, std::span<const std::string> overrides = {});
/// Only defaults.
Config defaults();

/// INI text of every effective value; load_text(write(c)).config == c.
std::string write(const Config& config);
/// Value of one key as write() writes it.  BugError for an unknown key.
std::string value_text(const Config& config, std::string_view key);
/// Keys whose values differ, in the order of the schema.
std::vector<std::string> differing_keys(const Config& a, const Config& b);

}  // namespace banyan::config
