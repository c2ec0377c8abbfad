#include "io/manifest.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <random>

#include "io/atomic_file.hpp"
#include "src/base/error.hpp"
#include "tests/io/checkpoint_fixture.hpp"

namespace banyan::io {
namespace {

using nlohmann::ordered_json;

Manifest example() {
  Manifest m = test::blank_manifest();
  m.base = {"step-000000003.e1", std::string(32, 'a')};
  m.files = {{"shard-00000.h5", 4096, std::string(32, '1')}, {"shard-00001.h5", 4096, std::string(32, '2')}};
  Tensor w{"w", TensorKind::kParam, DType::kF32, {4, 2}, {}};
  w.shards = {{0, 1024, {{0, 0}, {2, 2}}, 11}, {1, 1024, {{2, 0}, {2, 2}}, 12}};
  Tensor s{"scale", TensorKind::kM, DType::kBF16, {}, {}};
  s.shards = {{1, 2048, {}, 13}};
  m.tensors = {w, s};
  return m;
}

/// Text with a digest that fits, as somebody hostile would make it.
std::string sealed(const ordered_json& j) {
  ordered_json body = j;
  body.erase("digest");
  std::string s = body.dump();
  s.pop_back();
  s += ",\n";
  return s + "\"digest\": \"" + digest_bytes(s) + "\"\n}\n";
}

std::string error_of(const std::string& text) {
  try {
    parse_manifest(text, "M");
  } catch (const DataError& e) {
    return e.what();
  }
  return "";
}

TEST(Manifest, RoundTripIsCanonical) {
  const Manifest m = example();
  const std::string text = write_manifest(m);
  const Manifest back = parse_manifest(text, "M");
  EXPECT_EQ(write_manifest(back), text);
  EXPECT_EQ(back.tensors, m.tensors);
  EXPECT_EQ(back.files, m.files);
  EXPECT_EQ(back.base, m.base);
  EXPECT_EQ(back.extra, m.extra);
  EXPECT_EQ(back.config_text, m.config_text);
  EXPECT_EQ(back.digest.size(), 32u);
  EXPECT_NE(back.find(TensorKind::kM, "scale"), nullptr);
  EXPECT_EQ(back.find(TensorKind::kV, "scale"), nullptr);
  EXPECT_EQ(back.find(TensorKind::kParam, "nothing"), nullptr);
  ordered_json j = ordered_json::parse(text);  // plain JSON for everybody
  EXPECT_EQ(error_of(sealed(j)), "");
}

TEST(Manifest, TheWorkedExampleOfTheFormatIsOne) {
  const std::string doc = read_limited(std::string(BANYAN_SOURCE_DIR) + "/io/FORMAT.md", 1 << 20);
  const std::size_t begin = doc.find("```\n{\n\"format\"") + 4, end = doc.find("```", begin);
  ASSERT_LT(end, doc.size());
  const std::string text = doc.substr(begin, end - begin);
  EXPECT_EQ(error_of(text), "");
  EXPECT_EQ(write_manifest(parse_manifest(text, "FORMAT.md")), text);
}

TEST(Manifest, EveryTruncationAndBitFlipIsSeen) {
  const std::string text = write_manifest(example());
  for (std::size_t n = 0; n < text.size(); ++n) EXPECT_NE(error_of(text.substr(0, n)), "") << n;
  for (std::size_t bit = 0; bit < text.size() * 8; ++bit) {
    std::string flipped = text;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_NE(error_of(flipped), "") << bit;
  }
  EXPECT_NE(error_of(text + " "), "");
}

TEST(Manifest, SeedsDependOnRunStepNameAndPlace) {
  const Manifest m = example();
  Manifest other_run = m, other_step = m;
  other_run.run_uuid[0] = 'f';
  ++other_step.step;
  const Slab a{{0, 0}, {2, 2}}, b{{2, 0}, {2, 2}};
  const std::uint64_t seed = shard_seed(m, "param/w", a);
  EXPECT_NE(seed, shard_seed(other_run, "param/w", a));
  EXPECT_NE(seed, shard_seed(other_step, "param/w", a));
  EXPECT_NE(seed, shard_seed(m, "m/w", a));
  EXPECT_NE(seed, shard_seed(m, "param/w", b));
}

TEST(Manifest, HostileContentsAreRefused) {
  const ordered_json good = ordered_json::parse(write_manifest(example()));
  struct Case {
    const char* pointer;
    ordered_json value;
    const char* message;
  };
  const std::uint64_t two63 = std::uint64_t{1} << 63;
  const Case cases[] = {
      {"/format", 2, "format version 2"},
      {"/format", "1", "integer"},
      {"/step", -1, "range"},
      {"/step", two63, "range"},
      {"/step", 1.5, "integer"},
      {"/step", nullptr, "integer"},
      {"/epoch", ordered_json::array(), "integer"},
      {"/run", 5, "text"},
      {"/base", "x", "list"},
      {"/base", ordered_json::array({"x"}), "base"},
      {"/extra", ordered_json::array(), "object"},
      {"/extra/loss", 3, "text"},
      {"/unknown", 3, "members"},
      {"/files", 3, "list"},
      {"/files/0", "x", "list"},
      {"/files/0/0", "../../etc/passwd", "not allowed"},
      {"/files/0/0", "/etc/passwd", "not allowed"},
      {"/files/0/0", "a/b", "not allowed"},
      {"/files/0/0", "..", "not allowed"},
      {"/files/0/0", "", "not allowed"},
      {"/files/0/0", std::string(256, 'a'), "not allowed"},
      {"/files/0/0", "shard-00001.h5", "twice"},
      {"/files/0/1", -4096, "range"},
      {"/files/0/1", two63, "range"},
      {"/files/0/1", 1024, "beyond the end"},
      {"/files/0/2", "zz", "digest"},
      {"/tensors/0/name", "../w", "not allowed"},
      {"/tensors/0/name", "zz", ""},
      {"/tensors/0/kind", "q", "kind"},
      {"/tensors/0/kind", "v", "order"},
      {"/tensors/0/dtype", "f31", "dtype"},
      {"/tensors/0/shards/1/1", 4084, "beyond the end"},
      {"/tensors/0/shape", ordered_json::array({4, 0}), "at least 1"},
      {"/tensors/0/shape", ordered_json::array({4, -2}), "range"},
      {"/tensors/0/shape", ordered_json::array({8, 2}), "gap"},
      {"/tensors/0/shape", ordered_json::array({4}), "entries"},
      {"/tensors/0/shape", ordered_json::array({1, 1, 1, 1, 1, 1}), "at most 5"},
      {"/tensors/0/shape", ordered_json::array({std::int64_t{1} << 40, std::int64_t{1} << 40}), "impossible"},
      {"/tensors/0/shards", ordered_json::array(), "gap"},
      {"/tensors/0/shards/0/0", 2, "names file 2"},
      {"/tensors/0/shards/0/0", -1, "range"},
      {"/tensors/0/shards/0/1", two63, "range"},
      {"/tensors/0/shards/0/1", 4090, "beyond the end"},
      {"/tensors/0/shards/0/1", std::int64_t{1} << 61, "beyond the end"},
      {"/tensors/0/shards/0/2", 1, "overlap"},
      {"/tensors/0/shards/0/2", 3, "leaves the tensor"},
      {"/tensors/0/shards/0/4", 1, "gap"},
      {"/tensors/0/shards/0/4", 0, "at least 1"},
      {"/tensors/0/shards/0/6", "12", "checksum"},
      {"/tensors/0/shards/1", ordered_json::array({0, 1030, 2, 0, 2, 2, "000000000000000c"}), "share bytes"},
      {"/tensors/1/kind", "param", "order"},
      {"/tensors/2", good["tensors"][0], "order"},
  };
  for (const Case& c : cases) {
    ordered_json j = good;
    j[ordered_json::json_pointer(c.pointer)] = c.value;
    const std::string message = error_of(sealed(j));
    if (*c.message) {
      EXPECT_NE(message.find(c.message), std::string::npos) << c.pointer << " = " << c.value << ": " << message;
    }
  }
  for (const auto& [key, value] : good.items()) {
    if (key == "digest") continue;
    ordered_json j = good;
    j.erase(key);
    EXPECT_NE(error_of(sealed(j)), "") << key;
  }
}

/// Changes one value somewhere in the document.
void mutate(ordered_json& j, std::mt19937& random) {
  ordered_json* at = &j;
  while (at->is_structured() && !at->empty() && random() % 8 != 0) {
    auto child = at->begin();
    std::advance(child, static_cast<std::ptrdiff_t>(random() % at->size()));
    at = &*child;
  }
  const ordered_json values[] = {nullptr,
                                 true,
                                 -1,
                                 0,
                                 1,
                                 2,
                                 3,
                                 4096,
                                 (std::int64_t{1} << 62),
                                 INT64_MIN,
                                 UINT64_MAX,
                                 0.5,
                                 1e300,
                                 "",
                                 "w",
                                 "..",
                                 "0000000000000000",
                                 ordered_json::array(),
                                 ordered_json::object(),
                                 ordered_json::array({0, 1, 2})};
  switch (random() % 4) {
    case 0:
      *at = values[random() % std::size(values)];
      break;
    case 1:
      if (at->is_number())
        *at = std::abs(at->get<double>()) < 1e15 ? at->get<std::int64_t>() + static_cast<int>(random() % 5) - 2 : 7;
      break;
    case 2:
      if (at->is_array() && !at->empty()) at->push_back((*at)[random() % at->size()]);
      break;
    default:
      if (at->is_array() && !at->empty()) at->erase(at->size() - 1);
  }
}

// Whatever is in it: refused, or so sound that it can be written again to the same bytes.
TEST(Manifest, RandomContentsWithFittingDigestsNeverCrash) {
  std::mt19937 random(5);
  const ordered_json good = ordered_json::parse(write_manifest(example()));
  int accepted = 0;
  for (int round = 0; round < 4000; ++round) {
    ordered_json j = good;
    for (auto n = 1 + random() % 3; n > 0; --n) mutate(j, random);
    if (!j.is_object()) continue;
    const std::string text = sealed(j);
    try {
      const std::string again = write_manifest(parse_manifest(text, "M"));
      EXPECT_EQ(write_manifest(parse_manifest(again, "M")), again);
      ++accepted;
    } catch (const DataError&) {
    }
  }
  EXPECT_GT(accepted, 0);
}

TEST(Manifest, DeepNestingAndGarbage) {
  const std::string deep = "{\"format\": " + std::string(200000, '[') + std::string(200000, ']') + ",\n";
  EXPECT_NE(error_of(deep + "\"digest\": \"" + digest_bytes(deep) + "\"\n}\n").find("deep"), std::string::npos);
  for (const std::string body : {"", "{", "[]", "{\"format\": 1e400,\n", "\xff\xfe,\n", "{\"format\": 1,,\n"})
    EXPECT_NE(error_of(body + "\"digest\": \"" + digest_bytes(body) + "\"\n}\n"), "") << body;
}

}  // namespace
}  // namespace banyan::io
