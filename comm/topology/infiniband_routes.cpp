#include "comm/topology/infiniband_routes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <unordered_map>
#include <utility>
#include <vector>

#include "comm/topology/fabric_builder.hpp"
#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

std::size_t at(int i) { return static_cast<std::size_t>(i); }

/// A switch sends what is for `lid` by `port`.  Small: a large fabric has hundreds of millions.
struct Entry {
  std::int32_t node;
  std::uint16_t lid;
  std::uint8_t port;
};

constexpr const char* kHead = "Unicast lids";

template <class Int>
bool take_number(std::string_view& text, Int& value, int base) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{}) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

/// The tables of all switches, sorted by LID.
std::vector<Entry> read_tables(const IbNetwork& network, std::string_view text, const std::string& file) {
  std::unordered_map<std::uint64_t, int> by_guid;
  for (std::size_t n = 0; n < network.nodes.size(); ++n)
    if (network.nodes[n].kind == IbNode::Kind::kSwitch) by_guid.emplace(network.nodes[n].guid, static_cast<int>(n));
  std::unordered_map<int, int> described;  // line by switch
  std::vector<Entry> entries;
  int node = -1, last = 0;
  bool multicast = false, any = false;
  const auto take = [&](std::string_view line, int number) {
    const auto fail = [&](const std::string& what) { throw DataError("{}:{}: {}", file, number, what); };
    if (line.starts_with(kHead)) {
      // Unicast lids [0x0-0x430] of switch Lid 2 guid 0x0000000000200000 (leaf00):
      const std::size_t guid_at = line.find(" guid 0x");
      std::uint64_t guid = 0;
      std::string_view rest = guid_at == std::string_view::npos ? "" : line.substr(guid_at + 8);
      if (!take_number(rest, guid, 16)) fail("a table begins with 'Unicast lids ... of switch ... guid 0x...'");
      const auto found = by_guid.find(guid);
      if (found == by_guid.end()) fail(fmt::format("{} has no switch {:#x}", network.source, guid));
      node = found->second;
      const auto [before, fresh] = described.emplace(node, number);
      if (!fresh) fail(fmt::format("the table of switch {:#x} was there before, in line {}", guid, before->second));
      last = 0;
      multicast = false;
      any = true;
      return;
    }
    if (line.starts_with("Multicast")) multicast = true;
    if (multicast || !line.starts_with("0x")) return;  // captions and sums
    int lid = 0, port = 0;
    std::string_view rest = line.substr(2);
    if (node < 0) fail("an entry without a switch above it");
    if (!take_number(rest, lid, 16) || lid < 1 || lid > kLastLid) fail("an entry is written 0x0007 033");
    if (lid <= last) fail(fmt::format("LID {:#x} comes after {:#x}; the LIDs of a table ascend, each once", lid, last));
    last = lid;
    if (rest.find("UNREACHABLE") != std::string_view::npos) return;
    rest.remove_prefix(std::min(rest.find_first_not_of(" \t:"), rest.size()));
    if (!take_number(rest, port, 10) || port < 0 || port > 255) fail("an entry is written 0x0007 033");
    entries.push_back({node, static_cast<std::uint16_t>(lid), static_cast<std::uint8_t>(port)});
  };
  for_each_line(text, file, take, kLargestRoutes);
  if (!any)
    throw DataError("{}: this is neither what dump_fts prints nor opensm-lfts.dump: no line begins with '{}'", file,
                    kHead);
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return std::pair(a.lid, a.node) < std::pair(b.lid, b.node); });
  return entries;
}

class Follower {
 public:
  Follower(IbNetwork& network, const std::string& file)
      : n_(network),
        file_(file),
        own_(n_.nodes.size(), 0),
        flow_(n_.nodes.size(), 0),
        entry_(n_.nodes.size()),
        before_(n_.nodes.size(), 0),
        destination_(kLastLid + 1, -1) {
    for (std::size_t c = 0; c < n_.cables.size(); ++c) {
      IbCable& cable = n_.cables[c];
      cable.routes_ab = cable.routes_ba = 0;
      by_port_[key(cable.a, cable.a_port)] = static_cast<int>(c);
      by_port_[key(cable.b, cable.b_port)] = static_cast<int>(c);
      attach(cable.a, cable.a_lids, cable.b, c);
      attach(cable.b, cable.b_lids, cable.a, c);
    }
    if (lids_ == 0)
      throw DataError("{}: no adapter below a switch has a LID; read the fabric again when its subnet manager is up",
                      n_.source);
  }

  void run(const std::vector<Entry>& entries) {
    for (auto first = entries.begin(); first != entries.end();) {
      const auto last = std::find_if(first, entries.end(), [&](const Entry& e) { return e.lid != first->lid; });
      if (destination_[at(first->lid)] >= 0) follow(&*first, &*first + (last - first));
      first = last;
    }
    n_.routed = true;
    // Adapters send to all LIDs but their own.
    const double all = static_cast<double>(adapters_ - 1) * lids_;
    if (arrived_ < all)
      n_.notes.push_back(
          fmt::format("{:.0f} of {:.0f} routes between adapters do not arrive by {}", all - arrived_, all, file_));
    if (circles_ > 0) n_.notes.push_back(fmt::format("{} has routes to {} LIDs that go in circles", file_, circles_));
  }

 private:
  static std::uint64_t key(int node, int port) {
    return static_cast<std::uint64_t>(node) << 32 | static_cast<std::uint32_t>(port);
  }
  bool is_switch(int node) const { return n_.nodes[at(node)].kind == IbNode::Kind::kSwitch; }

  /// An adapter's port with these LIDs, at a switch.
  void attach(int adapter, const IbLids& lids, int above, std::size_t cable) {
    if (n_.nodes[at(adapter)].kind != IbNode::Kind::kAdapter || !is_switch(above) || lids.count == 0) return;
    ++own_[at(above)];
    ++adapters_;
    for (int lid = lids.first; lid < lids.first + lids.count; ++lid) {
      int& of = destination_[at(lid)];
      if (of >= 0)
        throw DataError(
            "{}: {} and another adapter both have LID {}; read the fabric again when its subnet manager is up",
            n_.source, n_.nodes[at(adapter)].description, lid);
      of = static_cast<int>(cable);
      ++lids_;
    }
  }

  /// All routes to one LID at once: they are a tree that leads to its adapter, so each switch passes on what comes
  /// from those before it and from its own adapters.
  void follow(const Entry* first, const Entry* last) {
    const int to = destination_[at(first->lid)];
    const auto next = [&](const Entry& e) -> std::pair<IbCable*, int> {
      const auto found = by_port_.find(key(e.node, e.port));
      if (found == by_port_.end()) return {nullptr, -1};
      IbCable& c = n_.cables[at(found->second)];
      return {&c, c.a == e.node ? c.b : c.a};
    };
    for (const Entry* e = first; e != last; ++e) {
      entry_[at(e->node)] = e;
      before_[at(e->node)] = 0;
      flow_[at(e->node)] = own_[at(e->node)];
    }
    const IbCable& end = n_.cables[at(to)];
    const int above = is_switch(end.a) ? end.a : end.b;
    flow_[at(above)] -= 1;  // the adapter does not send to itself
    for (const Entry* e = first; e != last; ++e)
      if (const auto [cable, peer] = next(*e); cable && is_switch(peer) && entry_[at(peer)]) ++before_[at(peer)];
    std::vector<int> ready;
    for (const Entry* e = first; e != last; ++e)
      if (before_[at(e->node)] == 0) ready.push_back(e->node);
    std::size_t done = 0;
    for (; !ready.empty(); ++done) {
      const int s = ready.back();
      ready.pop_back();
      const auto [cable, peer] = next(*entry_[at(s)]);
      if (!cable) continue;
      (cable->a == s ? cable->routes_ab : cable->routes_ba) += flow_[at(s)];
      if (cable == &end && s == above) arrived_ += flow_[at(s)];
      if (!is_switch(peer) || !entry_[at(peer)]) continue;
      flow_[at(peer)] += flow_[at(s)];
      if (--before_[at(peer)] == 0) ready.push_back(peer);
    }
    circles_ += done < static_cast<std::size_t>(last - first);
    for (const Entry* e = first; e != last; ++e) entry_[at(e->node)] = nullptr;
  }

  IbNetwork& n_;
  const std::string& file_;
  std::unordered_map<std::uint64_t, int> by_port_;
  std::vector<double> own_, flow_;   // by switch: adapters at it; what passes through it
  std::vector<const Entry*> entry_;  // by switch, for the LID at hand
  std::vector<int> before_;          // by switch: how many others pass on to it and have not yet
  std::vector<int> destination_;     // by LID: the cable of its adapter, -1: none
  int adapters_ = 0, lids_ = 0, circles_ = 0;
  double arrived_ = 0;
};

}  // namespace

void follow_routes(IbNetwork& network, std::string_view text, const std::string& file) {
  const std::vector<Entry> entries = read_tables(network, text, file);
  Follower(network, file).run(entries);
}

}  // namespace banyan::comm
