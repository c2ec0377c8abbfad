#include "comm/topology/slurm_topology.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <map>

#include "comm/topology/fabric_builder.hpp"
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
  Entry(std::string_view line, int number, const FabricBuilder& builder) {
    for (const Word& w : words_of(line)) {
      const std::string key = lower(w.key);
      if (key == "include")
        builder.fail(number,
                     "Include is not followed; give the file that it names, or what scontrol show topology prints");
      if (!w.has_value) builder.fail(number, fmt::format("'{}' is not KEY=VALUE", w.key));
      if (!words_.emplace(key, w.value).second) builder.fail(number, fmt::format("{} is given twice", w.key));
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
  explicit Parser(const std::string& file) : builder_(file) {}

  void take(std::string_view text, int line) {
    const Entry entry(text, line, builder_);
    if (entry.empty()) return;
    if (const auto name = entry.get("switchname"); !name.empty()) return take_switch(entry, name, line);
    if (const auto name = entry.get("blockname"); !name.empty()) return take_switch(entry, name, line);
    if (const auto names = entry.get("aggregatedblock"); !names.empty()) {
      const int s = builder_.define_switch(names, line);
      uppers_.push_back({s, line, builder_.expand(names, line), {}});
      return;
    }
    if (!entry.get("blocksizes").empty()) return;  // how jobs may be cut, not where hosts are
    builder_.fail(line, fmt::format("a line needs SwitchName or BlockName, this one begins with {}", entry.first()));
  }

  Fabric finish() {
    // An upper switch of scontrol lists all hosts below it: only those that hang from no other one are its own.
    for (const Upper& u : uppers_)
      for (const std::string& name : u.switches)
        builder_.link({.below = Link::Below::kSwitch, .lower = builder_.any_switch(name, u.line), .upper = u.number});
    for (const Upper& u : uppers_)
      for (const std::string& name : u.hosts)
        if (const int h = builder_.host(name); !builder_.has_above(h)) builder_.link({.lower = h, .upper = u.number});
    return builder_.finish();
  }

 private:
  struct Upper {
    int number, line;
    std::vector<std::string> switches, hosts;
  };
  void take_switch(const Entry& entry, std::string_view name, int line) {
    const int s = builder_.define_switch(name, line);
    auto hosts = builder_.expand(entry.get("nodes"), line);
    auto switches = builder_.expand(entry.get("switches"), line);
    if (hosts.empty() && switches.empty()) builder_.fail(line, fmt::format("{} has neither Nodes nor Switches", name));
    if (!switches.empty()) {
      uppers_.push_back({s, line, std::move(switches), std::move(hosts)});
      return;
    }
    for (const std::string& host : hosts) builder_.link_host(host, {.upper = s}, line);
  }

  FabricBuilder builder_;
  std::vector<Upper> uppers_;
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
