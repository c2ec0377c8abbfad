// InfiniBand fabrics for tests, as ibnetdiscover prints them.
#pragma once

#include <fmt/format.h>

#include <string>
#include <vector>

#include "comm/topology/infiniband.hpp"

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
  int guid(int node) const { return nodes_[static_cast<std::size_t>(node)].guid; }
  std::string text() const {
    std::string t = "#\n# Topology file\n#\n";
    for (const Node& n : nodes_) {
      const char* kind = n.is_switch ? "switch" : "ca";
      t += fmt::format("\nvendid=0x2c9\ndevid=0xcf08\nsysimgguid={0:#x}\n{1}guid={0:#x}({0:x})\n", n.guid, kind);
      t += fmt::format("{}\t40 \"{}\"\t\t# \"{}\"{}\n", n.is_switch ? "Switch" : "Ca", id(n), n.description,
                       n.is_switch ? " enhanced port 0 lid 3 lmc 0" : "");
      for (std::size_t p = 0; p < n.ports.size(); ++p) {
        const auto& [peer, port, speed] = n.ports[p];
        const Node& o = nodes_[static_cast<std::size_t>(peer)];
        if (n.is_switch)
          t += fmt::format("[{}]\t\"{}\"[{}]{} \t\t# \"{}\" lid 7 {}\n", p + 1, id(o), port,
                           o.is_switch ? "" : fmt::format("({:x})", o.guid + 1), o.description, speed);
        else
          t += fmt::format("[{}]({:x}) \t\"{}\"[{}]\t\t# lid 7 lmc 0 \"{}\" lid 3 {}\n", p + 1, n.guid + 1, id(o), port,
                           o.description, speed);
      }
    }
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
  Node& at(int i) { return nodes_[static_cast<std::size_t>(i)]; }
  static std::string id(const Node& n) { return fmt::format("{}-{:016x}", n.is_switch ? 'S' : 'H', n.guid); }
  std::vector<Node> nodes_;
};

}  // namespace banyan::comm
