// Texts made from the schema.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "src/config/load.hpp"

namespace banyan::config {

/// One row of schema.def, as text.
struct KeyInfo {
  std::string section, name, type, default_text, allowed, sentence;
  std::string full() const { return section + "." + name; }
};

const std::vector<KeyInfo>& all_keys();
/// Name and sentence of every section, in order.
const std::vector<std::pair<std::string, std::string>>& all_sections();

/// Keys of one section (or all, when empty) for a terminal.  UsageError with the nearest name for an unknown section.
std::string help(std::string_view section);
/// Every key with its value and where it comes from.
std::string print_config(const LoadResult& loaded);
/// Markdown reference; configs/README.md is exactly this.
std::string reference();

}  // namespace banyan::config
