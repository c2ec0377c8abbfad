#include "comm/topology/host_list.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>

#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

constexpr std::size_t kLongestName = 256;  // bytes
constexpr std::size_t kMostDigits = 18;

/// Numbers first .. last, written with at least `width` digits.
struct Range {
  std::uint64_t first, last;
  std::size_t width;
  std::uint64_t count() const { return last - first + 1; }
};
/// Text, then the numbers that follow it; none: the text alone.
struct Part {
  std::string text;
  std::vector<Range> ranges;
};

class Reader {
 public:
  Reader(std::string_view text, std::size_t most) : text_(text), most_(most) {}

  std::vector<std::string> read() {
    std::vector<std::string> names;
    if (text_.empty()) return names;
    while (true) {
      add_names(read_name(), names);
      if (at_ == text_.size()) return names;
      ++at_;  // the comma
      if (at_ == text_.size()) fail("nothing follows the last comma");
    }
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    const std::size_t from = at_ > 20 ? at_ - 20 : 0;
    throw DataError("host list: {} at character {} (near '{}')", what, at_ + 1, text_.substr(from, 40));
  }
  bool at(char c) const { return at_ < text_.size() && text_[at_] == c; }

  std::vector<Part> read_name() {
    std::vector<Part> parts;
    Part part;
    while (at_ < text_.size() && text_[at_] != ',') {
      const char c = text_[at_];
      if (c == ']') fail("']' without '['");
      if (c == '[') {
        ++at_;
        read_ranges(part);
        parts.push_back(std::move(part));
        part = {};
        continue;
      }
      if (static_cast<unsigned char>(c) <= ' ' || c == '"' || c == 127) fail("a character that no host name has");
      part.text += c;
      if (part.text.size() > kLongestName) fail("a name of more than 256 characters");
      ++at_;
    }
    if (!part.text.empty() || parts.empty()) parts.push_back(std::move(part));
    if (parts.size() == 1 && parts[0].text.empty() && parts[0].ranges.empty()) fail("an empty name");
    return parts;
  }

  void read_ranges(Part& part) {
    while (true) {
      const std::string_view first = digits();
      std::string_view last = first;
      if (at('-')) {
        ++at_;
        last = digits();
      }
      const Range range{number(first), number(last), first.size()};
      if (range.last < range.first) fail("a range that ends before it begins");
      part.ranges.push_back(range);
      if (at(']')) {
        ++at_;
        return;
      }
      if (!at(',')) fail(at_ == text_.size() ? "'[' without ']'" : "',' or ']' expected");
      ++at_;
    }
  }
  std::string_view digits() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
    if (at_ == begin) fail(at_ == text_.size() ? "'[' without ']'" : "a number expected");
    if (at_ - begin > kMostDigits) fail("a number of more than 18 digits");
    return text_.substr(begin, at_ - begin);
  }
  static std::uint64_t number(std::string_view digits) {
    std::uint64_t value = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return value;
  }

  void add_names(const std::vector<Part>& parts, std::vector<std::string>& names) const {
    std::uint64_t count = 1, length = 0;
    for (const Part& p : parts) {
      std::uint64_t choices = p.ranges.empty() ? 1 : 0;
      for (const Range& r : p.ranges) choices = std::min<std::uint64_t>(choices + r.count(), most_ + 1);
      count = std::min<std::uint64_t>(count * choices, most_ + 1);  // both at most 2^32 or so
      length += p.text.size() + kMostDigits;
    }
    if (count + names.size() > most_) fail("more than " + std::to_string(most_) + " names");
    if (length > 4 * kLongestName) fail("a name of more than 256 characters");
    std::string name;
    add_from(parts, 0, name, names);
  }
  static void add_from(const std::vector<Part>& parts, std::size_t i, std::string& name,
                       std::vector<std::string>& names) {
    if (i == parts.size()) {
      names.push_back(name);
      return;
    }
    const std::size_t before = name.size();
    name += parts[i].text;
    if (parts[i].ranges.empty()) add_from(parts, i + 1, name, names);
    const std::size_t with_text = name.size();
    for (const Range& r : parts[i].ranges)
      for (std::uint64_t n = r.first; n <= r.last; ++n) {
        const std::string digits = std::to_string(n);
        if (digits.size() < r.width) name.append(r.width - digits.size(), '0');
        name += digits;
        add_from(parts, i + 1, name, names);
        name.resize(with_text);
      }
    name.resize(before);
  }

  const std::string_view text_;
  const std::size_t most_;
  std::size_t at_ = 0;
};

/// A name cut at its last number.
struct Cut {
  std::string_view before, digits, after;
  std::uint64_t number = 0;
};

Cut cut(std::string_view name) {
  std::size_t end = name.size();
  while (end > 0 && (name[end - 1] < '0' || name[end - 1] > '9')) --end;
  std::size_t begin = end;
  while (begin > 0 && name[begin - 1] >= '0' && name[begin - 1] <= '9' && end - begin < kMostDigits) --begin;
  Cut c{name.substr(0, begin), name.substr(begin, end - begin), name.substr(end)};
  std::from_chars(c.digits.data(), c.digits.data() + c.digits.size(), c.number);
  return c;
}

/// Whether the number is written as a bracket with numbers of `width` digits would write it.
bool fits(const Cut& c, std::size_t width) {
  return c.digits.size() == width || (c.digits.size() > width && c.digits.front() != '0');
}

}  // namespace

std::vector<std::string> expand_host_list(std::string_view text, std::size_t most) { return Reader(text, most).read(); }

std::string fold_host_list(const std::vector<std::string>& names) {
  std::string result;
  for (std::size_t i = 0; i < names.size();) {
    const Cut first = cut(names[i]);
    std::string ranges;
    std::size_t next = i;
    while (next < names.size()) {
      const Cut run = cut(names[next]);
      if (run.digits.empty() || run.before != first.before || run.after != first.after) break;
      std::size_t last = next;  // of numbers that follow each other, written with the digits of the first
      while (last + 1 < names.size()) {
        const Cut c = cut(names[last + 1]);
        if (c.before != run.before || c.after != run.after || c.number != run.number + (last + 1 - next) ||
            !fits(c, run.digits.size()))
          break;
        ++last;
      }
      if (!ranges.empty()) ranges += ",";
      ranges += run.digits;
      if (last > next) ranges += "-" + std::string(cut(names[last]).digits);
      next = last + 1;
    }
    if (!result.empty()) result += ",";
    if (next <= i + 1) {
      result += names[i++];
      continue;
    }
    result += std::string(first.before) + "[" + ranges + "]" + std::string(first.after);
    i = next;
  }
  return result;
}

}  // namespace banyan::comm
