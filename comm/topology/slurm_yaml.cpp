#include "comm/topology/slurm_yaml.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <initializer_list>
#include <vector>

#include "comm/topology/slurm_tree.hpp"
#include "comm/topology/yaml_tree.hpp"

namespace banyan::comm {
namespace {

class Reader {
 public:
  explicit Reader(const std::string& file) : tree_(file) {}

  Fabric read(const Yaml& all, std::string_view name) {
    if (all.kind != Yaml::Kind::kList || all.values.empty())
      fail(all, "this is no list of topologies, each beginning with '- topology: NAME'");
    const Yaml& t = choose(all, name);
    only(t, {"topology", "cluster_default", "tree", "block", "flat"});
    const Yaml *tree = t.find("tree"), *block = t.find("block"), *flat = t.find("flat");
    if ((tree != nullptr) + (block != nullptr) + (flat != nullptr) != 1)
      fail(t, fmt::format("topology {} has to be one of tree, block and flat", word(t, "topology")));
    if (flat)
      fail(*flat,
           fmt::format("topology {} is flat: it does not say which hosts hang from which switch", word(t, "topology")));
    if (tree) {
      only(*tree, {"switches"});
      for (const Yaml& s : list(*tree, "switches")) {
        only(s, {"switch", "children", "nodes"});
        tree_.add(word(s, "switch"), word_or_nothing(s, "nodes"), word_or_nothing(s, "children"), s.line);
      }
    } else {
      only(*block, {"block_sizes", "blocks"});  // the sizes are how jobs may be cut, not where hosts are
      for (const Yaml& b : list(*block, "blocks")) {
        only(b, {"block", "nodes"});
        tree_.add(word(b, "block"), word(b, "nodes"), "", b.line);
      }
    }
    return tree_.finish();
  }

 private:
  [[noreturn]] void fail(const Yaml& at, const std::string& what) const { tree_.fail(std::max(1, at.line), what); }

  void only(const Yaml& map, std::initializer_list<std::string_view> keys) const {
    if (map.kind != Yaml::Kind::kMap)
      fail(map, fmt::format("here {} are given, each with a value", fmt::join(keys, ", ")));
    for (std::size_t i = 0; i < map.keys.size(); ++i)
      if (std::find(keys.begin(), keys.end(), map.keys[i]) == keys.end())
        fail(map.values[i], fmt::format("'{}' is not known here; known are {}", map.keys[i], fmt::join(keys, ", ")));
  }
  const std::vector<Yaml>& list(const Yaml& map, std::string_view key) const {
    const Yaml* value = map.find(key);
    if (!value || value->kind != Yaml::Kind::kList) fail(value ? *value : map, fmt::format("{} is a list", key));
    return value->values;
  }
  std::string_view word_or_nothing(const Yaml& map, std::string_view key) const {
    const Yaml* value = map.find(key);
    if (!value) return {};
    if (value->kind != Yaml::Kind::kText) fail(*value, fmt::format("{} is one word", key));
    // YAML may quote anything; names of hosts and switches are words of other files, too.
    for (const char c : value->text)
      if (static_cast<unsigned char>(c) <= ' ' || c == '#' || c == '\\')
        fail(*value, fmt::format("{} has a blank, a control character, # or \\ in it", key));
    return value->text;
  }
  std::string_view word(const Yaml& map, std::string_view key) const {
    const std::string_view text = word_or_nothing(map, key);
    if (text.empty()) fail(map, fmt::format("{} is missing", key));
    return text;
  }
  /// As YAML 1.1, which Slurm reads, has it.
  bool yes(const Yaml& map, std::string_view key) const {
    std::string text(word_or_nothing(map, key));
    std::transform(text.begin(), text.end(), text.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    for (const char* t : {"true", "yes", "on"})
      if (text == t) return true;
    for (const char* f : {"false", "no", "off", ""})
      if (text == f) return false;
    fail(map, fmt::format("{} is true or false, not '{}'", key, text));
  }

  const Yaml& choose(const Yaml& all, std::string_view name) const {
    std::vector<std::string_view> names;
    const Yaml *named = nullptr, *standard = nullptr;
    for (const Yaml& t : all.values) {
      if (t.kind != Yaml::Kind::kMap) fail(t, "a topology begins with '- topology: NAME'");
      const std::string_view its = word(t, "topology");
      if (std::find(names.begin(), names.end(), its) != names.end())
        fail(t, fmt::format("topology {} is described twice", its));
      // Partitions are few; a file with more topologies than that was made to keep us busy.
      if (names.size() >= kMostTopologies) fail(t, fmt::format("more than {} topologies", kMostTopologies));
      names.push_back(its);
      if (its == name) named = &t;
      if (!standard && yes(t, "cluster_default")) standard = &t;
    }
    if (!name.empty() && !named)
      fail(all, fmt::format("there is no topology {}; there are {}", name, fmt::join(names, ", ")));
    if (named) return *named;
    if (names.size() == 1) return all.values[0];
    if (!standard)
      fail(all, fmt::format("none of the topologies says 'cluster_default: true'; name one with --format yaml:NAME: {}",
                            fmt::join(names, ", ")));
    return *standard;
  }

  static constexpr std::size_t kMostTopologies = 1000;
  SlurmTree tree_;
};

}  // namespace

Fabric parse_topology_yaml(std::string_view text, const std::string& file, std::string_view name) {
  return Reader(file).read(parse_yaml(text, file), name);
}

}  // namespace banyan::comm
