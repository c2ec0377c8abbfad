#include "src/plan/machine.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "src/base/error.hpp"
#include "src/base/nearest.hpp"
#include "src/base/units.hpp"
#include "src/config/scan.hpp"

namespace banyan::plan {
namespace {

constexpr std::size_t kLargestFile = 1 << 20;
constexpr const char* kLevels[] = {"node", "leaf", "pod", "spine"};

/// Reads one value; empty when it is refused.
using Reader = std::function<bool(const std::string&)>;
struct Key {
  const char* name;
  const char* wanted;
  bool required;
  Reader read;
};

Reader real(double& out, double low, double high) {
  return [&out, low, high](const std::string& v) {
    const std::optional<double> x = parse_real(v);
    if (!x || !(*x >= low) || !(*x <= high)) return false;
    out = *x;
    return true;
  };
}
Reader whole(int& out, double low, double high) {
  return [&out, low, high](const std::string& v) {
    const std::optional<double> x = parse_real(v);
    if (!x || !(*x >= low) || !(*x <= high) || *x != std::floor(*x)) return false;
    out = static_cast<int>(*x);
    return true;
  };
}
Reader bytes(double& out) {
  return [&out](const std::string& v) {
    const std::optional<std::int64_t> x = parse_bytes(v);
    if (!x || *x < 1) return false;
    out = static_cast<double>(*x);
    return true;
  };
}
Reader text(std::string& out) {
  return [&out](const std::string& v) {
    out = v;
    return !v.empty();
  };
}
Reader yes_no(bool& out, const char* yes, const char* no) {
  return [&out, yes, no](const std::string& v) {
    if (v != yes && v != no) return false;
    out = v == yes;
    return true;
  };
}

constexpr double kMost = 1e21;
constexpr const char *kFlops = "FLOP/s such as 312e12", *kShare = "a share from 0 to 1",
                     *kPositiveShare = "a share above 0, at most 1", *kSize = "a size such as 80GB",
                     *kPerSecond = "bytes/s such as 25GB", *kSeconds = "seconds such as 5e-6";

/// What a level says; turned into links when the whole file is read.
struct LevelText {
  double ranks = 0, nodes = 0, latency = 0, rate = 0, efficiency = 1, taper = 1;
};

std::vector<Key> keys_of(Machine& m, std::map<std::string, LevelText>& levels) {
  std::vector<Key> keys{
      {"machine.name", "a name", true, text(m.name)},
      {"machine.source", "where the figures come from", true, text(m.source)},
      {"compute.fp32", kFlops, true, real(m.fp32, 1, kMost)},
      {"compute.bf16", kFlops, false, real(m.bf16, 0, kMost)},
      {"compute.gemm_efficiency", kPositiveShare, true, real(m.gemm_efficiency, 1e-6, 1)},
      {"compute.units", "a number of processors", false, real(m.units, 1, 1e6)},
      {"compute.tile_rows", "a number of rows", false, real(m.tile_rows, 1, 1e5)},
      {"compute.tile_columns", "a number of columns", false, real(m.tile_columns, 1, 1e5)},
      {"compute.kernel_seconds", kSeconds, false, real(m.kernel_seconds, 0, 1)},
      {"compute.attention_efficiency", kPositiveShare, false, real(m.attention_efficiency, 1e-6, 1)},
      {"memory.bytes", kSize, true, bytes(m.memory_bytes)},
      {"memory.reserved", kSize, false, bytes(m.reserved_bytes)},
      {"memory.rate", kPerSecond, true, bytes(m.memory_rate)},
      {"node.cores", "a number of cores", false, whole(m.cores, 1, 1e6)},
      {"node.host_link", kPerSecond, false, bytes(m.host_link)},
      {"software.attention", "fused or unfused", false, yes_no(m.fused_attention, "fused", "unfused")},
      {"software.hide_gradients", kShare, false, real(m.hide_gradients, 0, 1)},
      {"software.hide_parameters", kShare, false, real(m.hide_parameters, 0, 1)},
      {"software.hide_tensor", kShare, false, real(m.hide_tensor, 0, 1)},
      {"software.hide_pipeline", kShare, false, real(m.hide_pipeline, 0, 1)},
      {"software.gradient_bytes", "1 to 8", false, whole(m.gradient_bytes, 1, 8)}};
  static const std::vector<std::vector<std::string>> names = [] {
    std::vector<std::vector<std::string>> n;
    for (const std::string level : kLevels)
      n.push_back({level + ".ranks", level + ".nodes", level + ".latency", level + ".rate", level + ".efficiency",
                   level + ".taper"});
    return n;
  }();
  for (std::size_t i = 0; i < std::size(kLevels); ++i) {
    LevelText& l = levels[kLevels[i]];
    if (i == 0) keys.push_back({names[i][0].c_str(), "a number of ranks", true, real(l.ranks, 1, 1e6)});
    if (i > 0) keys.push_back({names[i][1].c_str(), "a number of nodes", false, real(l.nodes, 1, 1e7)});
    keys.push_back({names[i][2].c_str(), kSeconds, i == 0, real(l.latency, 0, 1)});
    keys.push_back({names[i][3].c_str(), kPerSecond, i == 0, bytes(l.rate)});
    keys.push_back({names[i][4].c_str(), kPositiveShare, false, real(l.efficiency, 1e-6, 1)});
    if (i > 1) keys.push_back({names[i][5].c_str(), "1 or more", false, real(l.taper, 1, 1e4)});
  }
  return keys;
}

/// Levels above the node take rate, latency and efficiency of the one below where they say nothing.
comm::TreeLinks links_of(const std::map<std::string, LevelText>& levels, const std::vector<std::string>& sections,
                         const std::string& file) {
  comm::TreeLinks links;
  LevelText below;
  const auto ranks_of_node = levels.at("node").ranks;
  double untapered = 0;
  for (const char* name : kLevels) {
    if (std::find(sections.begin(), sections.end(), name) == sections.end()) continue;
    LevelText l = levels.at(name);
    const bool node = links.empty();
    if (links.size() == 1 && l.rate <= 0)
      throw ConfigError("{}: [{}] is the first level above the node and has no rate; say what one rank's adapter does",
                        file, name);
    if (!node && l.latency <= 0) l.latency = below.latency;
    if (l.rate > 0) untapered = l.rate * l.efficiency;
    const double units = node ? ranks_of_node : l.nodes * ranks_of_node;
    if (!node && !links.empty() && units > 0 && units <= links.back().ranks)
      throw ConfigError("{}: [{}] holds {} ranks, no more than the level below; let levels grow upwards", file, name,
                        units);
    if (!node && links.back().ranks <= 0)
      throw ConfigError("{}: the level below [{}] has no `nodes` and so holds everybody; say how many nodes it has",
                        file, name);
    links.push_back({.ranks = units, .latency = l.latency, .rate = untapered / l.taper});
    below = l;
  }
  links.back().ranks = 0;  // whatever the size, everybody meets at the top
  return links;
}

}  // namespace

std::string_view name_of(Precision p) { return p == Precision::kFp32 ? "fp32" : "bf16"; }

Machine parse_machine(std::string_view content, const std::string& file) {
  if (content.size() > kLargestFile)
    throw ConfigError("{} has {} bytes, which no machine file has; is it the right file?", file, content.size());
  Machine m;
  m.fused_attention = true;
  std::map<std::string, LevelText> levels;
  const std::vector<Key> keys = keys_of(m, levels);
  std::set<std::string> seen;
  std::vector<std::string> names, sections;
  for (const Key& k : keys) names.emplace_back(k.name);
  for (const config::Entry& e : config::scan(content, file)) {
    const std::string full = e.full();
    const auto key = std::find_if(keys.begin(), keys.end(), [&](const Key& k) { return full == k.name; });
    if (key == keys.end()) {
      const std::string near = nearest(full, names);
      throw ConfigError("{}:{}: {} is no key of a machine{}; see configs/machines/README.md", file, e.line, full,
                        near.empty() ? "" : ", did you mean " + near);
    }
    seen.insert(full);
    if (!key->read(e.value))
      throw ConfigError("{}:{}: {} = {} is refused; write {}", file, e.line, full, e.value, key->wanted);
    sections.push_back(e.section);
  }
  for (const Key& k : keys)
    if (k.required && !seen.count(k.name)) throw ConfigError("{}: {} is missing; write {}", file, k.name, k.wanted);
  if (m.reserved_bytes >= m.memory_bytes)
    throw ConfigError("{}: memory.reserved leaves nothing of memory.bytes; lower it", file);
  m.ranks_per_node = static_cast<int>(levels.at("node").ranks);
  m.links = links_of(levels, sections, file);
  m.wire_efficiency = levels.at("leaf").efficiency;
  return m;
}

Machine load_machine(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw ConfigError("cannot read the machine file {}; see configs/machines/", path);
  std::string content(kLargestFile + 1, '\0');
  in.read(content.data(), static_cast<std::streamsize>(content.size()));
  content.resize(static_cast<std::size_t>(in.gcount()));
  return parse_machine(content, path);
}

}  // namespace banyan::plan
