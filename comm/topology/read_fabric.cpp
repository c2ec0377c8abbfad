#include "comm/topology/read_fabric.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "comm/topology/fabric_builder.hpp"
#include "comm/topology/fabric_file.hpp"
#include "comm/topology/infiniband.hpp"
#include "comm/topology/infiniband_routes.hpp"
#include "comm/topology/slurm_topology.hpp"
#include "comm/topology/slurm_yaml.hpp"
#include "src/base/error.hpp"
#include "src/base/units.hpp"

namespace banyan::comm {
namespace {

/// The format that the first line with words in it has; empty: none of ours.
std::string guess(std::string_view text) {
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    const auto words = words_of(line);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (words.empty()) continue;
    for (const std::string_view first : {"vendid=", "Switch\t", "Ca\t"})
      if (line.starts_with(first)) return "ib";
    if (line.starts_with('-') || line.starts_with('[') || line.starts_with('%')) return "yaml";
    if (words[0].key == "switch" && !words[0].has_value) return "fabric";
    return words[0].has_value ? "slurm" : "";
  }
  return "";
}

}  // namespace

const std::vector<std::string>& fabric_formats() {
  static const std::vector<std::string> formats{"auto", "fabric", "slurm", "yaml", "ib"};
  return formats;
}

Fabric read_fabric(std::string_view text, const std::string& file, const std::string& format, const IbExtras& extras) {
  const auto& known = fabric_formats();
  const std::string kind = format.substr(0, format.find(':')),
                    name = format.substr(std::min(format.size(), kind.size() + 1));
  if (std::find(known.begin(), known.end(), kind) == known.end())
    throw UsageError("there is no format of topologies called {}; use {}", format, fmt::join(known, ", "));
  if (kind != format && (kind != "yaml" || name.empty()))
    throw UsageError("--format {}: a name follows yaml only, as in yaml:NAME", format);
  check_text(text, file);
  const std::string found = kind == "auto" ? guess(text) : kind;
  if ((!extras.faults_file.empty() || !extras.routes_file.empty()) && found != "ib")
    throw UsageError("{}: faults and routes of cables can be told for what ibnetdiscover prints only", file);
  if (found == "slurm") return parse_slurm_topology(text, file);
  if (found == "yaml") return parse_topology_yaml(text, file, name);
  if (found == "fabric") return parse_fabric_file(text, file);
  if (found == "ib") {
    IbNetwork network = parse_ibnetdiscover(text, file);
    if (!extras.faults_file.empty()) mark_faulty(network, extras.faults, extras.faults_file);
    if (!extras.routes_file.empty()) follow_routes(network, extras.routes, extras.routes_file);
    return fold(network);
  }
  throw DataError(
      "{}: this is neither topology.conf nor what scontrol show topology prints (SwitchName=...), nor topology.yaml, "
      "nor "
      "what ibnetdiscover prints, nor lines of 'switch NAME ...'",
      file);
}

std::string read_fabric_text(const std::string& file, std::size_t most) {
  const bool standard = file == "-";
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> opened(standard ? nullptr : std::fopen(file.c_str(), "rb"),
                                                               [](std::FILE* f) { return f ? std::fclose(f) : 0; });
  if (!standard && !opened) throw IoError("{}: {}", file, std::strerror(errno));
  std::FILE* const in = standard ? stdin : opened.get();
  std::string text;
  std::array<char, 1 << 16> buffer;
  for (std::size_t n = 0; (n = std::fread(buffer.data(), 1, buffer.size(), in)) > 0;) {
    text.append(buffer.data(), n);
    if (text.size() > most)
      throw DataError("{}: more than {} are not read", file, exact_bytes(static_cast<std::int64_t>(most)));
  }
  if (std::ferror(in)) throw IoError("{}: {}", standard ? "standard input" : file, std::strerror(errno));
  return text;
}

}  // namespace banyan::comm
