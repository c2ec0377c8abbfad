#include "src/config/describe.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "src/base/error.hpp"
#include "src/base/nearest.hpp"
#include "src/config/keys.hpp"
#include "src/config/scan.hpp"

namespace banyan::config {
namespace {

const char* type_name(Type type) {
  switch (type) {
    case Type::kInt:
      return "whole number";
    case Type::kReal:
      return "number";
    case Type::kBool:
      return "true or false";
    case Type::kText:
      return "text";
    case Type::kBytes:
      return "bytes";
    case Type::kTime:
      return "time";
  }
  return "";
}

/// `text` broken at spaces into lines of at most `width`, each after `indent`.
std::string wrapped(const std::string& text, std::size_t indent, std::size_t width) {
  std::string out, line(indent, ' ');
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    const std::string word = text.substr(at, end - at);
    if (line.size() > indent && line.size() + 1 + word.size() > width) {
      out += line + "\n";
      line.assign(indent, ' ');
    }
    line += (line.size() > indent ? " " : "") + word;
    at = end + 1;
  }
  return out + line + "\n";
}

std::string allowed(const KeyInfo& k) {
  return k.allowed.empty() ? k.type : k.type == "text" ? k.allowed : k.type + ", " + k.allowed;
}

std::string escaped(std::string text) {
  for (std::size_t i = 0; (i = text.find('|', i)) != std::string::npos; i += 2) text.insert(i, "\\");
  return text;
}

}  // namespace

const std::vector<KeyInfo>& all_keys() {
  static const std::vector<KeyInfo> keys = [] {
    std::vector<KeyInfo> list;
    for (const KeyRow& r : key_rows())
      list.push_back({r.section, r.name, type_name(r.type), r.default_text, r.check.phrase, r.sentence});
    return list;
  }();
  return keys;
}

const std::vector<std::pair<std::string, std::string>>& all_sections() {
  static const std::vector<std::pair<std::string, std::string>> sections = [] {
    std::vector<std::pair<std::string, std::string>> list;
    for (const SectionRow& r : section_rows()) list.emplace_back(r.name, r.sentence);
    return list;
  }();
  return sections;
}

std::string help(std::string_view section) {
  std::string out;
  std::vector<std::string> names;
  for (const auto& [name, sentence] : all_sections()) {
    names.push_back(name);
    if (!section.empty() && section != name) continue;
    out += fmt::format("{}[{}]  {}\n", out.empty() ? "" : "\n", name, sentence);
    for (const KeyInfo& k : all_keys()) {
      if (k.section != name) continue;
      out += fmt::format("  --{}={}\n", k.full(), k.default_text);
      out += wrapped(fmt::format("{} ({})", k.sentence, allowed(k)), 6, 100);
    }
  }
  if (out.empty()) {
    const std::string best = nearest(section, names);
    throw UsageError("there is no section {}{}", section, best.empty() ? "" : "; did you mean " + best + "?");
  }
  return out;
}

std::string print_config(const LoadResult& loaded) {
  std::string out, section;
  for (const KeyRow& row : key_rows()) {
    if (row.section != section) {
      out += fmt::format("{}[{}]\n", section.empty() ? "" : "\n", row.section);
      section = row.section;
    }
    const std::string line = row.name + " = " + quoted(text_of(row.type, row.get(loaded.config)));
    out += fmt::format("{:<48}  # {}\n", line, loaded.origin.at(row.full()).str());
  }
  return out;
}

std::string reference() {
  std::string out =
      "# Configuration\n\n"
      "A config is an INI file: `[section]`, `key = value`, `#` starts a comment. The command line overrides the file, "
      "`--section.key=value`; the file overrides the default. An unknown key or a refused value ends the program with "
      "exit code 78 and a sentence; nothing is clipped or ignored. `banyan train CONFIG --print-config` shows every "
      "value "
      "and where it comes from.\n\n"
      "Whole numbers take k, M, G, T (powers of 1000), bytes take KiB, MiB, GiB, TiB or KB, MB, GB, TB, times take us, "
      "ms, "
      "s, min, h, d. A value with a `#` after a space, or with spaces at its ends, goes in double quotes.\n\n"
      "This page is generated: `banyan --print-reference > configs/README.md`; a test compares.\n";
  for (const auto& [name, sentence] : all_sections()) {
    out += fmt::format("\n## [{}] {}\n\n| key | default | takes | meaning |\n|---|---|---|---|\n", name, sentence);
    for (const KeyInfo& k : all_keys()) {
      if (k.section != name) continue;
      out +=
          fmt::format("| `{}` | {} | {} | {} |\n", k.full(), k.default_text.empty() ? "" : "`" + k.default_text + "`",
                      escaped(allowed(k)), escaped(k.sentence));
    }
  }
  return out;
}

}  // namespace banyan::config
