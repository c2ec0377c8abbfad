#include "src/config/scan.hpp"

#include <algorithm>

#include "src/base/error.hpp"

namespace banyan::config {
namespace {

bool is_space(char c) { return c == ' ' || c == '\t'; }
bool is_control(char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f; }
bool is_name(std::string_view s) {
  return !s.empty() && std::all_of(s.begin(), s.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

std::string_view trim(std::string_view s) {
  while (!s.empty() && is_space(s.front())) s.remove_prefix(1);
  while (!s.empty() && is_space(s.back())) s.remove_suffix(1);
  return s;
}

std::string_view without_comment(std::string_view s) {
  for (std::size_t i = 0; i < s.size(); ++i)
    if (s[i] == '#' && (i == 0 || is_space(s[i - 1]))) return trim(s.substr(0, i));
  return trim(s);
}

class Scanner {
 public:
  Scanner(std::string_view text, const std::string& name) : text_(text), name_(name) {
    if (text_.substr(0, 3) == "\xEF\xBB\xBF") text_.remove_prefix(3);
  }

  std::vector<Entry> run() {
    while (!text_.empty()) {
      ++line_;
      const std::size_t end = std::min(text_.find('\n'), text_.size());
      std::string_view row = text_.substr(0, end);
      text_.remove_prefix(std::min(end + 1, text_.size()));
      if (!row.empty() && row.back() == '\r') row.remove_suffix(1);
      if (std::any_of(row.begin(), row.end(), is_control))
        throw ConfigError("{}:{}: the line holds a control character; a config is plain text", name_, line_);
      read(trim(row));
    }
    return std::move(entries_);
  }

 private:
  void read(std::string_view row) {
    if (row.empty() || row[0] == '#') return;
    if (row[0] == '[') return read_section(without_comment(row));
    const std::size_t equals = row.find('=');
    if (equals == std::string_view::npos)
      throw ConfigError("{}:{}: \"{}\" is neither [section] nor key = value", name_, line_, row);
    const std::string_view key = trim(row.substr(0, equals));
    if (!is_name(key)) {
      throw ConfigError(
          "{}:{}: \"{}\" is no name of a key; write letters, digits and _ before the =, and the section as "
          "[section] on a line of its own",
          name_, line_, key);
    }
    if (section_.empty())
      throw ConfigError("{}:{}: {} stands before the first [section]; put its section above it", name_, line_, key);
    Entry entry{section_, std::string(key), value(trim(row.substr(equals + 1))), line_};
    for (const Entry& e : entries_) {
      if (e.section == entry.section && e.key == entry.key)
        throw ConfigError("{}:{}: {} was set on line {} already; keep one of the two", name_, line_, entry.full(),
                          e.line);
    }
    entries_.push_back(std::move(entry));
  }

  void read_section(std::string_view row) {
    if (row.back() != ']' || !is_name(trim(row.substr(1, row.size() - 2))))
      throw ConfigError("{}:{}: \"{}\" is no section; write [name]", name_, line_, row);
    section_ = trim(row.substr(1, row.size() - 2));
  }

  std::string value(std::string_view raw) const {
    if (raw.empty() || raw[0] != '"') return std::string(without_comment(raw));
    std::string out;
    for (std::size_t i = 1; i < raw.size(); ++i) {
      if (raw[i] == '"') {
        const std::string_view rest = trim(raw.substr(i + 1));
        if (!rest.empty() && rest[0] != '#')
          throw ConfigError("{}:{}: there is text behind the closing quote: {}", name_, line_, rest);
        return out;
      }
      if (raw[i] != '\\') {
        out += raw[i];
        continue;
      }
      const char c = ++i < raw.size() ? raw[i] : '\0';
      switch (c) {
        case 'n':
          out += '\n';
          break;
        case 'r':
          out += '\r';
          break;
        case 't':
          out += '\t';
          break;
        case '"':
        case '\\':
          out += c;
          break;
        default:
          throw ConfigError("{}:{}: inside quotes only \\\" \\\\ \\n \\r \\t may follow a backslash", name_, line_);
      }
    }
    throw ConfigError("{}:{}: the closing quote is missing", name_, line_);
  }

  std::string_view text_;
  const std::string& name_;
  int line_ = 0;
  std::string section_;
  std::vector<Entry> entries_;
};

}  // namespace

std::vector<Entry> scan(std::string_view text, const std::string& name) { return Scanner(text, name).run(); }

std::string quoted(const std::string& value) {
  const bool plain =
      value.empty() || (value[0] != '"' && !is_space(value.front()) && !is_space(value.back()) &&
                        value.find('#') == std::string::npos && std::none_of(value.begin(), value.end(), is_control));
  if (plain) return value;
  std::string out = "\"";
  for (const char c : value) {
    switch (c) {
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      default:
        out += c;
    }
  }
  return out + '"';
}

}  // namespace banyan::config
