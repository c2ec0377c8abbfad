// The INI scanner: text to (section.key, value, line).  It knows the grammar and no key:
//   file    = { line }
//   line    = blank | "#" anything | "[" name "]" [comment] | name "=" value [comment]
//   comment = a "#" at the start or after white space, to the end of the line
//   value   = text without surrounding white space | '"' text with \" \\ \n \r \t '"'
//   name    = letters, digits and "_"
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace banyan::config {

struct Entry {
  std::string section, key, value;
  int line = 0;
  std::string full() const { return section + "." + key; }
};

/// ConfigError "NAME:LINE: ..." for whatever is no line of the grammar.
std::vector<Entry> scan(std::string_view text, const std::string& name);
/// `value` as scan() reads it back; in quotes only where it must.
std::string quoted(const std::string& value);

}  // namespace banyan::config
