#include "comm/topology/look_inside.hpp"

#include <fmt/format.h>
#include <hwloc.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <utility>

#include "src/base/error.hpp"
#include "src/base/json.hpp"

namespace banyan::comm {
namespace {

CpuSet numbers_of(hwloc_const_bitmap_t set) {
  CpuSet numbers;
  // The full bitmap of a system that tells nothing has no end.
  if (!set || hwloc_bitmap_last(set) < 0) return numbers;
  for (int i = hwloc_bitmap_first(set); i >= 0; i = hwloc_bitmap_next(set, i)) numbers.push_back(i);
  return numbers;
}

std::string info_of(hwloc_obj_t obj, const char* name) {
  const char* value = hwloc_obj_get_info_by_name(obj, name);
  return value ? value : "";
}

std::string bus_of(hwloc_obj_t pci) {
  const auto& a = pci->attr->pcidev;
  return fmt::format("{:04x}:{:02x}:{:02x}.{:x}", static_cast<unsigned>(a.domain), static_cast<unsigned>(a.bus),
                     static_cast<unsigned>(a.dev), static_cast<unsigned>(a.func));
}

/// Classes of PCI devices that compute: 3D controllers, other displays without a screen, accelerators (PCI Code and ID
/// Assignment Specification).  A VGA controller may be that of the board's manager: it counts when a library of GPUs
/// knows it.
bool computes(unsigned pci_class) {
  constexpr std::array<unsigned, 3> kClasses{0x0302, 0x0380, 0x1200};
  return std::find(kClasses.begin(), kClasses.end(), pci_class) != kClasses.end();
}

bool known_to_gpu_library(hwloc_obj_t os) {
  const auto type = os->attr->osdev.type;
  const std::string backend = info_of(os, "Backend");
  return type == HWLOC_OBJ_OSDEV_COPROC ||
         (type == HWLOC_OBJ_OSDEV_GPU && (backend == "NVML" || backend == "RSMI" || backend == "LevelZero"));
}

class Topology {
 public:
  explicit Topology(const Sight& sight) {
    hwloc_topology_t t = nullptr;
    if (hwloc_topology_init(&t) != 0) throw BugError("hwloc does not start");
    topology_.reset(t);
    hwloc_topology_set_io_types_filter(t, HWLOC_TYPE_FILTER_KEEP_IMPORTANT);
    hwloc_topology_set_cache_types_filter(t, HWLOC_TYPE_FILTER_KEEP_NONE);
    // Hosts are alike whatever part of them each job, or each rank, was given.
    hwloc_topology_set_flags(t, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED);
    const bool here = sight.what == Sight::What::kHere;
    int wrong = 0;
    if (sight.what == Sight::What::kSynthetic) wrong = hwloc_topology_set_synthetic(t, sight.text.c_str());
    if (sight.what == Sight::What::kXml)
      wrong = hwloc_topology_set_xmlbuffer(t, sight.text.c_str(), static_cast<int>(sight.text.size() + 1));
    loaded_ = wrong == 0 && hwloc_topology_load(t) == 0;
    if (!loaded_ && !here) throw DataError("hwloc does not understand this description of a host");
  }

  NodeInside read() const {
    NodeInside inside;
    if (!loaded_) return inside;
    inside.packages = std::max(0, hwloc_get_nbobjs_by_type(get(), HWLOC_OBJ_PACKAGE));
    for (hwloc_obj_t n = nullptr; (n = hwloc_get_next_obj_by_type(get(), HWLOC_OBJ_NUMANODE, n));)
      inside.numa.push_back({static_cast<int>(n->os_index), numbers_of(n->cpuset)});
    // A virtual machine may tell of threads alone.
    const auto unit = hwloc_get_nbobjs_by_type(get(), HWLOC_OBJ_CORE) > 0 ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
    for (hwloc_obj_t c = nullptr; (c = hwloc_get_next_obj_by_type(get(), unit, c));)
      inside.cores.push_back(numbers_of(c->cpuset));
    read_distances(inside);
    read_devices(inside);
    return inside;
  }

  CpuSet bound() const {
    if (!loaded_) return {};
    const std::unique_ptr<hwloc_bitmap_s, void (*)(hwloc_bitmap_t)> set(hwloc_bitmap_alloc(), hwloc_bitmap_free);
    if (hwloc_get_cpubind(get(), set.get(), HWLOC_CPUBIND_THREAD) != 0) return {};
    const hwloc_const_bitmap_t all = hwloc_topology_get_topology_cpuset(get());
    return hwloc_bitmap_isincluded(all, set.get()) ? CpuSet{} : numbers_of(set.get());
  }

 private:
  hwloc_topology_t get() const { return topology_.get(); }

  void read_distances(NodeInside& inside) const {
    constexpr int kLocal = 10, kRemote = 20;  // of Linux, include/linux/topology.h
    const std::size_t n = inside.numa.size();
    inside.distance.assign(n, std::vector<int>(n, kRemote));
    for (std::size_t i = 0; i < n; ++i) inside.distance[i][i] = kLocal;
    unsigned count = 1;
    hwloc_distances_s* told = nullptr;
    if (hwloc_distances_get_by_name(get(), "NUMALatency", &count, &told, 0) != 0 || count == 0) return;
    for (unsigned i = 0; i < told->nbobjs; ++i)
      for (unsigned j = 0; j < told->nbobjs; ++j) {
        const unsigned a = told->objs[i]->logical_index, b = told->objs[j]->logical_index;
        const auto value = told->values[i * told->nbobjs + j];
        if (a < n && b < n && value <= 1 << 20) inside.distance[a][b] = static_cast<int>(value);
      }
    hwloc_distances_release(get(), told);
  }

  /// A device and where it is in the tree of buses.
  struct Found {
    Device device;
    hwloc_obj_t at;
    bool wanted;
  };

  void read_devices(NodeInside& inside) const {
    std::vector<Found> found;
    for (hwloc_obj_t p = nullptr; (p = hwloc_get_next_pcidev(get(), p));) {
      Device d;
      if (computes(p->attr->pcidev.class_id)) d.kind = Device::Kind::kGpu;
      d.bus = bus_of(p);
      d.model = info_of(p, "PCIDevice");
      const bool gpu = d.kind == Device::Kind::kGpu;
      found.push_back({std::move(d), p, gpu});
    }
    for (hwloc_obj_t o = nullptr; (o = hwloc_get_next_osdev(get(), o));) add_name(found, o);
    std::erase_if(found, [](const Found& f) { return !f.wanted; });
    for (Found& f : found) {
      if (f.device.name.empty()) f.device.name = f.device.bus;
      place(f, inside);
    }
    for (Found& gpu : found)
      if (gpu.device.kind == Device::Kind::kGpu) gpu.device.nics = next_to(gpu, found);
    for (Found& f : found) inside.devices.push_back(std::move(f.device));
  }

  /// What the system calls a device of the bus, or one that is on none.
  static void add_name(std::vector<Found>& found, hwloc_obj_t os) {
    const auto type = os->attr->osdev.type;
    const bool gpu = known_to_gpu_library(os), rdma = type == HWLOC_OBJ_OSDEV_OPENFABRICS;
    const bool nic = rdma || type == HWLOC_OBJ_OSDEV_NETWORK;
    if ((!gpu && !nic && type != HWLOC_OBJ_OSDEV_GPU) || !os->name) return;
    hwloc_obj_t at = os->parent;
    while (at && at->type == HWLOC_OBJ_OS_DEVICE) at = at->parent;
    auto f = std::find_if(found.begin(), found.end(), [&](const Found& x) { return x.at == at; });
    if (f == found.end()) {
      if (!gpu && !nic) return;
      f = found.insert(found.end(), {Device{}, os, false});
    }
    Device& d = f->device;
    if (type == HWLOC_OBJ_OSDEV_GPU && !gpu && !f->wanted) return;  // a screen
    if (gpu) d.kind = Device::Kind::kGpu;
    f->wanted = true;
    // The name that other programs take: mlx5_0 rather than ib0, nvml0 rather than card0.
    if (d.name.empty()) {
      d.name = os->name;
    } else if (rdma && !d.rdma) {
      d.other.push_back(std::exchange(d.name, os->name));
    } else {
      d.other.emplace_back(os->name);
    }
    d.rdma = d.rdma || rdma;
    if (const std::string model = info_of(os, "GPUModel"); !model.empty()) d.model = model;
  }

  void place(Found& f, const NodeInside& inside) const {
    const hwloc_obj_t above = hwloc_get_non_io_ancestor_obj(get(), f.at);
    Device& d = f.device;
    for (hwloc_obj_t n = nullptr; above && (n = hwloc_get_next_obj_by_type(get(), HWLOC_OBJ_NUMANODE, n));)
      if (hwloc_bitmap_isset(above->nodeset, static_cast<int>(n->os_index)))
        d.nearest.push_back(static_cast<int>(n->logical_index));
    // Below the whole machine are those of which firmware does not say where they are.
    if (inside.numa.size() > 1 && d.nearest.size() == inside.numa.size()) d.nearest.clear();
    if (d.nearest.empty()) return;
    for (std::size_t to = 0; to < inside.numa.size(); ++to) {
      int least = inside.distance[static_cast<std::size_t>(d.nearest[0])][to];
      for (int from : d.nearest) least = std::min(least, inside.distance[static_cast<std::size_t>(from)][to]);
      d.distance.push_back(least);
    }
  }

  /// From the machine down to the device.
  static std::vector<hwloc_obj_t> way_to(hwloc_obj_t obj) {
    std::vector<hwloc_obj_t> way;
    for (; obj; obj = obj->parent) way.push_back(obj);
    std::reverse(way.begin(), way.end());
    return way;
  }

  /// Adapters that part latest from the GPU's way; none when all part at the machine.
  static std::vector<std::string> next_to(const Found& gpu, const std::vector<Found>& found) {
    std::vector<std::string> nearest;
    const auto way = way_to(gpu.at);
    std::ptrdiff_t longest = 1;
    for (const Found& f : found) {
      if (f.device.kind != Device::Kind::kNic) continue;
      const auto other = way_to(f.at);
      const auto common =
          std::distance(way.begin(), std::mismatch(way.begin(), way.end(), other.begin(), other.end()).first);
      if (common > longest) {
        longest = common;
        nearest.clear();
      }
      if (common == longest && longest > 1) nearest.push_back(f.device.name);
    }
    return nearest;
  }

  std::unique_ptr<hwloc_topology, void (*)(hwloc_topology_t)> topology_{nullptr, hwloc_topology_destroy};
  bool loaded_ = false;
};

/// BANYAN_UCX_NET_DEVICES goes before UCX_NET_DEVICES, as it does for UCX itself (comm/ucx).
std::string ucx_devices() {
  for (const char* name : {"BANYAN_UCX_NET_DEVICES", "UCX_NET_DEVICES"})
    if (const char* value = std::getenv(name)) return value;
  return "";
}

}  // namespace

NodeInside look_inside(const Sight& sight) { return Topology(sight).read(); }

CpuSet bound_cpus() { return Topology({}).bound(); }

std::vector<HostInside> look_inside_all(World& world, Communicator& everyone) {
  const Topology here({});
  Json mine{{"cpus", write_cpus(here.bound())}, {"devices", ucx_devices()}};
  if (world.local_rank() == 0) mine["inside"] = to_json(here.read());
  const auto told = all_gather_strings(everyone, dump_line(mine), "what is inside the hosts");
  std::vector<HostInside> hosts;
  std::vector<int> place(static_cast<std::size_t>(world.size()), -1);  // by node
  for (int r = 0; r < world.size(); ++r) {
    const std::string context = fmt::format("what rank {} tells of its host", r);
    const Json json = parse_json(told[static_cast<std::size_t>(r)], context);
    int& at = place[static_cast<std::size_t>(world.node(r))];
    if (at < 0) {
      at = static_cast<int>(hosts.size());
      hosts.push_back({world.host(r), inside_of_json(member(json, "inside", context), context), {}});
    }
    hosts[static_cast<std::size_t>(at)].ranks.push_back(
        {read_cpus(get<std::string>(json, "cpus", context)), get<std::string>(json, "devices", context)});
  }
  return hosts;
}

}  // namespace banyan::comm
