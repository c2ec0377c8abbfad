#include "src/base/json.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <set>

namespace banyan {
namespace {

std::string shown(const char* text) { return text ? std::string(text) : std::string(); }

/// Builds the value; looks at depth and repeated keys before anything is added.  (The library's own builder searches an
/// ordered object for each key that it adds, which takes minutes for the vocabulary of a tokenizer.)
class Builder : public nlohmann::json_sax<Json> {
 public:
  Builder(const std::string& context, const JsonLimits& limits) : context_(context), limits_(limits) {}
  Json take() { return std::move(root_); }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override {
    deeper();
    keys_.emplace_back();
    return open(Json::object());
  }
  bool end_object() override {
    keys_.pop_back();
    return close();
  }
  bool start_array(std::size_t) override {
    deeper();
    return open(Json::array());
  }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    if (!keys_.back().insert(name).second)
      throw DataError("{}: the key \"{}\" occurs twice in one JSON object", context_, name);
    key_ = std::move(name);
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception& e) override {
    const char* reason = std::strstr(e.what(), ": ");
    throw DataError("{}: no valid JSON at byte {}{}", context_, position, shown(reason));
  }

 private:
  using Members = std::vector<std::pair<const std::string, Json>>;  // what an ordered object is

  void deeper() {
    if (static_cast<int>(open_.size()) >= limits_.depth)
      throw DataError("{}: JSON is nested more than {} levels deep", context_, limits_.depth);
  }
  Json& put(Json value) {
    if (open_.empty()) return root_ = std::move(value);
    Json& to = *open_.back();
    if (to.is_array()) return to.get_ref<Json::array_t&>().emplace_back(std::move(value));
    return static_cast<Members&>(to.get_ref<Json::object_t&>()).emplace_back(std::move(key_), std::move(value)).second;
  }
  bool add(Json value) {
    put(std::move(value));
    return true;
  }
  bool open(Json value) {
    open_.push_back(&put(std::move(value)));  // stays where it is: nothing is added beside it while it is open
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  const std::string& context_;
  const JsonLimits& limits_;
  Json root_;
  std::vector<Json*> open_;
  std::string key_;
  std::vector<std::set<std::string>> keys_;
};

}  // namespace

Json parse_json(std::string_view text, const std::string& context, const JsonLimits& limits) {
  if (text.size() > limits.bytes)
    throw DataError("{}: {} bytes of JSON are more than the {} allowed here", context, text.size(), limits.bytes);
  // The parser takes a NUL byte for the end and would ignore what follows.
  if (const std::size_t nul = text.find('\0'); nul != std::string_view::npos)
    throw DataError("{}: no valid JSON at byte {}: a NUL byte", context, nul);
  Builder builder(context, limits);
  Json::sax_parse(text.begin(), text.end(), &builder);
  return builder.take();
}

Json read_json_file(const std::string& path, const JsonLimits& limits) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw IoError("cannot open {}: {}", path, std::strerror(errno));
  std::string text;
  char buffer[1 << 16];
  for (;;) {
    const ssize_t n = read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int error = errno;
      close(fd);
      throw IoError("cannot read {}: {}", path, std::strerror(error));
    }
    if (n == 0 || text.size() > limits.bytes) break;
    text.append(buffer, static_cast<std::size_t>(n));
  }
  close(fd);
  return parse_json(text, path, limits);
}

std::string dump_line(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

const Json& member(const Json& object, const char* key, const std::string& context) {
  if (!object.is_object()) throw DataError("{}: expected a JSON object with \"{}\" here", context, key);
  const auto it = object.find(key);
  if (it == object.end()) throw DataError("{}: \"{}\" is missing", context, key);
  return *it;
}

namespace json_detail {

void wrong_type(const Json& value, const char* key, const std::string& context, const char* wanted) {
  throw DataError("{}: \"{}\" must be {}, found {}", context, key, wanted, value.type_name());
}

std::int64_t integer(const Json& value, const char* key, const std::string& context, std::int64_t low,
                     std::int64_t high) {
  if (!value.is_number_integer()) wrong_type(value, key, context, "a whole number");
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > static_cast<std::uint64_t>(high))
    throw DataError("{}: \"{}\" is {}, more than the {} possible here", context, key, value.get<std::uint64_t>(), high);
  const auto number = value.get<std::int64_t>();
  if (number < low || number > high)
    throw DataError("{}: \"{}\" is {}, outside {} to {}", context, key, number, low, high);
  return number;
}

}  // namespace json_detail
}  // namespace banyan
