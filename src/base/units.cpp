#include "src/base/units.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <limits>

namespace banyan {
namespace {

struct Unit {
  std::string_view name;
  double factor;
};
constexpr std::array<Unit, 4> kCounts{{{"k", 1e3}, {"M", 1e6}, {"G", 1e9}, {"T", 1e12}}};
constexpr std::array<Unit, 9> kBytes{{{"B", 1},
                                      {"KiB", 1024},
                                      {"MiB", 1048576},
                                      {"GiB", 1073741824},
                                      {"TiB", 1099511627776},
                                      {"KB", 1e3},
                                      {"MB", 1e6},
                                      {"GB", 1e9},
                                      {"TB", 1e12}}};
constexpr std::array<Unit, 6> kTimes{{{"us", 1e-6}, {"ms", 1e-3}, {"s", 1}, {"min", 60}, {"h", 3600}, {"d", 86400}}};

std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

/// The number in front and the unit behind it.
std::optional<std::pair<std::string_view, std::string_view>> split(std::string_view text) {
  text = trim(text);
  double ignored = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), ignored);
  if (error == std::errc::invalid_argument) return std::nullopt;
  const auto length = static_cast<std::size_t>(end - text.data());
  return std::pair{text.substr(0, length), trim(text.substr(length))};
}

std::optional<std::int64_t> whole(std::string_view number, double factor) {
  std::int64_t n = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), n);
  if (error == std::errc() && end == number.data() + number.size()) {
    std::int64_t product = 0;
    if (__builtin_mul_overflow(n, static_cast<std::int64_t>(factor), &product)) return std::nullopt;
    return product;
  }
  const std::optional<double> real = parse_real(number);
  if (!real) return std::nullopt;
  const double value = *real * factor;  // exact below 2^53, beyond which a fraction is refused
  if (std::abs(value) > 0x1p53 || value != std::floor(value)) return std::nullopt;
  return static_cast<std::int64_t>(value);
}

template <std::size_t N>
std::optional<std::int64_t> whole_with_unit(std::string_view text, const std::array<Unit, N>& units) {
  const auto parts = split(text);
  if (!parts) return std::nullopt;
  if (parts->second.empty()) return whole(parts->first, 1);
  for (const Unit& u : units)
    if (parts->second == u.name) return whole(parts->first, u.factor);
  return std::nullopt;
}

/// Three significant digits without an exponent.
std::string three_digits(double v) {
  const double a = std::abs(v);
  if (a >= 99.95 || v == std::floor(v)) return fmt::format("{:.0f}", v);
  return a >= 9.995 ? fmt::format("{:.1f}", v) : fmt::format("{:.2f}", v);
}

}  // namespace

std::string format_count(double value) {
  if (!std::isfinite(value)) return fmt::format("{}", value);
  static constexpr std::array<const char*, 5> kNames{"", "k", "M", "G", "T"};
  std::size_t i = 0;
  while (std::abs(value) >= 999.5 && i + 1 < kNames.size()) value /= 1000, ++i;
  return three_digits(value) + kNames[i];
}

std::string format_bytes(double bytes) {
  if (!std::isfinite(bytes)) return fmt::format("{} B", bytes);
  static constexpr std::array<const char*, 6> kNames{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  std::size_t i = 0;
  while (std::abs(bytes) >= 1023.5 && i + 1 < kNames.size()) bytes /= 1024, ++i;
  return three_digits(bytes) + " " + kNames[i];
}

std::string format_rate(double rate) {
  return rate >= 1e9   ? fmt::format("{:.4g} GB/s", rate * 1e-9)
         : rate >= 1e6 ? fmt::format("{:.4g} MB/s", rate * 1e-6)
                       : fmt::format("{:.4g} kB/s", rate * 1e-3);
}

std::string format_seconds(double s) {
  if (!std::isfinite(s)) return fmt::format("{} s", s);
  if (s < 0) return "-" + format_seconds(-s);
  if (s == 0) return "0 s";
  if (s < 999.5e-6) return three_digits(s * 1e6) + " us";
  if (s < 0.9995) return three_digits(s * 1e3) + " ms";
  if (s < 59.95) return three_digits(s) + " s";
  const auto t = static_cast<std::int64_t>(std::llround(s));
  if (t < 3600) return fmt::format("{} min {:02} s", t / 60, t % 60);
  if (t < 86400) return fmt::format("{} h {:02} min", t / 3600, t % 3600 / 60);
  return fmt::format("{} d {} h", t / 86400, t % 86400 / 3600);
}

std::optional<std::int64_t> parse_count(std::string_view text) { return whole_with_unit(text, kCounts); }
std::optional<std::int64_t> parse_bytes(std::string_view text) { return whole_with_unit(text, kBytes); }

std::optional<double> parse_time(std::string_view text) {
  const auto parts = split(text);
  if (!parts) return std::nullopt;
  const std::optional<double> number = parse_real(parts->first);
  if (!number || parts->second.empty()) return number;
  for (const Unit& u : kTimes)
    if (parts->second == u.name) return *number * u.factor;
  return std::nullopt;
}

std::optional<double> parse_real(std::string_view text) {
  text = trim(text);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::string exact_real(double value) { return fmt::format("{}", value); }

std::string exact_bytes(std::int64_t bytes) {
  static constexpr std::array<std::pair<const char*, int>, 4> kShifts{
      {{"TiB", 40}, {"GiB", 30}, {"MiB", 20}, {"KiB", 10}}};
  for (const auto& [name, shift] : kShifts)
    if (bytes != 0 && bytes % (std::int64_t{1} << shift) == 0) return fmt::format("{}{}", bytes >> shift, name);
  return fmt::format("{}", bytes);
}

std::string exact_time(double seconds) { return exact_real(seconds) + "s"; }

}  // namespace banyan
