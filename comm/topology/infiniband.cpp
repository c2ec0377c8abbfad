#include "comm/topology/infiniband.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <unordered_map>
#include <utility>

#include "comm/topology/fabric_builder.hpp"
#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

constexpr int kMostPorts = 1024;

/// Gbit/s of data that one lane carries, coding taken off (InfiniBand Architecture Specification, volume 2).
constexpr std::array<std::pair<std::string_view, double>, 9> kLanes{{{"SDR", 2},
                                                                     {"DDR", 4},
                                                                     {"QDR", 8},
                                                                     {"FDR10", 10},
                                                                     {"FDR", 13.64},
                                                                     {"EDR", 25},
                                                                     {"HDR", 50},
                                                                     {"NDR", 100},
                                                                     {"XDR", 200}}};

/// Counters of ibqueryerrors that mean a bad cable or port, not a busy one.
constexpr std::array<std::string_view, 7> kDamage{
    "SymbolErrorCounter",          "LinkErrorRecoveryCounter", "LinkDownedCounter",           "PortRcvErrors",
    "PortRcvRemotePhysicalErrors", "LocalLinkIntegrityErrors", "ExcessiveBufferOverrunErrors"};

/// Reads one line from the left.
class Cursor {
 public:
  explicit Cursor(std::string_view text) : rest_(text) {}
  bool take(std::string_view word) {
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }
  void blanks() {
    const std::size_t n = rest_.find_first_not_of(" \t");
    rest_.remove_prefix(n == std::string_view::npos ? rest_.size() : n);
  }
  template <class Int>
  bool number(Int& value, int base = 10) {
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value, base);
    if (error != std::errc{}) return false;
    rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    return true;
  }
  /// Up to `end`, which is taken too.
  bool until(char end, std::string_view& value) {
    const std::size_t n = rest_.find(end);
    if (n == std::string_view::npos) return false;
    value = rest_.substr(0, n);
    rest_.remove_prefix(n + 1);
    return true;
  }
  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
};

/// 4xHDR in bytes/s; 0: no such thing.
double rate_of(std::string_view word) {
  Cursor c(word);
  int lanes = 0;
  if (!c.number(lanes) || !c.take("x") || lanes < 1 || lanes > 12) return 0;
  for (const auto& [name, gigabits] : kLanes)
    if (c.rest() == name) return lanes * gigabits * 1e9 / 8;
  return 0;
}

class Reader {
 public:
  explicit Reader(const std::string& file) : file_(file) { network_.source = file; }

  IbNetwork read(std::string_view text) {
    for_each_line(text, file_, [&](std::string_view line, int number) {
      line_ = number;
      take(line);
    });
    join_ends();
    return std::move(network_);
  }

 private:
  struct End {
    int node, port, peer_port, line;
    std::uint64_t peer;
    double rate;
    IbLids lids;
  };

  [[noreturn]] void fail(int line, const std::string& what) const { throw DataError("{}:{}: {}", file_, line, what); }

  void take(std::string_view line) {
    Cursor c(line);
    c.blanks();
    if (c.rest().empty() || c.rest()[0] == '#') return;
    if (c.take("Switch")) return node(c, IbNode::Kind::kSwitch);
    if (c.take("Ca")) return node(c, IbNode::Kind::kAdapter);
    if (c.take("Rt")) return node(c, IbNode::Kind::kOther);
    if (c.take("[")) return port(c);
    for (const char* known :
         {"vendid=", "devid=", "sysimgguid=", "switchguid=", "caguid=", "rtguid=", "Chassis", "DR path"})
      if (c.take(known)) return;
    fail(line_, "this is no line of what ibnetdiscover prints");
  }

  /// `Switch 36 "S-0002c9..." # "name" ...`, behind its first word.
  void node(Cursor& c, IbNode::Kind kind) {
    int ports = 0;
    std::uint64_t guid = 0;
    std::string_view description;
    c.blanks();
    if (!c.number(ports) || ports < 1 || ports > kMostPorts) fail(line_, "how many ports has this node?");
    c.blanks();
    if (!c.take("\"") || c.rest().size() < 2) fail(line_, "a node has a GUID in quotes: \"S-0002c90300...\"");
    c.take(c.rest().substr(0, 2));  // S-, H- or R-
    if (!c.number(guid, 16) || !c.take("\"")) fail(line_, "a node has a GUID in quotes: \"S-0002c90300...\"");
    std::string_view skipped;
    if (c.until('"', skipped)) c.until('"', description);
    if (!by_guid_.emplace(guid, static_cast<int>(network_.nodes.size())).second)
      fail(line_, fmt::format("GUID {:#x} is there twice", guid));
    if (description.find("Aggregation Node") != std::string_view::npos) kind = IbNode::Kind::kOther;
    network_.nodes.push_back({guid, std::string(description), kind});
    ports_ = ports;
  }

  /// `[3] "S-0002c9..."[17] # "name" lid 7 4xHDR` or `[1](2c903000e0b73) "S-..."[1] # ...`, behind its first sign.
  void port(Cursor& c) {
    if (network_.nodes.empty()) fail(line_, "a port without a node above it");
    End end{.node = static_cast<int>(network_.nodes.size()) - 1,
            .port = 0,
            .peer_port = 0,
            .line = line_,
            .peer = 0,
            .rate = 0,
            .lids = {}};
    std::string_view skipped;
    const char* const form = "a port is written [1] \"S-0002c90300...\"[17] # ... 4xHDR";
    if (!c.number(end.port) || !c.take("]")) fail(line_, form);
    if (end.port < 1 || end.port > ports_) fail(line_, fmt::format("port {} of a node that has {}", end.port, ports_));
    if (c.take("(") && !c.until(')', skipped)) fail(line_, form);
    c.blanks();
    if (!c.take("\"") || c.rest().size() < 2) fail(line_, form);
    c.take(c.rest().substr(0, 2));
    if (!c.number(end.peer, 16) || !c.take("\"[") || !c.number(end.peer_port) || !c.take("]")) fail(line_, form);
    end.lids = lids(c.rest());
    std::string_view rest = c.rest();
    while (!rest.empty() && (rest.back() == ' ' || rest.back() == '\t')) rest.remove_suffix(1);
    const std::size_t blank = rest.find_last_of(" \t");
    end.rate = rate_of(blank == std::string_view::npos ? rest : rest.substr(blank + 1));
    if (end.rate == 0) fail(line_, "width and speed are missing at the end of the line: 4xHDR");
    ends_.push_back(end);
  }

  /// `# lid 8 lmc 0 "leaf01" lid 3 4xHDR` of an adapter's port: 2^lmc LIDs of its own.
  IbLids lids(std::string_view text) const {
    constexpr int kMostLmc = 7;
    if (network_.nodes.back().kind != IbNode::Kind::kAdapter) return {};
    const std::size_t begin = text.find("# lid ");
    if (begin == std::string_view::npos) return {};
    Cursor c(text.substr(begin + 6));
    int lid = 0, lmc = 0;
    if (!c.number(lid) || !c.take(" lmc ") || !c.number(lmc)) return {};
    if (lid == 0) return {};  // not given out yet
    if (lid < 0 || lmc < 0 || lmc > kMostLmc || lid + (1 << lmc) - 1 > kLastLid)
      fail(line_, fmt::format("LID {} with {} bits of paths is none that an adapter can have", lid, lmc));
    return {lid, 1 << lmc};
  }

  void join_ends() {
    std::map<std::pair<int, int>, const End*> at;
    for (const End& e : ends_)
      if (!at.emplace(std::pair(e.node, e.port), &e).second)
        fail(e.line, fmt::format("port {} of {} is there twice", e.port, name(e.node)));
    for (const End& e : ends_) {
      const auto peer = by_guid_.find(e.peer);
      if (peer == by_guid_.end())
        fail(e.line,
             fmt::format("the node {:#x} at the other end is described nowhere; is the file complete?", e.peer));
      const auto other = at.find({peer->second, e.peer_port});
      if (other == at.end() || other->second->peer != network_.nodes[static_cast<std::size_t>(e.node)].guid ||
          other->second->peer_port != e.port)
        fail(e.line, fmt::format("port {} of {} does not lead back to port {} of {}; is the file complete?",
                                 e.peer_port, name(peer->second), e.port, name(e.node)));
      if (std::pair(e.node, e.port) < std::pair(peer->second, e.peer_port))
        network_.cables.push_back({.a = e.node,
                                   .a_port = e.port,
                                   .b = peer->second,
                                   .b_port = e.peer_port,
                                   .rate = std::min(e.rate, other->second->rate),
                                   .a_lids = e.lids,
                                   .b_lids = other->second->lids});
    }
    std::sort(network_.cables.begin(), network_.cables.end(),
              [](const IbCable& x, const IbCable& y) { return std::pair(x.a, x.a_port) < std::pair(y.a, y.a_port); });
  }

  std::string name(int node) const { return network_.nodes[static_cast<std::size_t>(node)].description; }

  const std::string& file_;
  IbNetwork network_;
  std::unordered_map<std::uint64_t, int> by_guid_;
  std::vector<End> ends_;
  int line_ = 0, ports_ = 0;
};

}  // namespace

IbNetwork parse_ibnetdiscover(std::string_view text, const std::string& file) { return Reader(file).read(text); }

void mark_faulty(IbNetwork& network, std::string_view text, const std::string& file) {
  std::unordered_map<std::uint64_t, int> by_guid;
  for (std::size_t n = 0; n < network.nodes.size(); ++n) by_guid.emplace(network.nodes[n].guid, static_cast<int>(n));
  std::map<std::pair<int, int>, IbCable*> cable_at;
  for (IbCable& c : network.cables) {
    cable_at[{c.a, c.a_port}] = &c;
    cable_at[{c.b, c.b_port}] = &c;
  }
  bool known = false;
  int nowhere = 0;
  for_each_line(text, file, [&](std::string_view line, int number) {
    Cursor c(line);
    c.blanks();
    known = known || c.rest().starts_with("## Summary:");
    if (!c.take("GUID 0x")) return;
    known = true;
    const auto fail = [&](const std::string& what) { throw DataError("{}:{}: {}", file, number, what); };
    std::uint64_t guid = 0;
    int port = 0;
    if (!c.number(guid, 16) || !c.take(" port ")) fail("a line is written GUID 0x2c90300... port 3: [Counter == 5]");
    if (c.take("ALL:")) return;  // the sum of those below
    if (!c.number(port) || !c.take(":")) fail("a line is written GUID 0x2c90300... port 3: [Counter == 5]");
    bool damage = false;
    std::string_view counter, skipped;
    while (c.until('[', skipped) && c.until(']', counter))
      for (std::string_view d : kDamage) damage = damage || counter.starts_with(d);
    if (!damage) return;
    const auto node = by_guid.find(guid);
    if (node == by_guid.end()) fail(fmt::format("{} has no node {:#x}", network.source, guid));
    const auto cable = cable_at.find({node->second, port});
    if (cable == cable_at.end())
      ++nowhere;
    else
      cable->second->faulty = true;
  });
  if (!known)
    throw DataError(
        "{}: this is not what ibqueryerrors prints: it has neither a line 'GUID 0x... port ...' nor its "
        "'## Summary:'",
        file);
  if (nowhere > 0)
    network.notes.push_back(
        fmt::format("{} ports with errors have no cable and are left out; {} tells of them", nowhere, file));
}

}  // namespace banyan::comm
