#include "src/config/keys.hpp"

#include <algorithm>
#include <initializer_list>

#include "src/base/units.hpp"

namespace banyan::config {
namespace {

double number(const Value& v) {
  if (const Int* i = std::get_if<Int>(&v)) return static_cast<double>(*i);
  if (const Real* r = std::get_if<Real>(&v)) return *r;
  return 0;
}

// The checks of schema.def.
Check any() {
  return {[](const Value&) { return true; }, ""};
}
Check at_least(double low) {
  return {[=](const Value& v) { return number(v) >= low; }, "at least " + exact_real(low)};
}
Check above(double low) {
  return {[=](const Value& v) { return number(v) > low; }, "more than " + exact_real(low)};
}
Check between(double low, double high) {
  return {[=](const Value& v) { return number(v) >= low && number(v) <= high; },
          "from " + exact_real(low) + " to " + exact_real(high)};
}
Check below_one() {
  return {[](const Value& v) { return number(v) >= 0 && number(v) < 1; }, "at least 0 and less than 1"};
}
Check not_empty() {
  return {[](const Value& v) { return !std::get<Text>(v).empty(); }, "not empty"};
}
Check one_of(std::initializer_list<const char*> list) {
  const std::vector<std::string> names(list.begin(), list.end());
  std::string phrase;
  for (std::size_t i = 0; i < names.size(); ++i)
    phrase += (i == 0 ? "" : i + 1 == names.size() ? " or " : ", ") + names[i];
  return {[names](const Value& v) { return std::count(names.begin(), names.end(), std::get<Text>(v)) > 0; }, phrase};
}
template <class... Names>
Check one_of(Names... names) {
  return one_of({names...});
}

// Field types share C++ types (Int and Bytes, Real and Time), so the kind comes from the name in the schema.
constexpr Type kIntType = Type::kInt, kRealType = Type::kReal, kBoolType = Type::kBool, kTextType = Type::kText,
               kBytesType = Type::kBytes, kTimeType = Type::kTime;

std::vector<KeyRow> make_keys() {
  std::vector<KeyRow> rows;
#define SECTION(section, sentence)        \
  {                                       \
    using Owner = section##_section;      \
    constexpr auto at = &Config::section; \
    const std::string in = #section;
#define KEY(type, name, default_value, check, sentence)                     \
  rows.push_back({in, #name, k##type##Type, default_value, sentence, check, \
                  [](const Config& c) -> Value { return (c.*at).name; },    \
                  [](Config& c, const Value& v) { (c.*at).name = std::get<decltype(Owner::name)>(v); }});
#define END_SECTION(section) }
#include "src/config/schema.def"
#undef SECTION
#undef KEY
#undef END_SECTION
  return rows;
}

}  // namespace

const std::vector<KeyRow>& key_rows() {
  static const std::vector<KeyRow> rows = make_keys();
  return rows;
}

const std::vector<SectionRow>& section_rows() {
  static const std::vector<SectionRow> rows{
#define SECTION(section, sentence) {#section, sentence},
#define KEY(type, name, default_value, check, sentence)
#define END_SECTION(section)
#include "src/config/schema.def"
#undef SECTION
#undef KEY
#undef END_SECTION
  };
  return rows;
}

const KeyRow* find_key(std::string_view full) {
  for (const KeyRow& row : key_rows()) {
    if (full.size() == row.section.size() + 1 + row.name.size() && full.substr(0, row.section.size()) == row.section &&
        full[row.section.size()] == '.' && full.substr(row.section.size() + 1) == row.name)
      return &row;
  }
  return nullptr;
}

std::string_view type_phrase(Type type) {
  switch (type) {
    case Type::kInt:
      return "a whole number (k, M, G, T are powers of 1000)";
    case Type::kReal:
      return "a number";
    case Type::kBool:
      return "true or false";
    case Type::kText:
      return "text";
    case Type::kBytes:
      return "a size such as 64MiB";
    case Type::kTime:
      return "a time such as 20s or 5min";
  }
  return "";
}

std::string text_of(Type type, const Value& value) {
  switch (type) {
    case Type::kInt:
      return std::to_string(std::get<Int>(value));
    case Type::kReal:
      return exact_real(std::get<Real>(value));
    case Type::kBool:
      return std::get<Bool>(value) ? "true" : "false";
    case Type::kText:
      return std::get<Text>(value);
    case Type::kBytes:
      return exact_bytes(std::get<Bytes>(value));
    case Type::kTime:
      return exact_time(std::get<Time>(value));
  }
  return "";
}

}  // namespace banyan::config
