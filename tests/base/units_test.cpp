#include "src/base/units.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace banyan {
namespace {

TEST(Units, CountsAreExactOrRefused) {
  EXPECT_EQ(parse_count("500"), 500);
  EXPECT_EQ(parse_count("2k"), 2000);
  EXPECT_EQ(parse_count("1.5M"), 1500000);
  EXPECT_EQ(parse_count(" -3 "), -3);
  EXPECT_EQ(parse_count("0.1G"), 100000000);
  EXPECT_EQ(parse_count("9223372036854775807"), std::numeric_limits<std::int64_t>::max());
  for (const char* bad : {"", "k", "1.5", "1.0001k", "2K", "12x", "9223372036854775808", "10000000000G", "0x10", "1 2",
                          "nan", "inf", "--1", "1e30"})
    EXPECT_EQ(parse_count(bad), std::nullopt) << bad;
}

TEST(Units, BytesKnowBothFamilies) {
  EXPECT_EQ(parse_bytes("64MiB"), 64 << 20);
  EXPECT_EQ(parse_bytes("1.5 GiB"), 3ll << 29);
  EXPECT_EQ(parse_bytes("25MB"), 25000000);
  EXPECT_EQ(parse_bytes("10B"), 10);
  EXPECT_EQ(parse_bytes("64Mib"), std::nullopt);
  EXPECT_EQ(parse_bytes("0.3KiB"), std::nullopt);
}

TEST(Units, TimesAreSeconds) {
  EXPECT_EQ(parse_time("20s"), 20.0);
  EXPECT_EQ(parse_time("500ms"), 0.5);
  EXPECT_EQ(parse_time("10 min"), 600.0);
  EXPECT_EQ(parse_time("2h"), 7200.0);
  EXPECT_EQ(parse_time("1d"), 86400.0);
  EXPECT_EQ(parse_time("7"), 7.0);
  EXPECT_EQ(parse_time("7 weeks"), std::nullopt);
}

TEST(Units, ExactTextReadsBackToTheSameBits) {
  for (const double v : {0.1, 1e-5, 1.0 / 3, 6e-4, 1e300, 5e-324, -0.0, 20.0}) {
    EXPECT_EQ(parse_real(exact_real(v)), v);
    EXPECT_EQ(parse_time(exact_time(v)), v);
  }
  for (const std::int64_t v : {0ll, 1ll, 1024ll, 25ll << 20, 3ll << 29, (1ll << 50) + 1, -2048ll})
    EXPECT_EQ(parse_bytes(exact_bytes(v)), v) << exact_bytes(v);
  EXPECT_EQ(exact_bytes(25 << 20), "25MiB");
}

TEST(Units, FormatsForEyes) {
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_count(999), "999");
  EXPECT_EQ(format_count(1240), "1.24k");
  EXPECT_EQ(format_count(124439808), "124M");
  EXPECT_EQ(format_count(999600), "1.00M");
  EXPECT_EQ(format_bytes(512), "512 B");
  EXPECT_EQ(format_bytes(1536), "1.50 KiB");
  EXPECT_EQ(format_bytes(64 << 20), "64 MiB");
  EXPECT_EQ(format_seconds(0.85), "850 ms");
  EXPECT_EQ(format_seconds(3.2e-6), "3.20 us");
  EXPECT_EQ(format_seconds(12.34), "12.3 s");
  EXPECT_EQ(format_seconds(245), "4 min 05 s");
  EXPECT_EQ(format_seconds(7800), "2 h 10 min");
  EXPECT_EQ(format_seconds(273600), "3 d 4 h");
}

TEST(Units, RatesAreInPowersOfTen) {
  EXPECT_EQ(format_rate(12.5e9), "12.5 GB/s");
  EXPECT_EQ(format_rate(50e6), "50 MB/s");
  EXPECT_EQ(format_rate(1500), "1.5 kB/s");
}

}  // namespace
}  // namespace banyan
