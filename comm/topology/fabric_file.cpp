#include "comm/topology/fabric_file.hpp"

#include <fmt/format.h>

#include <map>
#include <tuple>
#include <unordered_set>

#include "comm/topology/fabric_builder.hpp"
#include "comm/topology/host_list.hpp"
#include "src/base/error.hpp"
#include "src/base/units.hpp"

namespace banyan::comm {
namespace {

constexpr std::string_view kHead = "# banyan fabric: banyan help topo says what the words mean\n";
constexpr std::string_view kInTurn = "in_turn";
constexpr std::int64_t kMostCables = 1 << 20;

class Parser {
 public:
  explicit Parser(const std::string& file) : builder_(file) {}

  void take(std::string_view text, int line) {
    const std::vector<Word> words = words_of(text);
    if (words.empty()) return;
    if (words[0].has_value || words[0].key != "switch")
      builder_.fail(line, fmt::format("a line begins with 'switch NAME', not with '{}'", words[0].key));
    if (words.size() < 2 || words[1].has_value) builder_.fail(line, "switch has no name");
    const std::string name(words[1].key);
    const int s = defined_.insert(name).second ? builder_.define_switch(name, line) : builder_.any_switch(name, line);
    Link way{.upper = s};
    std::string_view hosts, switches;
    std::unordered_set<std::string_view> seen;
    for (std::size_t i = 2; i < words.size(); ++i) {
      const Word& w = words[i];
      if (!seen.insert(w.key).second) builder_.fail(line, fmt::format("{} is given twice", w.key));
      if (w.key == "hosts")
        hosts = w.value;
      else if (w.key == "switches")
        switches = w.value;
      else if (w.key == "cables")
        way.cables = cables(w.value, line);
      else if (w.key == "rate")
        way.rate = rate(w.value, line);
      else if (w.key == "reason")
        way.reason = w.value;
      else if (w.key == "routes" && w.value == kInTurn)
        way.in_turn = true;
      else if (w.key == "routes")
        builder_.fail(line, fmt::format("routes={} is not known; use {}, or leave it out", w.value, kInTurn));
      else
        builder_.fail(line,
                      fmt::format("'{}' is not known; use hosts, switches, cables, rate, reason or routes", w.key));
    }
    for (const std::string& host : builder_.expand(hosts, line)) builder_.link_host(host, way, line);
    for (const std::string& lower : builder_.expand(switches, line)) {
      way.below = Link::Below::kSwitch;
      way.lower = builder_.any_switch(lower, line);
      builder_.link(way);
    }
  }
  Fabric finish() { return builder_.finish(); }

 private:
  int cables(std::string_view text, int line) const {
    const auto n = parse_count(text);
    if (!n || *n < 1 || *n > kMostCables)
      builder_.fail(
          line, fmt::format("cables={} is not a number from 1 to {}; leave out what is not there", text, kMostCables));
    return static_cast<int>(*n);
  }
  double rate(std::string_view text, int line) const {
    const auto bytes = parse_bytes(text);
    if (!bytes || *bytes <= 0)
      builder_.fail(line, fmt::format("rate={} is not a size above 0, such as 12.5GB (a second)", text));
    return static_cast<double>(*bytes);
  }

  FabricBuilder builder_;
  std::unordered_set<std::string> defined_;
};

}  // namespace

Fabric parse_fabric_file(std::string_view text, const std::string& file) {
  Parser parser(file);
  for_each_line(text, file, [&](std::string_view line, int number) { parser.take(line, number); });
  return parser.finish();
}

std::string write_fabric_file(const Fabric& f) {
  // Ways that are alike share a line, in the order of the first of them.
  struct Line {
    int upper, cables;
    double rate;
    std::string reason;
    bool in_turn;
    std::vector<std::string> hosts, switches;
  };
  std::vector<Line> lines;
  std::map<std::tuple<int, int, double, std::string, bool, bool>, std::size_t> index;
  std::vector<char> written(f.switches.size(), 0);
  for (const Link& l : f.links) {
    const bool host = l.below == Link::Below::kHost;
    const auto [at, fresh] =
        index.emplace(std::tuple{l.upper, l.cables, l.rate, l.reason, l.in_turn, host}, lines.size());
    if (fresh) lines.push_back({l.upper, l.cables, l.rate, l.reason, l.in_turn, {}, {}});
    Line& line = lines[at->second];
    if (host)
      line.hosts.push_back(f.hosts[static_cast<std::size_t>(l.lower)]);
    else
      line.switches.push_back(f.switches[static_cast<std::size_t>(l.lower)].name);
    written[static_cast<std::size_t>(l.upper)] = 1;
  }
  std::string text(kHead);
  for (const Line& l : lines) {
    text += "switch " + f.switches[static_cast<std::size_t>(l.upper)].name;
    if (!l.hosts.empty()) text += " hosts=" + fold_host_list(l.hosts);
    if (!l.switches.empty()) text += " switches=" + fold_host_list(l.switches);
    if (l.cables != 1) text += fmt::format(" cables={}", l.cables);
    if (l.rate > 0) text += " rate=" + exact_bytes(static_cast<std::int64_t>(l.rate));
    if (!l.reason.empty()) text += " reason=" + l.reason;
    if (l.in_turn) text += fmt::format(" routes={}", kInTurn);
    text += '\n';
  }
  for (std::size_t s = 0; s < written.size(); ++s)
    if (!written[s]) text += "switch " + f.switches[s].name + '\n';
  return text;
}

}  // namespace banyan::comm
