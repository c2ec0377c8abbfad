#include "comm/topology/yaml_tree.hpp"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <sstream>

#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

class Builder final : public YAML::EventHandler {
 public:
  Builder(const std::string& file, const YamlLimits& limits) : file_(file), limits_(limits) {}

  [[noreturn]] void fail(int line, const std::string& what) const { throw DataError("{}:{}: {}", file_, line, what); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) fail(line(mark), "a second document; one file holds one");
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { text(mark, ""); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    fail(line(mark), "an alias (*name) is not followed; write out what it stands for");
  }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t, const std::string& value) override {
    text(mark, value);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {
    open(mark, Yaml::Kind::kList);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {
    open(mark, Yaml::Kind::kMap);
  }
  void OnMapEnd() override { close(); }

  Yaml finish() { return std::move(root_); }
  static int line(const YAML::Mark& mark) { return mark.line + 1; }

 private:
  /// A map or a list that is being read, and the key that waits for its value.
  struct Open {
    Yaml value;
    bool has_key = false;
  };

  void count(const YAML::Mark& mark) {
    if (++values_ > limits_.values) fail(line(mark), fmt::format("more than {} values", limits_.values));
  }

  void text(const YAML::Mark& mark, const std::string& value) {
    count(mark);
    if (!open_.empty() && open_.back().value.kind == Yaml::Kind::kMap && !open_.back().has_key) {
      Open& map = open_.back();
      const auto& keys = map.value.keys;
      if (std::find(keys.begin(), keys.end(), value) != keys.end()) fail(line(mark), value + " is given twice");
      // Our maps have few keys; searching a long one for every new key would take for ever.
      if (keys.size() >= kMostKeys) fail(line(mark), fmt::format("more than {} keys in one place", kMostKeys));
      map.value.keys.push_back(value);
      map.has_key = true;
      return;
    }
    put({.kind = Yaml::Kind::kText, .line = line(mark), .text = value, .keys = {}, .values = {}});
  }

  void open(const YAML::Mark& mark, Yaml::Kind kind) {
    count(mark);
    if (!open_.empty() && open_.back().value.kind == Yaml::Kind::kMap && !open_.back().has_key)
      fail(line(mark), "a key is a word, not a list or a map");
    if (static_cast<int>(open_.size()) >= limits_.depth)
      fail(line(mark), fmt::format("nested more than {} deep", limits_.depth));
    open_.push_back({{.kind = kind, .line = line(mark), .text = {}, .keys = {}, .values = {}}});
  }

  void close() {
    Yaml value = std::move(open_.back().value);
    open_.pop_back();
    put(std::move(value));
  }

  void put(Yaml value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return;
    }
    open_.back().value.values.push_back(std::move(value));
    open_.back().has_key = false;
  }

  static constexpr std::size_t kMostKeys = 64;
  const std::string& file_;
  const YamlLimits& limits_;
  std::vector<Open> open_;
  Yaml root_;
  std::size_t values_ = 0;
  int documents_ = 0;
};

}  // namespace

const Yaml* Yaml::find(std::string_view key) const {
  if (kind != Kind::kMap) return nullptr;
  const auto at = std::find(keys.begin(), keys.end(), key);
  return at == keys.end() ? nullptr : &values[static_cast<std::size_t>(at - keys.begin())];
}

Yaml parse_yaml(std::string_view text, const std::string& file, const YamlLimits& limits) {
  if (text.size() > limits.bytes)
    throw DataError("{}: {} bytes are more than the {} that are read as YAML", file, text.size(), limits.bytes);
  Builder builder(file, limits);
  std::istringstream in{std::string(text)};
  try {
    YAML::Parser parser(in);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& e) {
    throw DataError("{}:{}: this is no YAML: {}", file, Builder::line(e.mark), e.msg);
  }
  return builder.finish();
}

}  // namespace banyan::comm
