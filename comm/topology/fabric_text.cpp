#include "comm/topology/fabric_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "comm/topology/host_list.hpp"
#include "src/base/json.hpp"
#include "src/base/units.hpp"

namespace banyan::comm {
namespace {

std::size_t at(int i) { return static_cast<std::size_t>(i); }

std::string way(const Link& l, bool each, const std::string& mark) {
  std::string text;
  if (l.cables > 1) text += fmt::format("{} cables{}", l.cables, l.in_turn ? " in turn" : "");
  if (l.rate > 0) text += (text.empty() ? "" : ", ") + format_rate(l.rate);
  if (!text.empty() && each) text += " each";
  if (!mark.empty()) text += (text.empty() ? "" : ", ") + mark;
  if (!l.reason.empty()) text += (text.empty() ? "" : ", ") + ("DEGRADED: " + l.reason);
  return text.empty() ? "" : "  (" + text + ")";
}

/// The ways below each switch.
struct Tree {
  const Fabric& f;
  const Marks& marks;
  UpLinks up;
  std::vector<std::vector<const Link*>> below;
  Tree(const Fabric& fabric, const Marks& m)
      : f(fabric), marks(m), up(up_links(fabric)), below(fabric.switches.size()) {
    for (const Link& l : f.links) below[at(l.upper)].push_back(&l);
  }
  const Link* above(int s) const {
    const int link = up.of_switch[at(s)];
    return link < 0 ? nullptr : &f.links[at(link)];
  }

  std::string mark(const Link* l) const {
    const auto number = static_cast<std::size_t>(l - f.links.data());
    return number < marks.link.size() ? marks.link[number] : "";
  }
  double heat(const Link* l) const {
    const auto number = static_cast<std::size_t>(l - f.links.data());
    return number < marks.heat.size() ? marks.heat[number] : 0;
  }

  void draw(int s, const std::string& indent, std::string& text) const {
    const Link* a = above(s);
    text += f.switches[at(s)].name + (a ? way(*a, false, mark(a)) : "") + '\n';
    // Hosts whose ways are alike share a line.
    std::map<std::tuple<int, double, std::string, std::string>, std::vector<std::string>> hosts;
    std::vector<int> switches;
    for (const Link* l : below[at(s)])
      if (l->below == Link::Below::kHost)
        hosts[{l->cables, l->rate, l->reason, mark(l)}].push_back(f.hosts[at(l->lower)]);
      else
        switches.push_back(l->lower);
    std::size_t left = hosts.size() + switches.size();
    for (const auto& [how, names] : hosts) {
      const Link like{.cables = std::get<0>(how), .rate = std::get<1>(how), .reason = std::get<2>(how)};
      text += indent + (--left > 0 ? "|-- " : "`-- ") + fold_host_list(names) +
              (names.size() > 1 ? fmt::format("  {} hosts", names.size()) : "") +
              way(like, names.size() > 1, std::get<3>(how)) + '\n';
    }
    for (int lower : switches) {
      const bool last = --left == 0;
      text += indent + (last ? "`-- " : "|-- ");
      draw(lower, indent + (last ? "    " : "|   "), text);
    }
  }
};

std::string escape(std::string_view text) {
  std::string result;
  for (char c : text) switch (c) {
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '&':
        result += "&amp;";
        break;
      case '"':
        result += "&quot;";
        break;
      default:
        result += c;
    }
  return result;
}

/// From the grey-blue of ways that carry nothing to red.
std::string colour(double heat) {
  const auto mix = [&](double cold, double hot) { return static_cast<int>(cold + (hot - cold) * heat); };
  return fmt::format("#{:02x}{:02x}{:02x}", mix(0x44, 0xdd), mix(0x55, 0), mix(0x66, 0));
}

}  // namespace

std::vector<LevelSummary> levels_of(const Fabric& f) {
  const Tree tree(f, {});
  std::map<int, LevelSummary> levels;
  std::map<int, bool> known_down, known_up;
  for (std::size_t s = 0; s < f.switches.size(); ++s) {
    const int level = f.switches[s].level;
    LevelSummary& sum = levels[level];
    const int below = static_cast<int>(tree.below[s].size());
    sum.level = level;
    sum.least_below = sum.switches == 0 ? below : std::min(sum.least_below, below);
    sum.most_below = std::max(sum.most_below, below);
    if (++sum.switches == 1) known_down[level] = known_up[level] = true;
    double down = 0;
    for (const Link* l : tree.below[s]) {
      down += l->rate;
      known_down[level] &= l->rate > 0;
    }
    sum.down += down;
    if (const Link* above = tree.above(static_cast<int>(s))) {
      sum.up += above->rate;
      known_up[level] &= above->rate > 0;
      if (above->rate > 0) sum.taper = std::max(sum.taper, down / above->rate);
    }
  }
  std::vector<LevelSummary> result;
  for (auto& [level, sum] : levels) {
    if (!known_down[level]) sum.down = 0;
    if (!known_up[level]) sum.up = 0;
    if (sum.down == 0 || sum.up == 0) sum.taper = 0;
    result.push_back(sum);
  }
  return result;
}

std::string draw(const Fabric& f, const Marks& marks) {
  const Tree tree(f, marks);
  std::string text = fmt::format("{}: {} hosts, {} switches\n\n", f.source, f.hosts.size(), f.switches.size());
  std::vector<std::string> alone;
  for (std::size_t h = 0; h < f.hosts.size(); ++h)
    if (tree.up.of_host[h] < 0) alone.push_back(f.hosts[h]);
  for (std::size_t s = 0; s < f.switches.size(); ++s)
    if (tree.up.of_switch[s] < 0) tree.draw(static_cast<int>(s), "", text);
  if (!alone.empty()) text += fold_host_list(alone) + "  (below no switch)\n";
  text += '\n';
  for (const LevelSummary& l : levels_of(f)) {
    const std::string below = l.least_below == l.most_below ? std::to_string(l.most_below)
                                                            : fmt::format("{} to {}", l.least_below, l.most_below);
    text += fmt::format("level {}: {} switch{} with {} below each", l.level, l.switches, l.switches == 1 ? "" : "es",
                        below);
    if (l.down > 0) text += ", " + format_rate(l.down) + " from below";
    if (l.up > 0) text += ", " + format_rate(l.up) + " up";
    if (l.taper > 0) text += fmt::format(", taper {:.2g} to 1", l.taper);
    text += '\n';
  }
  for (const Link& l : f.links)
    if (!l.reason.empty())
      text += fmt::format("degraded: {} to {}: {}{}\n",
                          l.below == Link::Below::kHost ? f.hosts[at(l.lower)] : f.switches[at(l.lower)].name,
                          f.switches[at(l.upper)].name, l.reason, l.rate > 0 ? ", " + format_rate(l.rate) : "");
  for (const std::string& note : f.notes) text += "note: " + note + '\n';
  return text;
}

std::string draw_svg(const Fabric& f, const Marks& marks) {
  constexpr double kWide = 110, kHigh = 90, kBox = 90, kMargin = 20;
  const Tree tree(f, marks);
  int top = 0;
  for (const Switch& s : f.switches) top = std::max(top, s.level);
  // Leaves and whatever has nothing below it stand side by side; each upper switch in the middle of those below it.
  std::vector<double> x(f.switches.size(), 0);
  double next = kMargin + kBox / 2;
  for (int level = 1; level <= top; ++level)
    for (std::size_t s = 0; s < f.switches.size(); ++s) {
      if (f.switches[s].level != level) continue;
      double sum = 0;
      int count = 0;
      for (const Link* l : tree.below[s])
        if (l->below == Link::Below::kSwitch) sum += x[at(l->lower)], ++count;
      x[s] = count > 0 ? sum / count : next;
      if (count == 0) next += kWide;
    }
  const auto y = [&](int level) { return kMargin + kHigh * (top - level) + 15; };
  const double width = next - kBox / 2 + kMargin, height = y(0) + 40;
  double widest = 0;
  for (const Link& l : f.links)
    if (l.below == Link::Below::kSwitch) widest = std::max(widest, l.rate);
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{:.0f}\" height=\"{:.0f}\" font-family=\"sans-serif\" "
      "font-size=\"11\" text-anchor=\"middle\">\n<title>{}</title>\n",
      width, height, escape(f.source));
  for (const Link& l : f.links) {
    if (l.below != Link::Below::kSwitch) continue;
    svg += fmt::format(
        "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\" "
        "stroke-width=\"{:.1f}\"{}><title>{}</title></line>\n",
        x[at(l.lower)], y(f.switches[at(l.lower)].level), x[at(l.upper)], y(f.switches[at(l.upper)].level),
        colour(tree.heat(&l)), widest > 0 ? 1 + 5 * l.rate / widest : 1.5,
        l.reason.empty() ? "" : " stroke-dasharray=\"6 4\"",
        escape(f.switches[at(l.lower)].name + " to " + f.switches[at(l.upper)].name + way(l, false, tree.mark(&l))));
    if (!tree.mark(&l).empty())
      svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" font-size=\"8\">{}</text>\n", x[at(l.lower)],
                         y(f.switches[at(l.lower)].level) - 16, escape(tree.mark(&l)));
  }
  for (std::size_t s = 0; s < f.switches.size(); ++s) {
    const double top_of_box = y(f.switches[s].level) - 12;
    svg += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{}\" height=\"24\" rx=\"4\" fill=\"#def\" stroke=\"#456\"/>"
        "<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n",
        x[s] - kBox / 2, top_of_box, kBox, x[s], top_of_box + 16, escape(f.switches[s].name));
    std::vector<std::string> hosts;
    bool degraded = false;
    for (const Link* l : tree.below[s])
      if (l->below == Link::Below::kHost) {
        hosts.push_back(f.hosts[at(l->lower)]);
        degraded |= !l->reason.empty();
      }
    if (!hosts.empty())
      svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" fill=\"{}\">{}</text>\n", x[s], top_of_box + 42,
                         degraded ? "#c00" : "#000", escape(fold_host_list(hosts)));
    if (s < marks.leaf.size())
      svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" font-size=\"7\">{}</text>\n", x[s], top_of_box + 54,
                         escape(marks.leaf[s]));
  }
  return svg + "</svg>\n";
}

Json to_json(const Fabric& f) {
  Json j;
  j["source"] = f.source;
  j["hosts"] = f.hosts;
  j["switches"] = Json::array();
  for (const Switch& s : f.switches) j["switches"].push_back({{"name", s.name}, {"level", s.level}});
  j["links"] = Json::array();
  for (const Link& l : f.links) {
    Json link;
    link["below"] = l.below == Link::Below::kHost ? f.hosts[at(l.lower)] : f.switches[at(l.lower)].name;
    link["above"] = f.switches[at(l.upper)].name;
    link["cables"] = l.cables;
    if (l.rate > 0) link["bytes_per_s"] = l.rate;
    if (!l.reason.empty()) link["degraded"] = l.reason;
    if (l.in_turn) link["routes"] = "in_turn";
    j["links"].push_back(std::move(link));
  }
  j["levels"] = Json::array();
  for (const LevelSummary& l : levels_of(f)) {
    Json level{{"level", l.level}, {"switches", l.switches}};
    if (l.taper > 0) level["taper"] = l.taper;
    j["levels"].push_back(std::move(level));
  }
  j["notes"] = f.notes;
  return j;
}

}  // namespace banyan::comm
