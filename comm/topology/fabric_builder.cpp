#include "comm/topology/fabric_builder.hpp"

#include <fmt/format.h>

#include "comm/topology/host_list.hpp"
#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

constexpr int kUnknown = -1;

}  // namespace

void FabricBuilder::fail(int line, const std::string& what) const {
  if (line > 0) throw DataError("{}:{}: {}", fabric_.source, line, what);
  throw DataError("{}: {}", fabric_.source, what);
}

int FabricBuilder::any_switch(std::string_view name, int line) {
  if (name.empty()) fail(line, "a switch without a name");
  const auto [at, fresh] = switches_.emplace(std::string(name), static_cast<int>(fabric_.switches.size()));
  if (fresh) {
    fabric_.switches.push_back({std::string(name)});
    defined_.push_back(kUnknown);
    mentioned_.push_back(line);
  }
  return at->second;
}

int FabricBuilder::define_switch(std::string_view name, int line) {
  const int s = any_switch(name, line);
  int& defined = defined_[static_cast<std::size_t>(s)];
  if (defined != kUnknown) fail(line, fmt::format("switch {} was described before, in line {}", name, defined));
  defined = line;
  return s;
}

int FabricBuilder::host(std::string_view name) {
  const auto [at, fresh] = hosts_.emplace(std::string(name), static_cast<int>(fabric_.hosts.size()));
  if (fresh) {
    if (fabric_.hosts.size() >= kMostHosts) fail(0, fmt::format("more than {} hosts", kMostHosts));
    fabric_.hosts.emplace_back(name);
    above_.push_back(0);
  }
  return at->second;
}

void FabricBuilder::link(Link link) {
  if (link.below == Link::Below::kHost) above_[static_cast<std::size_t>(link.lower)] = 1;
  fabric_.links.push_back(std::move(link));
}

void FabricBuilder::link_host(std::string_view name, Link way, int line) {
  way.below = Link::Below::kHost;
  way.lower = host(name);
  if (has_above(way.lower)) fail(line, fmt::format("host {} hangs from another switch, too", name));
  link(std::move(way));
}

std::vector<std::string> FabricBuilder::expand(std::string_view list, int line) {
  std::vector<std::string> names;
  try {
    names = expand_host_list(list);
  } catch (const DataError& e) {
    fail(line, e.what());
  }
  names_ += names.size();
  if (names_ > kMostLevels * kMostHosts)
    fail(line, fmt::format("host lists up to here have more than {} names", kMostLevels * kMostHosts));
  return names;
}

Fabric FabricBuilder::finish() {
  for (std::size_t s = 0; s < defined_.size(); ++s)
    if (defined_[s] == kUnknown)
      fail(mentioned_[s], fmt::format("switch {} is described nowhere", fabric_.switches[s].name));
  settle(fabric_);
  return std::move(fabric_);
}

std::vector<Word> words_of(std::string_view line) {
  line = line.substr(0, line.find('#'));
  std::vector<Word> words;
  while (true) {
    const std::size_t begin = line.find_first_not_of(" \t");
    if (begin == std::string_view::npos) return words;
    line.remove_prefix(begin);
    const std::string_view word = line.substr(0, line.find_first_of(" \t"));
    line.remove_prefix(word.size());
    const std::size_t equals = word.find('=');
    if (equals == std::string_view::npos)
      words.push_back({word, {}, false});
    else
      words.push_back({word.substr(0, equals), word.substr(equals + 1), true});
  }
}

void check_text(std::string_view text, const std::string& source, std::size_t most) {
  if (text.size() > most) throw DataError("{}: {} bytes are more than the {} that are read", source, text.size(), most);
  if (const std::size_t zero = text.find('\0'); zero != std::string_view::npos)
    throw DataError("{}: a zero byte at {}: this is not text", source, zero);
}

}  // namespace banyan::comm
