#include "comm/topology/node_inside.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <set>

#include "comm/topology/host_list.hpp"
#include "src/base/error.hpp"
#include "src/base/json.hpp"

namespace banyan::comm {
namespace {

/// No host has more.
constexpr int kMostCpus = 1 << 16;

std::size_t at(int i) { return static_cast<std::size_t>(i); }

CpuSet common(const CpuSet& a, const CpuSet& b) {
  CpuSet both;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(both));
  return both;
}

/// Places of the NUMA nodes that have some of the CPUs.
std::vector<int> places_of(const NodeInside& inside, const CpuSet& cpus) {
  std::vector<int> places;
  for (std::size_t n = 0; n < inside.numa.size(); ++n)
    if (!common(inside.numa[n].cpus, cpus).empty()) places.push_back(static_cast<int>(n));
  return places;
}

std::string numa_list(const NodeInside& inside, const std::vector<int>& places) {
  CpuSet numbers;
  for (int p : places) numbers.push_back(inside.numa[at(p)].number);
  std::sort(numbers.begin(), numbers.end());
  return (numbers.size() == 1 ? "NUMA node " : "NUMA nodes ") + write_cpus(numbers);
}

std::string ranks_text(const std::vector<int>& ranks) {
  return (ranks.size() == 1 ? "local rank " : "local ranks ") + write_cpus(ranks);
}

const char* are(const std::vector<int>& ranks) { return ranks.size() == 1 ? "is" : "are"; }

bool called(const Device& d, std::string_view name) {
  return d.name == name || std::find(d.other.begin(), d.other.end(), name) != d.other.end();
}

/// Whether UCX_NET_DEVICES ("mlx5_0:1,mlx5_1:1") names the device.
bool named(const Device& d, std::string_view devices) {
  while (!devices.empty()) {
    const std::string_view word = devices.substr(0, devices.find(','));
    devices.remove_prefix(std::min(word.size() + 1, devices.size()));
    if (called(d, word.substr(0, word.find(':')))) return true;
  }
  return false;
}

int distance_to(const Device& d, const std::vector<int>& places) {
  int least = d.distance[at(places[0])];
  for (int p : places) least = std::min(least, d.distance[at(p)]);
  return least;
}

/// The adapter that a rank on CPUs of these NUMA nodes would use; null: nobody can tell.
const Device* adapter_of(const NodeInside& inside, const std::string& devices, const std::vector<int>& places) {
  const bool chosen = std::any_of(inside.devices.begin(), inside.devices.end(),
                                  [&](const Device& d) { return d.kind == Device::Kind::kNic && named(d, devices); });
  const Device* best = nullptr;
  for (const Device& d : inside.devices) {
    if (d.kind != Device::Kind::kNic || (chosen && !named(d, devices))) continue;
    // One of which nobody tells where it is may be the nearest.
    if (d.nearest.empty() && (chosen || d.rdma)) return nullptr;
    if (d.nearest.empty()) continue;
    if (!best || d.rdma > best->rdma || (d.rdma == best->rdma && distance_to(d, places) < distance_to(*best, places)))
      best = &d;
  }
  return best;
}

void warn_of_numa(const NodeInside& inside, const std::vector<Bound>& ranks, std::vector<std::string>& warnings) {
  std::map<std::vector<int>, std::vector<int>> across;
  for (std::size_t r = 0; r < ranks.size(); ++r)
    if (const auto places = places_of(inside, ranks[r].cpus); places.size() > 1)
      across[places].push_back(static_cast<int>(r));
  for (const auto& [places, who] : across)
    warnings.push_back(
        fmt::format("{} {} bound to cores of {}, so that some of the memory is always far away; bind inside one "
                    "(mpirun --bind-to numa, srun --cpu-bind=ldoms)",
                    ranks_text(who), are(who), numa_list(inside, places)));
}

void warn_of_shared_cores(const NodeInside& inside, const std::vector<Bound>& ranks,
                          std::vector<std::string>& warnings) {
  // By cores, not by their threads: two threads of one core are one place to work.
  std::map<CpuSet, std::vector<int>> by_cores;
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    CpuSet cores;
    for (std::size_t c = 0; c < inside.cores.size(); ++c)
      if (!common(inside.cores[c], ranks[r].cpus).empty()) cores.push_back(static_cast<int>(c));
    if (!cores.empty()) by_cores[cores].push_back(static_cast<int>(r));
  }
  const auto cpus_of = [&](const CpuSet& cores) {
    CpuSet cpus;
    for (int c : cores) cpus.insert(cpus.end(), inside.cores[at(c)].begin(), inside.cores[at(c)].end());
    std::sort(cpus.begin(), cpus.end());
    return write_cpus(cpus);
  };
  constexpr const char* kAdvice = "give each its own (mpirun --map-by core --bind-to core, srun --cpu-bind=cores)";
  for (const auto& [cores, who] : by_cores)
    if (who.size() > cores.size())
      warnings.push_back(fmt::format("{} are bound to the same {} (CPUs {}); {}", ranks_text(who),
                                     cores.size() == 1 ? "core" : fmt::format("{} cores", cores.size()), cpus_of(cores),
                                     kAdvice));
  for (auto a = by_cores.begin(); a != by_cores.end(); ++a)
    for (auto b = std::next(a); b != by_cores.end(); ++b)
      if (const CpuSet both = common(a->first, b->first); !both.empty()) {
        // The first such pair is enough to go and look.
        warnings.push_back(fmt::format("{} and {} are bound to unlike sets of cores that share some (CPUs {}); {}",
                                       ranks_text(a->second), ranks_text(b->second), cpus_of(both), kAdvice));
        return;
      }
}

void warn_of_adapters(const NodeInside& inside, const std::vector<Bound>& ranks, std::vector<std::string>& warnings) {
  std::map<std::pair<const Device*, std::vector<int>>, std::vector<int>> far;
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    const auto places = places_of(inside, ranks[r].cpus);
    if (places.empty()) continue;
    const Device* d = adapter_of(inside, ranks[r].devices, places);
    if (d && common(d->nearest, places).empty()) far[{d, places}].push_back(static_cast<int>(r));
  }
  std::vector<std::string> texts;
  for (const auto& [how, who] : far) {
    const auto& [d, places] = how;
    texts.push_back(
        fmt::format("{} {} bound to {}, but the network adapter to use from there, {}, hangs from {} "
                    "(distance {}): messages go through both",
                    ranks_text(who), are(who), numa_list(inside, places), d->name, numa_list(inside, d->nearest),
                    distance_to(*d, places)));
  }
  std::sort(texts.begin(), texts.end());  // not by where devices lie in memory
  warnings.insert(warnings.end(), texts.begin(), texts.end());
}

std::string count(std::size_t n, const char* what) { return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s"); }

std::size_t count_of(const NodeInside& inside, Device::Kind kind) {
  return static_cast<std::size_t>(
      std::count_if(inside.devices.begin(), inside.devices.end(), [&](const Device& d) { return d.kind == kind; }));
}

/// "; GPUs nvml0 nvml1; NICs mlx5_0 (ib0)" of those that hang from exactly these.
std::string devices_text(const NodeInside& inside, const std::vector<int>& places) {
  std::string text;
  for (const auto& [kind, word] : {std::pair(Device::Kind::kGpu, "GPU"), std::pair(Device::Kind::kNic, "NIC")}) {
    std::vector<std::string> names;
    for (const Device& d : inside.devices)
      if (d.kind == kind && d.nearest == places)
        names.push_back(d.other.empty() || kind == Device::Kind::kGpu
                            ? d.name
                            : fmt::format("{} ({})", d.name, fmt::join(d.other, " ")));
    if (!names.empty()) text += fmt::format("; {}{} {}", word, names.size() == 1 ? "" : "s", fmt::join(names, " "));
  }
  return text;
}

std::string draw(const HostKind& kind) {
  const NodeInside& in = kind.inside;
  std::string text = "inside " + fold_host_list(kind.hosts);
  if (kind.hosts.size() > 1) text += fmt::format(" ({} hosts that are alike)", kind.hosts.size());
  if (in.numa.empty()) return text + ": nobody tells\n";
  text += ": ";
  if (in.packages > 0) text += count(at(in.packages), "package") + ", ";
  text += fmt::format("{}, {}, {}", count(in.numa.size(), "NUMA node"), count(in.cores.size(), "core"),
                      count(in.cpus().size(), "thread"));
  for (const auto& [what, word] : {std::pair(Device::Kind::kGpu, "GPU"), std::pair(Device::Kind::kNic, "NIC")})
    if (const std::size_t n = count_of(in, what); n > 0) text += ", " + count(n, word);
  text += '\n';
  for (std::size_t n = 0; n < in.numa.size(); ++n)
    text += fmt::format("  NUMA node {}: CPUs {}{}\n", in.numa[n].number, write_cpus(in.numa[n].cpus),
                        devices_text(in, {static_cast<int>(n)}));
  std::set<std::vector<int>> several;  // a package with several NUMA nodes, say
  for (const Device& d : in.devices)
    if (d.nearest.size() != 1) several.insert(d.nearest);
  for (const auto& places : several)
    text += fmt::format("  {}{}\n", places.empty() ? "at a place that nobody tells" : numa_list(in, places),
                        devices_text(in, places));
  if (in.numa.size() > 1) {
    std::vector<std::string> rows;
    for (const auto& row : in.distance) rows.push_back(fmt::format("{}", fmt::join(row, " ")));
    text += fmt::format("  distances from node to node: {}\n", fmt::join(rows, " / "));
  }
  for (const Device& d : in.devices)
    if (!d.nics.empty()) text += fmt::format("  GPU {} is next to {}\n", d.name, fmt::join(d.nics, " "));
  std::map<std::pair<CpuSet, std::string>, std::vector<int>> bound;
  for (std::size_t r = 0; r < kind.ranks.size(); ++r)
    bound[{kind.ranks[r].cpus, kind.ranks[r].devices}].push_back(static_cast<int>(r));
  std::vector<std::pair<std::vector<int>, std::string>> lines;
  for (const auto& [how, who] : bound) {
    std::string line = how.first.empty() ? "not bound"
                                         : fmt::format("CPUs {} of {}", write_cpus(how.first),
                                                       numa_list(in, places_of(in, how.first)));
    if (!how.second.empty()) line += ", UCX_NET_DEVICES=" + how.second;
    lines.emplace_back(who, line);
  }
  std::sort(lines.begin(), lines.end());
  for (const auto& [who, line] : lines) text += fmt::format("  {}: {}\n", ranks_text(who), line);
  for (const std::string& warning : kind.warnings) text += "  warning: " + warning + '\n';
  return text;
}

}  // namespace

std::string write_cpus(const CpuSet& cpus) {
  std::string text;
  for (std::size_t i = 0; i < cpus.size();) {
    std::size_t end = i + 1;
    while (end < cpus.size() && cpus[end] == cpus[end - 1] + 1) ++end;
    text += (text.empty() ? "" : ",") + std::to_string(cpus[i]);
    if (end - i > 1) text += (end - i > 2 ? "-" : ",") + std::to_string(cpus[end - 1]);
    i = end;
  }
  return text;
}

CpuSet read_cpus(std::string_view text) {
  CpuSet cpus;
  const auto fail = [&] { throw DataError("'{}' is no list of CPUs such as 0-3,8", text); };
  for (std::string_view rest = text; !rest.empty();) {
    const auto number = [&] {
      int n = 0;
      const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), n);
      if (error != std::errc{} || n < 0 || n >= kMostCpus) fail();
      rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
      return n;
    };
    const int first = number();
    int last = first;
    if (rest.starts_with('-')) {
      rest.remove_prefix(1);
      last = number();
    }
    if (last < first || (!cpus.empty() && first <= cpus.back())) fail();
    for (int c = first; c <= last; ++c) cpus.push_back(c);
    if (rest.empty()) break;
    if (!rest.starts_with(',') || rest.size() == 1) fail();
    rest.remove_prefix(1);
  }
  return cpus;
}

CpuSet NodeInside::cpus() const {
  CpuSet all;
  for (const CpuSet& core : cores) all.insert(all.end(), core.begin(), core.end());
  std::sort(all.begin(), all.end());
  return all;
}

std::vector<HostKind> kinds_of(const std::vector<HostInside>& hosts, bool networked) {
  std::vector<HostKind> kinds;
  for (const HostInside& h : hosts) {
    const auto like = std::find_if(kinds.begin(), kinds.end(),
                                   [&](const HostKind& k) { return k.ranks == h.ranks && k.inside == h.inside; });
    if (like == kinds.end())
      kinds.push_back({{h.host}, h.inside, h.ranks, warnings_of(h.inside, h.ranks, networked)});
    else
      like->hosts.push_back(h.host);
  }
  return kinds;
}

std::vector<std::string> warnings_of(const NodeInside& inside, const std::vector<Bound>& ranks, bool networked) {
  std::vector<std::string> warnings;
  warn_of_numa(inside, ranks, warnings);
  warn_of_shared_cores(inside, ranks, warnings);
  if (networked) warn_of_adapters(inside, ranks, warnings);
  return warnings;
}

std::string draw(const std::vector<HostKind>& kinds) {
  std::string text;
  for (const HostKind& kind : kinds) text += draw(kind);
  return text;
}

}  // namespace banyan::comm
