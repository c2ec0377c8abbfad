// What the hosts of a job have inside, packages, NUMA nodes, cores, GPUs and network adapters, how far these are from
// each other, and to which CPUs ranks are bound.  Pure data and pure functions; comm/topology/look_inside.hpp looks.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace banyan::comm {

/// CPUs (hardware threads) by the numbers that the system gives them, ascending.
using CpuSet = std::vector<int>;

/// "0-3,8", as taskset and Slurm write it, and back.  DataError for what is no such list.
std::string write_cpus(const CpuSet& cpus);
CpuSet read_cpus(std::string_view text);

struct NumaNode {
  int number = 0;  ///< as the system has it
  CpuSet cpus;
  bool operator==(const NumaNode&) const = default;
};

struct Device {
  enum class Kind { kGpu, kNic } kind = Kind::kNic;
  std::string name;                ///< "mlx5_0", "eth0", "nvml0"; the address on the bus where it has no name
  std::vector<std::string> other;  ///< names besides: "ib0"
  std::string bus;                 ///< "0000:1b:00.0"; empty: on none
  std::string model;               ///< what its maker calls it; empty: nobody tells
  bool rdma = false;               ///< an adapter that writes to remote memory by itself (InfiniBand, RoCE)
  std::vector<int> nearest;        ///< places in NodeInside::numa that it hangs from; empty: nobody tells
  std::vector<int> distance;       ///< to each NUMA node, in the units of NodeInside::distance; empty: nobody tells
  std::vector<std::string> nics;   ///< of a GPU: the adapters with which it shares most of its way to the processor
  bool operator==(const Device&) const = default;
};

struct NodeInside {
  int packages = 0;
  std::vector<NumaNode> numa;
  std::vector<CpuSet> cores;
  /// From NUMA node to NUMA node as firmware tells (ACPI's SLIT: 10 is oneself, 20 takes twice as long); where it tells
  /// nothing, 10 and 20, as Linux takes it then.
  std::vector<std::vector<int>> distance;
  std::vector<Device> devices;
  CpuSet cpus() const;  ///< all of them
  bool operator==(const NodeInside&) const = default;
};

/// A rank as far as its host is concerned.
struct Bound {
  CpuSet cpus;          ///< empty: may run everywhere, or nobody tells
  std::string devices;  ///< adapters that UCX was told to use (UCX_NET_DEVICES); empty: it chooses
  bool operator==(const Bound&) const = default;
};

struct HostInside {
  std::string host;
  NodeInside inside;
  std::vector<Bound> ranks;  ///< of this host, in order
};

/// Hosts that are alike in all this.
struct HostKind {
  std::vector<std::string> hosts;
  NodeInside inside;
  std::vector<Bound> ranks;
  std::vector<std::string> warnings;  ///< warnings_of
};

/// The kinds in the order of their first hosts.  `networked`: messages leave the hosts.
std::vector<HostKind> kinds_of(const std::vector<HostInside>& hosts, bool networked);

/// What is wrong with how ranks are bound, a sentence each: a rank on cores of several NUMA nodes; more ranks on the
/// same cores than there are; ranks on other NUMA nodes than the adapter they would use, which is the one named to UCX
/// or else the nearest, one with RDMA before one without.  Only where bindings and places are known.
std::vector<std::string> warnings_of(const NodeInside& inside, const std::vector<Bound>& ranks, bool networked);

/// Lines for a terminal, a block for each kind.
std::string draw(const std::vector<HostKind>& kinds);

nlohmann::ordered_json to_json(const NodeInside& inside);
nlohmann::ordered_json to_json(const std::vector<HostKind>& kinds);
/// The reverse of the first.  DataError naming `context`.
NodeInside inside_of_json(const nlohmann::ordered_json& json, const std::string& context);

}  // namespace banyan::comm
