// JSON in and out.  Input is treated as hostile: size and depth are checked before anything is built from it, and every
// message says which document, and where in it.  Heavy to compile: include from .cpp files only; headers that need the
// name include <nlohmann/json_fwd.hpp> and say nlohmann::ordered_json.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "src/base/error.hpp"

namespace banyan {

/// Keeps the order of keys, so that what is written reads like it was meant and digests of it are stable.
using Json = nlohmann::ordered_json;

struct JsonLimits {
  std::size_t bytes = std::size_t{64} << 20;
  int depth = 64;
};

/// DataError "CONTEXT: ... at byte N" when the text is too long, nested too deeply, no JSON, not UTF-8, has trailing
/// text, or repeats a key in an object.
Json parse_json(std::string_view text, const std::string& context, const JsonLimits& limits = {});
/// Reads a whole file and parses it.  IoError when it cannot be read.
Json read_json_file(const std::string& path, const JsonLimits& limits = {});
/// One line.  Invalid UTF-8 in strings is replaced, doubles round-trip to the bit, NaN and infinity become null.
std::string dump_line(const Json& json);

/// The member `key` of an object.  DataError when `object` is none or lacks it.
const Json& member(const Json& object, const char* key, const std::string& context);

namespace json_detail {
[[noreturn]] void wrong_type(const Json& value, const char* key, const std::string& context, const char* wanted);
std::int64_t integer(const Json& value, const char* key, const std::string& context, std::int64_t low,
                     std::int64_t high);
}  // namespace json_detail

/// The member `key` as T: std::string, bool, double, an integer type (out of range is an error, never a wrap), Json, or
/// std::vector of these.  DataError naming context and key.
template <class T>
T get(const Json& object, const char* key, const std::string& context);

namespace json_detail {
template <class T>
struct Convert;
template <>
struct Convert<std::string> {
  static std::string from(const Json& v, const char* key, const std::string& context) {
    if (!v.is_string()) wrong_type(v, key, context, "a string");
    return v.get<std::string>();
  }
};
template <>
struct Convert<bool> {
  static bool from(const Json& v, const char* key, const std::string& context) {
    if (!v.is_boolean()) wrong_type(v, key, context, "true or false");
    return v.get<bool>();
  }
};
template <>
struct Convert<double> {
  static double from(const Json& v, const char* key, const std::string& context) {
    if (!v.is_number()) wrong_type(v, key, context, "a number");
    return v.get<double>();
  }
};
template <>
struct Convert<Json> {
  static Json from(const Json& v, const char*, const std::string&) { return v; }
};
template <class T>
requires(std::is_integral_v<T> && !std::is_same_v<T, bool>) struct Convert<T> {
  static T from(const Json& v, const char* key, const std::string& context) {
    if constexpr (std::is_same_v<T, std::uint64_t>) {
      if (!v.is_number_unsigned()) wrong_type(v, key, context, "a whole number that is not negative");
      return v.get<std::uint64_t>();
    } else {
      return static_cast<T>(
          integer(v, key, context, std::numeric_limits<T>::min(), std::int64_t{std::numeric_limits<T>::max()}));
    }
  }
};
template <class T>
struct Convert<std::vector<T>> {
  static std::vector<T> from(const Json& v, const char* key, const std::string& context) {
    if (!v.is_array()) wrong_type(v, key, context, "an array");
    std::vector<T> out;
    out.reserve(v.size());
    for (const Json& e : v) out.push_back(Convert<T>::from(e, key, context));
    return out;
  }
};
}  // namespace json_detail

template <class T>
T get(const Json& object, const char* key, const std::string& context) {
  return json_detail::Convert<T>::from(member(object, key, context), key, context);
}

/// As get, but `otherwise` when the member is absent or null.
template <class T>
T get_or(const Json& object, const char* key, T otherwise, const std::string& context) {
  if (!object.is_object() || !object.contains(key) || object[key].is_null()) return otherwise;
  return get<T>(object, key, context);
}

}  // namespace banyan
