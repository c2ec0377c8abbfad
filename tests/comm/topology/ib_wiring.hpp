// InfiniBand fabrics for tests, as ibnetdiscover prints them.
#pragma once

#include <fmt/format.h>

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "comm/topology/infiniband.hpp"
#include "src/base/error.hpp"

namespace banyan::comm {

/// Writes what ibnetdiscover prints for cables that are named.
class Wiring {
 public:
  int node(bool is_switch, const std::string& description, int guid = 0) {
    nodes_.push_back({is_switch, description, guid ? guid : 0x100 + static_cast<int>(nodes_.size()), {}});
    return static_cast<int>(nodes_.size()) - 1;
  }
  void cable(int a, int b, const std::string& speed = "4xHDR", int cables = 1) {
    for (int i = 0; i < cables; ++i) {
      auto &x = at(a).ports, &y = at(b).ports;
      x.push_back({b, static_cast<int>(y.size()) + 1, speed});
      y.push_back({a, static_cast<int>(x.size()), speed});
    }
  }
  /// Address of an adapter's port.
  static int lid(int node, int port = 1) { return node * kPorts + port; }
  int guid(int node) const { return nodes_[static_cast<std::size_t>(node)].guid; }
  std::string text() const {
    std::string t = "#\n# Topology file\n#\n";
    for (const Node& n : nodes_) {
      const char* kind = n.is_switch ? "switch" : "ca";
      t += fmt::format("\nvendid=0x2c9\ndevid=0xcf08\nsysimgguid={0:#x}\n{1}guid={0:#x}({0:x})\n", n.guid, kind);
      t += fmt::format("{}\t{} \"{}\"\t\t# \"{}\"{}\n", n.is_switch ? "Switch" : "Ca", kPorts, id(n), n.description,
                       n.is_switch ? " enhanced port 0 lid 3 lmc 0" : "");
      for (std::size_t p = 0; p < n.ports.size(); ++p) {
        const auto& [peer, port, speed] = n.ports[p];
        const Node& o = nodes_[static_cast<std::size_t>(peer)];
        if (n.is_switch)
          t += fmt::format("[{}]\t\"{}\"[{}]{} \t\t# \"{}\" lid 7 {}\n", p + 1, id(o), port,
                           o.is_switch ? "" : fmt::format("({:x})", o.guid + 1), o.description, speed);
        else
          t +=
              fmt::format("[{}]({:x}) \t\"{}\"[{}]\t\t# lid {} lmc 0 \"{}\" lid 3 {}\n", p + 1, n.guid + 1, id(o), port,
                          lid(static_cast<int>(&n - nodes_.data()), static_cast<int>(p) + 1), o.description, speed);
      }
    }
    return t;
  }
  /// Routes as dump_fts prints them.  Of the ports of a switch that lead to an adapter in the fewest steps, `choose`
  /// (switch, LID, how many) names one; a number that is none of theirs leaves the entry out.
  template <class Choose>
  std::string routes(Choose&& choose) const {
    std::map<int, std::string> tables;  // by switch
    for (std::size_t to = 0; to < nodes_.size(); ++to)
      for (std::size_t p = 0; !nodes_[to].is_switch && p < nodes_[to].ports.size(); ++p) {
        std::vector<int> steps(nodes_.size(), -1), now{nodes_[to].ports[p].peer};
        if (!at(now[0]).is_switch) continue;
        const int to_lid = lid(static_cast<int>(to), static_cast<int>(p) + 1);
        for (int step = 1; !now.empty(); ++step) {
          std::vector<int> next;
          for (int s : now) {
            if (steps[static_cast<std::size_t>(s)] >= 0) continue;
            steps[static_cast<std::size_t>(s)] = step;
            std::vector<int> ports;
            for (std::size_t q = 0; q < at(s).ports.size(); ++q) {
              const Port& port = at(s).ports[q];
              const bool there = step == 1 && port.peer == static_cast<int>(to) && port.port == static_cast<int>(p) + 1;
              const bool closer = at(port.peer).is_switch && steps[static_cast<std::size_t>(port.peer)] == step - 1;
              if (there || (step > 1 && closer)) ports.push_back(static_cast<int>(q) + 1);
              if (at(port.peer).is_switch) next.push_back(port.peer);
            }
            const std::size_t chosen = static_cast<std::size_t>(choose(s, to_lid, static_cast<int>(ports.size())));
            if (chosen < ports.size())
              tables[s] += fmt::format("0x{:04x} {:03} : (Channel Adapter portguid 0x{:016x}: 'x')\n", to_lid,
                                       ports[chosen], nodes_[to].guid + 1);
          }
          now = std::move(next);
        }
      }
    std::string t;
    for (const auto& [s, table] : tables)
      t += fmt::format(
          "Unicast lids [0x0-0x430] of switch DR path slid 0; dlid 0; 0,1 guid 0x{:016x} ({}):\n  Lid  Out   "
          "Destination\n       Port     Info \n{}7 valid lids dumped \n",
          guid(s), at(s).description, table);
    return t;
  }
  Fabric fabric(const std::string& errors = "") const {
    IbNetwork network = parse_ibnetdiscover(text(), "net");
    if (!errors.empty()) mark_faulty(network, errors, "errors");
    return fold(network);
  }

 private:
  struct Port {
    int peer, port;
    std::string speed;
  };
  struct Node {
    bool is_switch;
    std::string description;
    int guid;
    std::vector<Port> ports;
  };
  static constexpr int kPorts = 40;
  Node& at(int i) { return nodes_[static_cast<std::size_t>(i)]; }
  const Node& at(int i) const { return nodes_[static_cast<std::size_t>(i)]; }
  static std::string id(const Node& n) { return fmt::format("{}-{:016x}", n.is_switch ? 'S' : 'H', n.guid); }
  std::vector<Node> nodes_;
};

/// The way up of a switch.
inline const Link& way_up(const Fabric& f, const std::string& name) {
  const UpLinks up = up_links(f);
  for (std::size_t s = 0; s < f.switches.size(); ++s)
    if (f.switches[s].name == name) return f.links[static_cast<std::size_t>(up.of_switch[s])];
  throw BugError("no {}", name);
}

/// Of the DataError that it throws.
inline std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const DataError& e) {
    return e.what();
  }
  return "no error";
}

}  // namespace banyan::comm
