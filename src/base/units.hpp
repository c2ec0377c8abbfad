// Numbers as people write and read them.  Parsing is exact or refused; formatting is for eyes, except exact_*().
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace banyan {

/// 999, 1.24k, 1.24M, 124M, 1.3G: three significant digits, powers of 1000.
std::string format_count(double value);
/// 512 B, 1.5 KiB, 64 MiB, 1.25 GiB: powers of 1024.
std::string format_bytes(double bytes);
/// "12.5 GB/s", in powers of ten as networks are sold.
std::string format_rate(double bytes_per_second);
/// 3.2 us, 850 ms, 12.3 s, 4 min 05 s, 2 h 10 min, 3 d 4 h.
std::string format_seconds(double seconds);

/// Whole number with an optional k, M, G or T (powers of 1000): "500", "2k", "1.5M" (must come out whole).
std::optional<std::int64_t> parse_count(std::string_view text);
/// Whole number of bytes: "1024", "64KiB", "1.5 GiB", "25MB" (powers of 1000), "10B".  Must come out whole.
std::optional<std::int64_t> parse_bytes(std::string_view text);
/// Seconds: "20s", "500ms", "10 min", "2h", "1d"; a bare number is seconds.
std::optional<double> parse_time(std::string_view text);
/// A finite number in C locale notation, all of the text.
std::optional<double> parse_real(std::string_view text);

/// Shortest text that parse_real reads back to the same bits.
std::string exact_real(double value);
/// Text that parse_bytes reads back to the same value, with the largest unit that divides it ("25MiB").
std::string exact_bytes(std::int64_t bytes);
/// Text that parse_time reads back to the same bits ("20s", "0.5s").
std::string exact_time(double seconds);

}  // namespace banyan
