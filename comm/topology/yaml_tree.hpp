// A YAML document as plain data with the lines of the file, by yaml-cpp.  Input is treated as hostile: size, depth and
// the number of values are checked while it is read, before anything is built from it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace banyan::comm {

struct Yaml {
  enum class Kind { kText, kList, kMap } kind = Kind::kText;
  int line = 0;
  std::string text = {};          ///< of kText; empty where nothing is said
  std::vector<std::string> keys;  ///< of kMap, one for each value, each once
  std::vector<Yaml> values;       ///< of kMap and kList

  /// The value of a key; null: it is not there, or this is no map.
  const Yaml* find(std::string_view key) const;
};

struct YamlLimits {
  std::size_t bytes = std::size_t{32} << 20;
  int depth = 16;
  std::size_t values = 1 << 20;
};

/// The one document of `text`.  DataError "FILE:LINE: ..." for what is no YAML, is beyond the limits, gives a key twice
/// or has a key that is no word, for aliases (*name), and for a second document.
Yaml parse_yaml(std::string_view text, const std::string& file, const YamlLimits& limits = {});

}  // namespace banyan::comm
