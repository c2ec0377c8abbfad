// JSON of comm/topology/node_inside.hpp.
#include <algorithm>

#include "comm/topology/node_inside.hpp"
#include "src/base/error.hpp"
#include "src/base/json.hpp"

namespace banyan::comm {
namespace {

Json to_json(const Device& d, const NodeInside& inside) {
  Json j{{"kind", d.kind == Device::Kind::kGpu ? "gpu" : "nic"}, {"name", d.name}};
  if (!d.other.empty()) j["other_names"] = d.other;
  if (!d.bus.empty()) j["bus"] = d.bus;
  if (!d.model.empty()) j["model"] = d.model;
  if (d.rdma) j["rdma"] = true;
  j["nearest"] = Json::array();
  for (int place : d.nearest) j["nearest"].push_back(inside.numa[static_cast<std::size_t>(place)].number);
  if (!d.distance.empty()) j["distance"] = d.distance;
  if (!d.nics.empty()) j["nics"] = d.nics;
  return j;
}

Device device_of(const Json& j, const NodeInside& inside, const std::string& context) {
  Device d;
  const auto kind = get<std::string>(j, "kind", context);
  if (kind != "gpu" && kind != "nic") throw DataError("{}: a device is gpu or nic, not {}", context, kind);
  d.kind = kind == "gpu" ? Device::Kind::kGpu : Device::Kind::kNic;
  d.name = get<std::string>(j, "name", context);
  d.other = get_or<std::vector<std::string>>(j, "other_names", {}, context);
  d.bus = get_or<std::string>(j, "bus", "", context);
  d.model = get_or<std::string>(j, "model", "", context);
  d.rdma = get_or<bool>(j, "rdma", false, context);
  for (const int number : get<std::vector<int>>(j, "nearest", context)) {
    const auto at =
        std::find_if(inside.numa.begin(), inside.numa.end(), [&](const NumaNode& n) { return n.number == number; });
    if (at == inside.numa.end())
      throw DataError("{}: {} hangs from NUMA node {}, which is not there", context, d.name, number);
    d.nearest.push_back(static_cast<int>(at - inside.numa.begin()));
  }
  d.distance = get_or<std::vector<int>>(j, "distance", {}, context);
  if (d.distance.size() != (d.nearest.empty() ? 0 : inside.numa.size()))
    throw DataError("{}: {} has {} distances to {} NUMA nodes", context, d.name, d.distance.size(), inside.numa.size());
  d.nics = get_or<std::vector<std::string>>(j, "nics", {}, context);
  return d;
}

}  // namespace

Json to_json(const NodeInside& inside) {
  Json j{{"packages", inside.packages}};
  j["numa"] = Json::array();
  for (std::size_t n = 0; n < inside.numa.size(); ++n)
    j["numa"].push_back({{"number", inside.numa[n].number},
                         {"cpus", write_cpus(inside.numa[n].cpus)},
                         {"distance", inside.distance[n]}});
  j["cores"] = Json::array();
  for (const CpuSet& core : inside.cores) j["cores"].push_back(write_cpus(core));
  j["devices"] = Json::array();
  for (const Device& d : inside.devices) j["devices"].push_back(to_json(d, inside));
  return j;
}

NodeInside inside_of_json(const Json& json, const std::string& context) {
  NodeInside inside;
  inside.packages = get<int>(json, "packages", context);
  for (const Json& n : get<std::vector<Json>>(json, "numa", context)) {
    inside.numa.push_back({get<int>(n, "number", context), read_cpus(get<std::string>(n, "cpus", context))});
    inside.distance.push_back(get<std::vector<int>>(n, "distance", context));
  }
  for (const auto& row : inside.distance)
    if (row.size() != inside.numa.size())
      throw DataError("{}: {} distances from one of {} NUMA nodes", context, row.size(), inside.numa.size());
  for (const auto& core : get<std::vector<std::string>>(json, "cores", context))
    inside.cores.push_back(read_cpus(core));
  for (const Json& d : get<std::vector<Json>>(json, "devices", context))
    inside.devices.push_back(device_of(d, inside, context));
  return inside;
}

Json to_json(const std::vector<HostKind>& kinds) {
  Json all = Json::array();
  for (const HostKind& kind : kinds) {
    Json j{{"hosts", kind.hosts}, {"inside", to_json(kind.inside)}};
    j["ranks"] = Json::array();
    for (const Bound& rank : kind.ranks) {
      Json r{{"cpus", write_cpus(rank.cpus)}};
      if (!rank.devices.empty()) r["ucx_net_devices"] = rank.devices;
      j["ranks"].push_back(std::move(r));
    }
    j["warnings"] = kind.warnings;
    all.push_back(std::move(j));
  }
  return all;
}

}  // namespace banyan::comm
