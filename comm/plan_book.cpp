#include "comm/plan_book.hpp"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "src/base/error.hpp"
#include "src/base/json.hpp"
#include "src/base/units.hpp"

namespace banyan::comm {
namespace {

constexpr std::int64_t kVersion = 1;
constexpr int kMostMembers = 1 << 20;
constexpr std::size_t kMostGroups = 64, kMostRanges = 64, kMostLevels = 8;
// Pieces outside these would make plans of billions of steps or messages that nobody can hold.
constexpr std::int64_t kSmallestPiece = 256, kLargestPiece = 1 << 28;
constexpr std::array<CollectiveKind, kCollectiveKinds> kKinds{
    CollectiveKind::kAllReduce, CollectiveKind::kReduceScatter, CollectiveKind::kAllGather,
    CollectiveKind::kBroadcast, CollectiveKind::kBarrier,       CollectiveKind::kAllToAll};
constexpr const char* kDistanceNames[] = {"node", "leaf", "across"};

std::size_t at(CollectiveKind kind) { return static_cast<std::size_t>(kind); }

template <class... Args>
[[noreturn]] void refuse(const std::string& where, fmt::format_string<Args...> format, Args&&... args) {
  throw DataError("{}: {}; mend it, or choose anew with comm.plans = auto", where,
                  fmt::format(format, std::forward<Args>(args)...));
}

double positive(const Json& object, const char* key, const std::string& where) {
  const auto value = get<double>(object, key, where);
  if (!std::isfinite(value) || value <= 0) refuse(where, "\"{}\" is {}, which is no positive number", key, value);
  return value;
}

void only(const Json& object, const std::set<std::string_view>& known, const std::string& where) {
  if (!object.is_object()) refuse(where, "this is no object");
  for (const auto& [key, value] : object.items())
    if (!known.count(key)) refuse(where, "\"{}\" is not known here", key);
}

Json write_links(const Links& links) {
  Json j;
  j["measured"] = links.measured;
  for (int d = 0; d < kDistances; ++d) {
    const LinkCost& link = links.at(static_cast<Distance>(d));
    j[kDistanceNames[d]] = {{"latency", link.latency}, {"rate", link.rate}};
  }
  j["copy_rate"] = links.copy_rate;
  j["reduce_rate"] = links.reduce_rate;
  return j;
}

Links read_links(const Json& j, const std::string& where) {
  only(j, {"measured", "node", "leaf", "across", "copy_rate", "reduce_rate"}, where);
  Links links;
  links.measured = get<bool>(j, "measured", where);
  for (int d = 0; d < kDistances; ++d) {
    const Json& link = member(j, kDistanceNames[d], where);
    const std::string inside = fmt::format("{}, {}", where, kDistanceNames[d]);
    only(link, {"latency", "rate"}, inside);
    links.at(static_cast<Distance>(d)) = {positive(link, "latency", inside), positive(link, "rate", inside)};
  }
  links.copy_rate = positive(j, "copy_rate", where);
  links.reduce_rate = positive(j, "reduce_rate", where);
  return links;
}

GroupTree read_tree(const Json& group, int size, const std::string& where) {
  GroupTree tree{get<std::vector<std::vector<int>>>(group, "tree", where)};
  if (tree.levels.size() > kMostLevels) refuse(where, "\"tree\" has {} levels", tree.levels.size());
  for (std::size_t l = 0; l < tree.levels.size(); ++l) {
    const std::vector<int>& level = tree.levels[l];
    if (static_cast<int>(level.size()) != size)
      refuse(where, "\"tree\" places {} members, the group has {}", level.size(), size);
    int next = 0;
    for (int place : level) {
      if (place < 0 || place > next) refuse(where, "\"tree\" does not number places as they first appear");
      next = std::max(next, place + 1);
    }
    if (l == 0) continue;
    std::vector<int> outer(level.size(), -1);  // by place of the level below
    for (std::size_t m = 0; m < level.size(); ++m) {
      int& in = outer[static_cast<std::size_t>(tree.levels[l - 1][m])];
      if (in >= 0 && in != level[m]) refuse(where, "\"tree\" puts one place into two of the next level");
      in = level[m];
    }
  }
  return tree;
}

std::vector<PlanRange> read_ranges(const Json& list, CollectiveKind kind, const std::string& where) {
  if (!list.is_array() || list.empty()) refuse(where, "there must be a list of at least one choice");
  if (list.size() > kMostRanges) refuse(where, "{} choices are too many", list.size());
  const std::vector<std::string_view> known = algorithms(kind);
  std::vector<PlanRange> ranges;
  for (const Json& j : list) {
    only(j, {"up_to", "algorithm", "piece", "seconds"}, where);
    PlanRange range;
    range.up_to = get_or<std::int64_t>(j, "up_to", PlanRange::kAnySize, where);
    range.recipe.algorithm = get<std::string>(j, "algorithm", where);
    range.recipe.piece_bytes = get<std::int64_t>(j, "piece", where);
    range.seconds = get_or<double>(j, "seconds", 0, where);
    if (range.recipe.algorithm != kNative && std::count(known.begin(), known.end(), range.recipe.algorithm) == 0)
      refuse(where, "there is no algorithm \"{}\" (there are {} and {})", range.recipe.algorithm,
             fmt::join(known, ", "), kNative);
    if (kind != CollectiveKind::kBarrier && range.recipe.algorithm != kNative &&
        (range.recipe.piece_bytes < kSmallestPiece || range.recipe.piece_bytes > kLargestPiece))
      refuse(where, "\"piece\" = {} is not from {} to {}", range.recipe.piece_bytes, kSmallestPiece, kLargestPiece);
    if (!std::isfinite(range.seconds) || range.seconds < 0) refuse(where, "\"seconds\" = {} is no time", range.seconds);
    if (range.up_to < 0 || (!ranges.empty() && range.up_to <= ranges.back().up_to))
      refuse(where, "\"up_to\" must rise from choice to choice");
    ranges.push_back(std::move(range));
  }
  if (ranges.back().up_to != PlanRange::kAnySize) refuse(where, "the last choice must have no \"up_to\"");
  if (kind == CollectiveKind::kAllToAll && ranges.size() > 1)
    refuse(where, "members know only their own parts, so there must be one choice for every size");
  return ranges;
}

Json write_ranges(const std::vector<PlanRange>& ranges) {
  Json list = Json::array();
  for (const PlanRange& range : ranges) {
    Json j = Json::object();
    if (range.up_to != PlanRange::kAnySize) j["up_to"] = range.up_to;
    j["algorithm"] = range.recipe.algorithm;
    j["piece"] = range.recipe.piece_bytes;
    if (range.seconds > 0) j["seconds"] = range.seconds;
    list.push_back(std::move(j));
  }
  return list;
}

}  // namespace

const Recipe& GroupPlans::recipe(CollectiveKind kind, std::int64_t bytes) const {
  for (const PlanRange& range : ranges[at(kind)])
    if (bytes <= range.up_to) return range.recipe;
  throw BugError("the plans of the {} have none for {}", group, name_of(kind));
}

bool GroupPlans::same_plans(const GroupPlans& other) const {
  if (size != other.size || tree != other.tree) return false;
  for (std::size_t k = 0; k < ranges.size(); ++k)
    if (!std::equal(ranges[k].begin(), ranges[k].end(), other.ranges[k].begin(), other.ranges[k].end(),
                    [](const PlanRange& a, const PlanRange& b) { return a.up_to == b.up_to && a.recipe == b.recipe; }))
      return false;
  return true;
}

const GroupPlans* PlanBook::find(std::string_view group, int size) const {
  const auto found =
      std::find_if(groups.begin(), groups.end(), [&](const auto& g) { return g.group == group && g.size == size; });
  return found == groups.end() ? nullptr : &*found;
}

std::string write_book(const PlanBook& book) {
  Json j;
  j["version"] = kVersion;
  j["links"] = write_links(book.links);
  j["groups"] = Json::array();
  for (const GroupPlans& g : book.groups) {
    Json plans = Json::object();
    for (const CollectiveKind kind : kKinds) plans[std::string(name_of(kind))] = write_ranges(g.ranges[at(kind)]);
    j["groups"].push_back({{"group", g.group}, {"size", g.size}, {"tree", g.tree.levels}, {"plans", std::move(plans)}});
  }
  return j.dump(1) + "\n";
}

PlanBook read_book(std::string_view text, const std::string& context) {
  const Json j = parse_json(text, context, {.bytes = std::size_t{16} << 20, .depth = 8});
  only(j, {"version", "links", "groups"}, context);
  if (const auto version = get<std::int64_t>(j, "version", context); version != kVersion)
    refuse(context, "\"version\" is {}, this program reads {}", version, kVersion);
  PlanBook book;
  book.links = read_links(member(j, "links", context), context + ", links");
  const Json& groups = member(j, "groups", context);
  if (!groups.is_array() || groups.size() > kMostGroups)
    refuse(context, "\"groups\" must be a list of at most {} groups", kMostGroups);
  for (const Json& g : groups) {
    only(g, {"group", "size", "tree", "plans"}, context + ", a group");
    GroupPlans plans;
    plans.group = get<std::string>(g, "group", context + ", a group");
    const std::string where = fmt::format("{}, the {}", context, plans.group);
    plans.size = get<int>(g, "size", where);
    if (plans.size < 1 || plans.size > kMostMembers)
      refuse(where, "\"size\" = {} is not from 1 to {}", plans.size, kMostMembers);
    if (book.find(plans.group, plans.size)) refuse(where, "{} members are there twice", plans.size);
    plans.tree = read_tree(g, plans.size, where);
    const Json& kinds = member(g, "plans", where);
    std::set<std::string_view> names;
    for (const CollectiveKind kind : kKinds) names.insert(name_of(kind));
    only(kinds, names, where);
    for (const CollectiveKind kind : kKinds) {
      const std::string name(name_of(kind));
      plans.ranges[at(kind)] = read_ranges(member(kinds, name.c_str(), where), kind, where + ", " + name);
    }
    book.groups.push_back(std::move(plans));
  }
  return book;
}

bool is_other_form(std::string_view text, const std::string& context) {
  const Json j = parse_json(text, context);
  return !j.is_object() || !j.contains("version");
}

std::string book_table(const PlanBook& book) {
  std::string s = fmt::format("{:<15} {:<15} {:>10} {:>10}  {:<14} {:>9}  {}\n", "group", "collective", "from", "to",
                              "algorithm", "pieces", "predicted");
  const auto bytes = [](std::int64_t n) { return format_bytes(static_cast<double>(n)); };
  for (const GroupPlans& g : book.groups)
    for (const CollectiveKind kind : kKinds) {
      std::int64_t from = 0;
      for (const PlanRange& range : g.ranges[at(kind)]) {
        const bool last = range.up_to == PlanRange::kAnySize;
        const bool pieces = range.recipe.piece_bytes > 0;
        s += fmt::format("{:<15} {:<15} {:>10} {:>10}  {:<14} {:>9}  {}\n", fmt::format("{} {}", g.group, g.size),
                         name_of(kind), bytes(from), last ? "-" : bytes(range.up_to), range.recipe.algorithm,
                         pieces ? bytes(range.recipe.piece_bytes) : "-",
                         range.seconds > 0 ? format_seconds(range.seconds) : "-");
        from = last ? from : range.up_to + 1;
      }
    }
  return s;
}

}  // namespace banyan::comm
