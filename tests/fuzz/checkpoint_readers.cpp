// Checkpoints.  What an attacker or an accident would have to make fit, sums and digests, is made to fit here, so that
// what lies behind those checks is reached as well.
#include <algorithm>
#include <cstdio>
#include <fstream>

#include "io/checkpoint_reader.hpp"
#include "io/checksum.hpp"
#include "io/lease.hpp"
#include "io/run_store.hpp"
#include "src/base/error.hpp"
#include "tests/fuzz/readers.hpp"
#include "tests/io/checkpoint_fixture.hpp"
#include "tests/temp_dir.hpp"

namespace banyan::fuzz {
namespace {

namespace fs = std::filesystem;

/// The text as a manifest ends: with the digest of what comes before.
std::string with_digest(std::string_view body) {
  return std::string(body) + "\"digest\": \"" + io::digest_bytes(body) + "\"\n}\n";
}

void read_manifest(std::string_view input) {
  const auto read = [](std::string_view text) {
    try {
      const io::Manifest m = io::parse_manifest(text, "input");
      const std::string written = io::write_manifest(m);
      must(io::write_manifest(io::parse_manifest(written, "written")) == written, "a manifest changes when written");
      for (const io::Tensor& t : m.tensors) must(m.find(t.kind, t.name) == &t, "a tensor is not found");
    } catch (const DataError&) {
    }
  };
  read(input);
  read(with_digest(input.substr(0, input.find("\"digest\": \""))));
}

/// A checkpoint whose second file is replaced.
struct Checkpoint {
  test::TempDir dir;
  std::vector<test::WholeTensor> model = test::small_model();
  io::Manifest manifest = test::write_small_checkpoint(dir / "c", model);
  fs::path shard = dir / "c" / "shard-00001.h5";
  std::string good = io::read_limited(shard, 1 << 20);
};

void read_shard(std::string_view input) {
  static Checkpoint c;
  put(c.shard, input);
  io::Manifest m = c.manifest;
  m.files[1].size = static_cast<std::int64_t>(input.size());
  const auto read_all = [&](const io::Manifest& manifest) {
    io::CheckpointReader reader(c.dir / "c", manifest);
    reader.check_files();
    for (const test::WholeTensor& t : c.model) {
      std::vector<float> values(t.values.size(), -1);
      try {
        reader.read(t.kind, t.name, test::whole(t.shape).offset, View(values.data(), t.shape));
        must(values == t.values, "other values than were saved count as read");
      } catch (const DataError&) {
      }
    }
    must(reader.verify_files().empty() == (input == c.good), "a damaged file is not noticed");
  };
  try {
    read_all(m);
    read_all(io::parse_manifest(io::write_manifest(m), "input"));
  } catch (const DataError&) {  // too short for its shards
  }
}

/// Lines "c STEP EPOCH", a commit, "m STEP EPOCH", one with a manifest, "t STEP EPOCH", one being written, "x STEP
/// EPOCH", a bad one, "b EPOCH TEXT", BASE of a lease, "o EPOCH TEXT", its OWNER, "l TEXT", LATEST.
void read_history(std::string_view input) {
  static const test::TempDir dir;
  static std::int64_t round = 0;
  const fs::path run = dir / std::to_string(round++);
  fs::create_directories(run / "ckpt");
  const io::RunStore store(run);
  for (int lines = 0; !input.empty() && lines < 40; ++lines) {
    const std::size_t end = std::min(input.find('\n'), input.size());
    const std::string line(input.substr(0, end));
    input.remove_prefix(std::min(end + 1, input.size()));
    char kind = 0;
    unsigned first = 0, second = 0;
    int used = 0;
    if (std::sscanf(line.c_str(), "%c %9u %n%9u", &kind, &first, &used, &second) < 2 && kind != 'l') continue;
    const std::string name = io::checkpoint_name(first, second), epoch = "e" + std::to_string(first);
    const std::string rest = used > 0 ? line.substr(static_cast<std::size_t>(used)) : line;
    switch (kind) {
      case 'x':
        put(store.path_of(name + ".BAD"), "bad\n");
        [[fallthrough]];
      case 'c':
        fs::create_directories(store.path_of(name));
        break;
      case 'm': {
        io::Manifest m = test::blank_manifest(first, second);
        m.base = {io::checkpoint_name(first / 2, second / 2), io::digest_bytes(rest)};
        put(store.path_of(name) / io::kManifestName, io::write_manifest(m));
        break;
      }
      case 't':
        fs::create_directories(store.tmp_of(name));
        break;
      case 'b':
        put(run / "lease" / epoch / "BASE", rest);
        break;
      case 'o':
        put(run / "lease" / epoch / "OWNER", rest);
        break;
      case 'l':
        put(run / "LATEST", rest);
        break;
      default:
        break;
    }
  }
  const std::vector<io::CheckpointEntry> all = store.list();
  const std::vector<io::CheckpointId> chain = store.chain(INT64_MAX);
  for (std::size_t i = 0; i < chain.size(); ++i) {
    must(std::any_of(all.begin(), all.end(), [&](const auto& e) { return e.name == chain[i].name; }),
         "the history names what is not there");
    for (std::size_t k = 0; k < i; ++k) must(chain[k].name != chain[i].name, "the history goes round");
  }
  store.bases(INT64_MAX);
  store.latest();
  for (const std::int64_t epoch : io::lease_epochs(run)) {
    if (const auto owner = io::lease_owner(run, epoch)) must(!owner->str().empty(), "a holder has no name");
    io::lease_base(run, epoch);
  }
  std::error_code ignored;
  fs::remove_all(run, ignored);
}

std::vector<std::string> manifest_seeds() {
  io::Manifest m = test::blank_manifest();
  m.files = {{"a.h5", 4096, io::digest_bytes("a")}, {"b.h5", 2048, io::digest_bytes("b")}};
  m.tensors.push_back({"blocks.0.attn.q.weight",
                       io::TensorKind::kParam,
                       DType::kF32,
                       {6, 4},
                       {{0, 1024, {{0, 0}, {3, 4}}, 7}, {1, 512, {{3, 0}, {3, 4}}, 8}}});
  m.tensors.push_back({"norm.weight", io::TensorKind::kV, DType::kBF16, {5}, {{0, 2048, {{0}, {5}}, 9}}});
  return {io::write_manifest(m), io::write_manifest(test::blank_manifest())};
}

std::vector<std::string> shard_seeds() {
  Checkpoint c;
  return {c.good, c.good.substr(0, c.good.size() - 1)};
}

std::vector<std::string> history_seeds() {
  return {
      "c 100 1\nc 200 1\nb 1 {\"name\":\"\",\"digest\":\"\"}\nb 2 {\"name\":\"step-000000100.e1\",\"digest\":"
      "\"0123456789abcdef0123456789abcdef\"}\nc 150 2\nm 300 3\nt 400 3\nx 350 3\nl step-000000300.e3\n",
      "o 1 {\"host\":\"n1\",\"boot\":\"b\",\"pid_space\":\"pid:[1]\",\"pid\":7,\"start_time\":9,\"job\":\"88\","
      "\"nonce\":\"0\",\"run_uuid\":\"1\"}\n"};
}

}  // namespace

std::vector<Reader> checkpoint_readers() {
  return {{"manifest", read_manifest, manifest_seeds},
          {"shard", read_shard, shard_seeds},
          {"history", read_history, history_seeds}};
}

}  // namespace banyan::fuzz
