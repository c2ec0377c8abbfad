#include "comm/topology/slurm_topology.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <map>

#include "comm/topology/fabric_builder.hpp"
#include "comm/topology/slurm_tree.hpp"
#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

std::string lower(std::string_view word) {
  std::string result(word);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

/// The words of one line by key in small letters.
class Entry {
 public:
  Entry(std::string_view line, int number, const SlurmTree& tree) {
    for (const Word& w : words_of(line)) {
      const std::string key = lower(w.key);
      if (key == "include")
        tree.fail(number,
                  "Include is not followed; give the file that it names, or what scontrol show topology prints");
      if (!w.has_value) tree.fail(number, fmt::format("'{}' is not KEY=VALUE", w.key));
      if (!words_.emplace(key, w.value).second) tree.fail(number, fmt::format("{} is given twice", w.key));
    }
  }
  bool empty() const { return words_.empty(); }
  std::string_view get(const std::string& key) const {
    const auto at = words_.find(key);
    return at == words_.end() ? std::string_view{} : at->second;
  }
  const std::string& first() const { return words_.begin()->first; }

 private:
  std::map<std::string, std::string_view> words_;
};

class Parser {
 public:
  explicit Parser(const std::string& file) : tree_(file) {}

  void take(std::string_view text, int line) {
    const Entry entry(text, line, tree_);
    if (entry.empty()) return;
    for (const char* key : {"switchname", "blockname"})
      if (const auto name = entry.get(key); !name.empty())
        return tree_.add(name, entry.get("nodes"), entry.get("switches"), line);
    if (const auto names = entry.get("aggregatedblock"); !names.empty()) return tree_.add(names, "", names, line);
    if (!entry.get("blocksizes").empty()) return;  // how jobs may be cut, not where hosts are
    tree_.fail(line, fmt::format("a line needs SwitchName or BlockName, this one begins with {}", entry.first()));
  }

  Fabric finish() { return tree_.finish(); }

 private:
  SlurmTree tree_;
};

/// Cut at dots outside of brackets.
std::vector<std::string> cut_address(std::string_view address) {
  std::vector<std::string> parts(1);
  int depth = 0;
  for (char c : address) {
    depth += (c == '[') - (c == ']');
    if (c == '.' && depth == 0)
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

}  // namespace

Fabric parse_slurm_topology(std::string_view text, const std::string& file) {
  Parser parser(file);
  for_each_line(text, file, [&](std::string_view line, int number) { parser.take(line, number); });
  return parser.finish();
}

std::vector<std::string> switches_of_address(std::string_view address, std::string_view pattern) {
  // Names of hosts may have dots, those of switches have none outside of brackets.
  const auto switches = static_cast<std::size_t>(std::count(pattern.begin(), pattern.end(), '.'));
  std::vector<std::string> parts = cut_address(address);
  if (pattern.empty() || parts.size() <= switches) return {};
  parts.resize(switches);
  if (std::any_of(parts.begin(), parts.end(), [](const auto& p) { return p.empty(); })) return {};
  return parts;
}

Fabric fabric_of_addresses(const std::vector<SlurmAddress>& addresses) {
  FabricBuilder builder("SLURM_TOPOLOGY_ADDR");
  std::map<std::string, std::vector<std::string>> known;  // above a host
  std::map<std::string, std::string> upper_of;            // above a switch
  for (const SlurmAddress& a : addresses) {
    const auto above = switches_of_address(a.address, a.pattern);
    if (above.empty())
      throw DataError(
          "host {} has no place in the network: SLURM_TOPOLOGY_ADDR is '{}' and SLURM_TOPOLOGY_ADDR_PATTERN '{}'",
          a.host, a.address, a.pattern);
    const auto [at, fresh] = known.emplace(a.host, above);
    if (!fresh) {
      if (at->second != above)
        throw DataError("host {} has two places in the network: {} and {}", a.host, fmt::join(at->second, "."),
                        fmt::join(above, "."));
      continue;
    }
    // A name may come again at another place: what is above makes it what it is.
    std::string path;
    int upper = -1;
    for (const std::string& name : above) {
      path += (path.empty() ? "" : ".") + name;
      const bool first = upper_of.emplace(path, name).second;
      const int s = first ? builder.define_switch(path, 0) : builder.any_switch(path, 0);
      if (first && upper >= 0) builder.link({.below = Link::Below::kSwitch, .lower = s, .upper = upper});
      upper = s;
    }
    builder.link({.lower = builder.host(a.host), .upper = upper});
  }
  return builder.finish();
}

}  // namespace banyan::comm
