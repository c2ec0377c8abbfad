// schema.def as a table: what load, write and describe loop over.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "src/config/config.hpp"

namespace banyan::config {

/// A value of any key.
using Value = std::variant<Int, Real, Bool, Text>;

/// What one key accepts: a test and the phrase that completes "must be ..." ("at least 1").
struct Check {
  std::function<bool(const Value&)> ok;
  std::string phrase;
};

enum class Type { kInt, kReal, kBool, kText, kBytes, kTime };

struct KeyRow {
  std::string section, name;
  Type type;
  std::string default_text, sentence;
  Check check;
  Value (*get)(const Config&);
  void (*set)(Config&, const Value&);
  std::string full() const { return section + "." + name; }
};

struct SectionRow {
  std::string name, sentence;
};

const std::vector<KeyRow>& key_rows();
const std::vector<SectionRow>& section_rows();
/// nullptr for an unknown key.
const KeyRow* find_key(std::string_view full);

/// "a whole number, with k, M, G or T where you like": what a type is, for messages and for the reference.
std::string_view type_phrase(Type type);
/// Text that reads back to the same value.
std::string text_of(Type type, const Value& value);

}  // namespace banyan::config
