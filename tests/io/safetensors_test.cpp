#include "io/safetensors.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>

#include "src/base/error.hpp"
#include "src/base/rng.hpp"
#include "tests/temp_dir.hpp"

namespace banyan {
namespace {

std::string file_text(const std::string& header, std::size_t data_bytes) {
  std::string text;
  for (std::size_t i = 0; i < 8; ++i) text += static_cast<char>(header.size() >> (8 * i) & 0xFF);
  return text + header + std::string(data_bytes, '\0');
}

void put(const std::filesystem::path& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

const std::string kGood =
    R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
    R"("a":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},"c":{"dtype":"I64","shape":[],"data_offsets":[32,40]},)"
    R"("e":{"dtype":"F16","shape":[0,7],"data_offsets":[40,40]}})";

std::vector<io::SafeTensor> parse(const std::string& header, std::int64_t bytes) {
  return io::parse_safetensors_header(header, bytes, "test");
}

TEST(Safetensors, AGoodHeaderIsReadInTheOrderOfPlaces) {
  const auto tensors = parse(kGood, 40);
  ASSERT_EQ(tensors.size(), 4u);
  EXPECT_EQ(tensors[0].name, "b");
  EXPECT_EQ(tensors[0].shape, (Shape{2, 3}));
  EXPECT_EQ(tensors[1].name, "a");
  EXPECT_EQ(tensors[2].shape.rank(), 0);
  EXPECT_EQ(tensors[3].end, 40);
}

TEST(Safetensors, HostileHeadersAreRefused) {
  const auto one = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return R"({"x":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
  };
  const std::vector<std::pair<std::string, std::int64_t>> bad{
      {"", 0},
      {"[]", 0},
      {"{", 0},
      {"{} x", 0},
      {kGood, 39},                                              // cut off
      {kGood, 41},                                              // bytes nobody describes
      {one("\"F31\"", "[2]", "[0,8]"), 8},                      // no such type
      {one("7", "[2]", "[0,8]"), 8},                            // type of the wrong type
      {one("\"F32\"", "[2]", "[0,9]"), 9},                      // size and shape differ
      {one("\"F32\"", "[-2]", "[0,8]"), 8},                     // negative
      {one("\"F32\"", "[2.0]", "[0,8]"), 8},                    // no whole number
      {one("\"F32\"", "[18446744073709551615]", "[0,8]"), 8},   // beyond 63 bits
      {one("\"F32\"", "[4294967296,4294967296]", "[0,0]"), 0},  // the product wraps to 0
      {one("\"F32\"", "[4611686018427387905]", "[0,4]"), 4},    // the bytes wrap to 4
      {one("\"F32\"", "[1,1,1,1,1,2]", "[0,8]"), 8},            // axes
      {one("\"F32\"", "2", "[0,8]"), 8},                        // no list
      {one("\"F32\"", "[2]", "[8,0]"), 8},                      // backwards
      {one("\"F32\"", "[2]", "[-8,0]"), 8},                     // before the file
      {one("\"F32\"", "[2]", "[0,8,8]"), 8},                    // three
      {one("\"F32\"", "[2]", "[8,16]"), 16},                    // a gap in front
      {one("\"F32\"", "[2]", "[9223372036854775800,9223372036854775808]"), 8},
      {R"({"x":{"dtype":"F32","shape":[2]}})", 8},
      {R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"more":1}})", 8},
      {R"({"":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8},
      {R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
       8},
      {R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"y":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
       12},
      {R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"y":{"dtype":"F32","shape":[1],"data_offsets":[12,16]}})",
       16},
      {R"({"__metadata__":{"format":7}})", 0},
      {R"({"__metadata__":"pt"})", 0},
      {R"({"x":[[[[[[[[]]]]]]]]})", 0},
  };
  for (const auto& [header, bytes] : bad) EXPECT_THROW(parse(header, bytes), DataError) << header;
}

TEST(Safetensors, DamagedHeadersEndInADataErrorOrAValidTable) {
  for (std::uint64_t round = 0; round < 4000; ++round) {
    std::string header = kGood;
    for (std::uint64_t i = 0; i <= round % 3; ++i) {
      const std::uint64_t bits = rng::mix(round, i);
      const std::size_t at = bits % header.size();
      switch (bits >> 32 & 3) {
        case 0:
          header[at] = static_cast<char>(bits >> 40 & 0xFF);
          break;
        case 1:
          header.erase(at, 1 + (bits >> 40 & 7));
          break;
        case 2:
          header.insert(at, 1, "0123456789-\"[]{},:e"[bits >> 40 & 15]);
          break;
        default:
          header.insert(at, header.substr((bits >> 40) % header.size(), 5));
          break;
      }
    }
    try {
      std::int64_t sum = 0;
      for (const io::SafeTensor& t : parse(header, 40)) sum += t.end - t.begin;
      EXPECT_EQ(sum, 40) << header;
    } catch (const DataError&) {
    }
  }
}

TEST(Safetensors, DamagedFilesAreRefused) {
  test::TempDir dir;
  const std::filesystem::path path = dir / "model.safetensors";
  const std::string good = file_text(kGood, 40);
  for (std::size_t cut = 0; cut < good.size(); ++cut) {
    put(path, good.substr(0, cut));
    EXPECT_THROW(io::Safetensors{path}, DataError) << cut;
  }
  put(path, std::string(8, '\xFF') + good);
  EXPECT_THROW(io::Safetensors{path}, DataError);
  put(path, good);
  EXPECT_EQ(io::Safetensors(dir.path()).tensors().size(), 4u);
  EXPECT_THROW(io::Safetensors(dir / "missing"), DataError);
}

TEST(Safetensors, HalfAndBfloatAreReadExactly) {
  test::TempDir dir;
  std::string data;
  const auto add = [&](std::initializer_list<unsigned> values) {
    for (const unsigned v : values) data += {static_cast<char>(v & 0xFF), static_cast<char>(v >> 8)};
  };
  add({0x3C00, 0xC000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0x7C00, 0x8000});
  add({0x3F80, 0xC040, 0x7F80, 0x0001});
  const std::string header =
      R"({"h":{"dtype":"F16","shape":[8],"data_offsets":[0,16]},"b":{"dtype":"BF16","shape":[2,2],"data_offsets":[16,24]}})";
  put(dir / "x.safetensors", file_text(header, 0) + data);
  const io::Safetensors file(dir / "x.safetensors");
  std::vector<float> h(8), b(3);
  file.read(*file.find("h"), 0, h);
  const std::vector<float> want{
      1.0f, -2.0f, 0x1p-24f, -1023 * 0x1p-24f, 0x1p-14f, 65504.0f, std::numeric_limits<float>::infinity(), -0.0f};
  EXPECT_EQ(h, want);
  EXPECT_TRUE(std::signbit(h[7]));
  file.read(*file.find("b"), 1, b);
  EXPECT_EQ(b[0], -3.0f);
  EXPECT_TRUE(std::isinf(b[1]));
  EXPECT_EQ(b[2], 0x1p-133f);
  EXPECT_THROW(file.read(*file.find("b"), 2, b), BugError);
}

TEST(Safetensors, OtherTypesAreNotReadAsNumbers) {
  test::TempDir dir;
  put(dir / "x.safetensors", file_text(kGood, 40));
  const io::Safetensors file(dir / "x.safetensors");
  std::vector<float> one(1);
  EXPECT_THROW(file.read(*file.find("c"), 0, one), DataError);
}

TEST(Safetensors, AnIndexMustFitItsFiles) {
  test::TempDir dir;
  const auto tensor = [](const std::string& name) {
    return R"({")" + name + R"(":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  };
  put(dir / "one.safetensors", file_text(tensor("x"), 8));
  put(dir / "two.safetensors", file_text(tensor("y"), 8));
  put(dir / "again.safetensors", file_text(tensor("x"), 8));
  const auto index = [&](const std::string& map) {
    put(dir / "model.safetensors.index.json", R"({"metadata":{"total_size":16},"weight_map":)" + map + "}");
  };
  index(R"({"x":"one.safetensors","y":"two.safetensors"})");
  EXPECT_EQ(io::Safetensors(dir.path()).tensors().size(), 2u);
  for (const char* map :
       {R"({"x":"two.safetensors","y":"one.safetensors"})", R"({"x":"one.safetensors","z":"two.safetensors"})",
        R"({"x":"one.safetensors","y":"missing.safetensors"})", R"({"x":"../one.safetensors"})",
        R"({"x":"/etc/passwd"})", R"({"x":7})", "[]", R"({"x":"one.safetensors","y":"again.safetensors"})",
        R"({"x":"one.safetensors","q":"one.safetensors"})"}) {
    index(map);
    EXPECT_THROW(io::Safetensors{dir.path()}, DataError) << map;
  }
}

}  // namespace
}  // namespace banyan
