// hf_logits CHECKPOINT TOKENS LENGTH OUT: logits of a checkpoint for sequences of LENGTH tokens (raw int32 file),
// written as raw fp32.  What an independent implementation compares its own with.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "io/atomic_file.hpp"
#include "io/checkpoint_reader.hpp"
#include "kernels/backend.hpp"
#include "src/base/error.hpp"
#include "src/config/load.hpp"
#include "src/model/stage.hpp"
#include "src/plan/layout.hpp"

namespace banyan {
namespace {

void dump(const std::string& checkpoint, const std::string& tokens_path, std::int32_t length, const std::string& out) {
  const std::string raw = io::read_limited(tokens_path, std::size_t{1} << 24);
  std::vector<std::int32_t> tokens(raw.size() / sizeof(std::int32_t));
  std::memcpy(tokens.data(), raw.data(), tokens.size() * sizeof(std::int32_t));
  const auto rows = static_cast<std::int32_t>(tokens.size()), sequences = rows / length;

  io::CheckpointReader reader(checkpoint);
  const auto backend = kernels::make_cpu_backend({});
  model::StageSpec spec;
  spec.shape = plan::make_model_shape(config::load_text(reader.manifest().config_text, checkpoint).config, 0);
  spec.last_block = spec.shape.layers;
  spec.sequences = sequences;
  spec.length = length;
  const auto stage = model::Stage::make(spec, *backend, nullptr);
  for (model::LocalParam& p : stage->params()) reader.read(io::TensorKind::kParam, p.logical.name, p.offset, p.param);
  stage->params_changed();

  const std::int32_t block_size = 8, blocks_each = (length + block_size - 1) / block_size;
  std::vector<std::int32_t> table, offsets{0}, start(static_cast<std::size_t>(sequences), 0), wanted;
  for (std::int32_t s = 0; s < sequences; ++s) offsets.push_back((s + 1) * length);
  for (std::int32_t b = 0; b < blocks_each * sequences; ++b) table.push_back(b);
  for (std::int32_t r = 0; r < rows; ++r) wanted.push_back(r);
  stage->make_cache(blocks_each * sequences, block_size, rows);
  stage->infer({tokens, offsets, start, table, blocks_each}, {});
  std::vector<float> logits;
  stage->logits(wanted, logits);
  std::ofstream file(out, std::ios::binary);
  file.write(reinterpret_cast<const char*>(logits.data()), static_cast<std::streamsize>(logits.size() * sizeof(float)));
  if (!file) throw IoError("cannot write {}", out);
}

}  // namespace
}  // namespace banyan

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fputs("usage: hf_logits CHECKPOINT TOKENS LENGTH OUT\n", stderr);
    return 64;
  }
  try {
    banyan::dump(argv[1], argv[2], std::atoi(argv[3]), argv[4]);
  } catch (const banyan::Error& e) {
    std::fprintf(stderr, "hf_logits: %s\n", e.what());
    return static_cast<int>(e.code());
  }
  return 0;
}
