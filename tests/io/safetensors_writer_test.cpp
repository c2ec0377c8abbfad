#include "io/safetensors_writer.hpp"

#include <gtest/gtest.h>

#include "io/safetensors.hpp"
#include "src/base/error.hpp"
#include "tests/temp_dir.hpp"

namespace banyan {
namespace {

TEST(SafetensorsWriter, WritesTheLayoutOfThePythonPackage) {
  test::TempDir dir;
  const std::filesystem::path path = dir / "model.safetensors";
  io::SafetensorsWriter writer(path, {{"b", {2}}, {"a", {1, 2}}});
  const std::vector<float> a{1, 2}, b{3, 4};
  writer.write("b", 1, std::span(b).subspan(1));
  writer.write("a", 0, a);
  writer.write("b", 0, std::span(b).first(1));
  EXPECT_FALSE(io::path_exists(path));
  writer.commit();
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},)"
      R"("b":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}})";
  const std::string text = io::read_limited(path, 1 << 20);
  const auto length = static_cast<std::size_t>(static_cast<unsigned char>(text[0]));
  EXPECT_EQ(length % 8, 0u);
  EXPECT_GE(length, header.size());
  EXPECT_EQ(text.substr(8, header.size()), header);
  EXPECT_EQ(text.substr(8 + header.size(), length - header.size()), std::string(length - header.size(), ' '));
  EXPECT_EQ(text.size(), 8 + length + 16);

  const io::Safetensors back(path);
  std::vector<float> values(2);
  back.read(*back.find("b"), 0, values);
  EXPECT_EQ(values, b);
  back.read(*back.find("a"), 0, values);
  EXPECT_EQ(values, a);
}

TEST(SafetensorsWriter, NothingAppearsUnlessEverythingIsWritten) {
  test::TempDir dir;
  const std::filesystem::path path = dir / "model.safetensors";
  {
    io::SafetensorsWriter writer(path, {{"a", {2}}});
    const std::vector<float> one{1};
    writer.write("a", 0, one);
    EXPECT_THROW(writer.write("b", 0, one), BugError);
    EXPECT_THROW(writer.write("a", 2, one), BugError);
    EXPECT_THROW(writer.commit(), BugError);
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
  EXPECT_THROW(io::SafetensorsWriter(path, {{"a", {2}}, {"a", {2}}}), BugError);
}

}  // namespace
}  // namespace banyan
