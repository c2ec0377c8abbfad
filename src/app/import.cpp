// banyan import: a GPT-2 or Llama in Hugging Face's layout becomes the first checkpoint of a run directory.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>

#include "io/atomic_file.hpp"
#include "io/lease.hpp"
#include "io/run_store.hpp"
#include "io/safetensors.hpp"
#include "io/shard_file.hpp"
#include "io/tokenizer.hpp"
#include "io/view_file.hpp"
#include "src/app/command.hpp"
#include "src/app/hf_config.hpp"
#include "src/app/hf_names.hpp"
#include "src/app/meter.hpp"
#include "src/base/error.hpp"
#include "src/base/json.hpp"
#include "src/base/log.hpp"
#include "src/base/units.hpp"
#include "src/config/keys.hpp"
#include "src/config/load.hpp"
#include "src/model/params.hpp"
#include "src/parallel/mesh.hpp"
#include "src/plan/layout.hpp"
#include "src/train/state.hpp"

namespace banyan::app {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kBlockElements = std::int64_t{1} << 20;  // read at a time
constexpr std::size_t kLargestTokenizer = std::size_t{256} << 20;

constexpr std::string_view kUsage =
    R"(banyan import HF_DIR --out RUN_DIR [--config-out FILE] [--file-size 256MiB] [--no-tokenizer] [--force]

Reads a GPT-2 or Llama model in Hugging Face's layout (config.json, model.safetensors or its shards with their index,
tokenizer.json or GPT-2's two files) and writes it as a checkpoint of step 0 into RUN_DIR, with the tokenizer and a
config that describes the model. `banyan train` continues from it with fresh optimizer state, `banyan generate` works
at once. Values of type F32 are kept to the bit, F16 and BF16 become the same numbers in fp32.

  --out RUN_DIR      run directory; it may not have checkpoints
  --config-out FILE  config with the model's keys; default RUN_DIR/model.ini
  --file-size SIZE   of the checkpoint's files, which also bounds the memory used; default 256MiB
  --no-tokenizer     leave the tokenizer out (needed for kinds that cannot be read)
  --force            RUN_DIR may have checkpoints (this one becomes the newest, they stay), FILE is replaced
)";

/// What is to be read: theirs, checked against what the model needs.
struct Source {
  config::Config config;
  std::string config_text;  ///< of --config-out
  model::ModelShape shape;
  std::string prefix;
  std::vector<HfTensor> tensors;
};

std::string describe_model(const config::Config& c, const std::string& origin) {
  std::string text =
      fmt::format("# Made by banyan import from {}. Set data.train to train it further.\n[run]\ndir = {}\n", origin,
                  config::value_text(c, "run.dir"));
  text += "\n[model]\n";
  for (const config::KeyRow& row : config::key_rows())
    if (row.section == "model") text += fmt::format("{} = {}\n", row.name, config::value_text(c, row.full()));
  return text;
}

/// Both hold the same numbers.
bool equal(const io::Safetensors& files, const io::SafeTensor& a, const io::SafeTensor& b) {
  if (a.shape != b.shape) return false;
  std::vector<float> left, right;
  for (std::int64_t at = 0, n = a.shape.count(); at < n; at += kBlockElements) {
    left.resize(static_cast<std::size_t>(std::min(kBlockElements, n - at)));
    right.resize(left.size());
    files.read(a, at, left);
    files.read(b, at, right);
    if (std::memcmp(left.data(), right.data(), left.size() * sizeof(float)) != 0) return false;
  }
  return true;
}

/// Every tensor the model needs is there with its shape, and nothing else that would matter.
void check_tensors(const io::Safetensors& files, const Source& source, const std::string& context) {
  std::set<std::string> known;
  for (const HfTensor& t : source.tensors) {
    known.insert(t.name);
    const io::SafeTensor* found = files.find(t.name);
    if (!found) throw DataError("{} has no tensor {}, which config.json asks for", context, t.name);
    if (found->shape != t.shape)
      throw DataError("{}: tensor {} has the shape {}, config.json asks for {}", context, t.name, found->shape.str(),
                      t.shape.str());
    if (found->dtype != "F32" && found->dtype != "F16" && found->dtype != "BF16")
      throw DataError("{}: tensor {} is of type {}; F32, F16 and BF16 can be read", context, t.name, found->dtype);
  }
  for (const auto& [name, t] : files.tensors()) {
    if (known.count(name) || hf_ignored(name)) continue;
    if (source.shape.tied && name == "lm_head.weight") {
      if (equal(files, t, *files.find(source.tensors[0].name))) continue;
      throw DataError("{}: lm_head.weight differs from {}, although config.json says tie_word_embeddings", context,
                      source.tensors[0].name);
    }
    throw DataError("{} has the tensor {}, which a model as described by config.json does not have", context, name);
  }
}

Source read_source(const fs::path& directory, const io::Safetensors& files, const fs::path& run_dir) {
  const std::string config_path = (directory / "config.json").string();
  Source s;
  s.config = from_hf_config(read_json_file(config_path), config_path);
  s.config.run.dir = run_dir.string();
  s.config_text = describe_model(s.config, fs::weakly_canonical(directory).filename().string());
  // As if the user had written it, so that every check of a config holds.
  s.config = config::load_text(s.config_text, "the config made of " + config_path).config;
  s.shape = plan::make_model_shape(s.config, 0);
  const HfKind kind = hf_kind(s.shape);
  if (kind == HfKind::kGpt2 && std::any_of(files.tensors().begin(), files.tensors().end(),
                                           [](const auto& t) { return t.first.starts_with(kGpt2Prefix); }))
    s.prefix = kGpt2Prefix;
  s.tensors = hf_tensors(s.shape, kind, s.prefix);
  check_tensors(files, s, directory.string());
  return s;
}

std::optional<io::Tokenizer> read_tokenizer(const fs::path& directory, std::int64_t vocab) {
  const auto read = [&]() -> std::optional<io::Tokenizer> {
    std::string text, merges;
    if (io::read_if_there(fs::weakly_canonical(directory / "tokenizer.json"), kLargestTokenizer, text))
      return io::Tokenizer::from_json(text, (directory / "tokenizer.json").string());
    for (const auto& [encoder, bpe] : {std::pair{"vocab.json", "merges.txt"}, {"encoder.json", "vocab.bpe"}})
      if (io::read_if_there(fs::weakly_canonical(directory / encoder), kLargestTokenizer, text) &&
          io::read_if_there(fs::weakly_canonical(directory / bpe), kLargestTokenizer, merges))
        return io::Tokenizer::from_gpt2(text, merges, (directory / encoder).string());
    return std::nullopt;
  };
  std::optional<io::Tokenizer> tokenizer;
  try {
    tokenizer = read();
  } catch (const DataError& e) {
    throw DataError("{}; with --no-tokenizer the model is imported without it", e.what());
  }
  if (!tokenizer)
    log::warning("{} has no tokenizer.json, vocab.json or encoder.json: the model is imported without tokenizer",
                 directory.string());
  else if (tokenizer->vocab() > vocab)
    throw DataError(
        "the tokenizer in {} knows {} tokens, the model only {}; they do not belong together. With --no-tokenizer the "
        "model is imported without it",
        directory.string(), tokenizer->vocab(), vocab);
  return tokenizer;
}

/// Rows of a logical parameter out of one of theirs.
void read_rows(const io::Safetensors& files, const HfTensor& t, const HfPiece& p, model::Range rows, float* out) {
  const io::SafeTensor& from = *files.find(t.name);
  const std::int64_t in = p.shape.row_count(), begin = p.begin + rows.begin;
  if (!t.transposed) {
    files.read(from, begin * in, {out, static_cast<std::size_t>(rows.count() * in)});
    return;
  }
  // [in, channels of all pieces]: whole rows of theirs are read, some of their columns become our rows.
  const std::int64_t width = t.shape[1], step = std::max<std::int64_t>(1, kBlockElements / width);
  std::vector<float> block;
  for (std::int64_t i = 0; i < in; i += step) {
    const std::int64_t n = std::min(step, in - i);
    block.resize(static_cast<std::size_t>(n * width));
    files.read(from, i * width, block);
    for (std::int64_t r = 0; r < rows.count(); ++r)
      for (std::int64_t j = 0; j < n; ++j) out[r * in + i + j] = block[static_cast<std::size_t>(j * width + begin + r)];
  }
}

/// Collects slabs of logical tensors and writes them, file by file.
class ShardWriter {
 public:
  /// `limit`: elements held before a file is written.
  ShardWriter(fs::path directory, io::Manifest& manifest, std::int64_t limit)
      : directory_(std::move(directory)), manifest_(manifest), limit_(limit) {}

  /// Memory for rows of a parameter, to be filled before the next call.
  float* add(const HfPiece& p, model::Range rows) {
    const std::int64_t elements = rows.count() * p.shape.row_count();
    if (held_ > 0 && held_ + elements > limit_) flush();
    buffers_.emplace_back(static_cast<std::size_t>(elements));
    held_ += elements;
    Shape offset = p.shape, count = p.shape;
    for (int a = 0; a < offset.rank(); ++a) offset[a] = 0;
    offset[0] = rows.begin;
    count[0] = rows.count();
    shards_.push_back({p.logical, io::TensorKind::kParam, p.shape, offset, ConstView(buffers_.back().data(), count)});
    return buffers_.back().data();
  }
  void flush() {
    if (shards_.empty()) return;
    const std::string name = fmt::format("shard-{:05}.h5", manifest_.files.size());
    const io::WrittenFile written = io::write_shard_file(directory_, name, manifest_, shards_);
    for (std::size_t i = 0; i < shards_.size(); ++i) {
      io::Tensor& t = tensors_[shards_[i].name];
      t = {shards_[i].name, io::TensorKind::kParam, DType::kF32, shards_[i].global_shape, std::move(t.shards)};
      t.shards.push_back(written.shards[i]);
      t.shards.back().file = static_cast<int>(manifest_.files.size());
    }
    manifest_.files.push_back(written.file);
    shards_.clear();
    buffers_.clear();
    held_ = 0;
  }
  void finish() {
    flush();
    for (auto& [name, tensor] : tensors_) manifest_.tensors.push_back(std::move(tensor));
  }

 private:
  fs::path directory_;
  io::Manifest& manifest_;
  std::int64_t limit_;
  std::vector<std::vector<float>> buffers_;
  std::vector<io::ShardData> shards_;
  std::int64_t held_ = 0;
  std::map<std::string, io::Tensor> tensors_;
};

/// Writes the checkpoint and, when everything is there, calls `beside` and commits; returns its name.
std::string write_checkpoint(const io::RunStore& store, const io::Safetensors& files, const Source& source,
                             std::int64_t file_elements, const std::function<void()>& beside) {
  io::Lease lease(store.run_dir());
  store.sweep(lease.epoch());
  io::Manifest m;
  m.run_uuid = lease.run_uuid();
  m.epoch = lease.epoch();
  m.model_hash = train::model_hash(source.shape);
  m.config_text = config::write(source.config);  // import leaves no "0 means ..." in it
  m.mesh_text = parallel::MeshShape{}.str();
  m.plans_text = "{}";
  m.extra[kHfPrefix] = source.prefix;
  m.versions = io::library_versions();
  lease.record_base({});

  const std::string name = io::checkpoint_name(0, m.epoch);
  const fs::path tmp = store.tmp_of(name);
  io::make_directories(store.ckpt_dir());
  io::remove_tree(tmp);
  io::make_directory(tmp);
  std::int64_t total = 0;
  for (const HfTensor& t : source.tensors) total += t.shape.count() * static_cast<std::int64_t>(sizeof(float));
  if (const std::int64_t free = io::free_bytes(tmp); free < total + total / 10)
    throw IoError("{} has {} free, the checkpoint needs {}; free some space", store.ckpt_dir().string(),
                  format_bytes(static_cast<double>(free)), format_bytes(static_cast<double>(total)));
  Meter meter("importing", total);
  ShardWriter writer(tmp, m, file_elements);
  for (const HfTensor& t : source.tensors)
    for (const HfPiece& p : t.pieces) {
      const std::int64_t step = std::max<std::int64_t>(1, file_elements / p.shape.row_count());
      for (std::int64_t r = 0; r < p.shape[0]; r += step) {
        const model::Range rows{r, std::min(p.shape[0], r + step)};
        read_rows(files, t, p, rows, writer.add(p, rows));
        meter.add(static_cast<std::size_t>(rows.count() * p.shape.row_count()) * sizeof(float));
      }
    }
  writer.finish();
  log::end_live_line();
  io::fsync_dir(tmp);
  io::write_view(tmp, m);
  io::write_atomic(tmp / io::kManifestName, io::write_manifest(m));
  if (const std::string lost = lease.lost(); !lost.empty()) throw RunHeldError("{}; nothing was imported", lost);
  beside();
  store.commit(name);
  store.write_latest(name);
  return name;
}

/// What an interrupted import of the same model left may be written again.
void require_free(const fs::path& path, const std::string& text) {
  std::string found;
  if (io::path_exists(path) && !(io::read_if_there(path, kLargestTokenizer, found) && found == text))
    throw UsageError("{} exists; choose another name, or replace it with --force", path.string());
}

ExitCode run(Args& args) {
  const std::optional<std::string> out = args.value("out"), config_out = args.value("config-out"),
                                   size_text = args.value("file-size");
  const bool force = args.flag("force"), without_tokenizer = args.flag("no-tokenizer");
  args.finish(1, 1, kUsage);
  if (!out || out->empty()) throw UsageError("import needs a run directory to write: --out RUN_DIR");
  const fs::path from = args.positional()[0], run_dir = fs::absolute(*out).lexically_normal();
  const fs::path config_path = config_out ? fs::path(*config_out) : run_dir / "model.ini";
  if (!fs::is_directory(from))
    throw UsageError("{} is no directory; give the one that holds config.json", from.string());
  const std::optional<std::int64_t> file_size = parse_bytes(size_text.value_or("256MiB"));
  if (!file_size || *file_size < 1024)
    throw UsageError("--file-size={} is refused; it must be a number of bytes such as 256MiB, at least 1KiB",
                     *size_text);
  const io::RunStore store(run_dir);
  for (const io::CheckpointEntry& entry : store.list())
    if (!force && entry.state != io::CheckpointState::kTmp)
      throw UsageError("{} has checkpoints already; choose another --out, or add --force to put this one on top",
                       run_dir.string());
  const io::Safetensors files(from);
  const Source source = read_source(from, files, run_dir);
  std::optional<io::Tokenizer> tokenizer;
  if (!without_tokenizer) tokenizer = read_tokenizer(from, source.shape.vocab);
  const fs::path tokenizer_path = run_dir / "tokenizer.json";
  if (!force) {
    require_free(config_path, source.config_text);
    require_free(tokenizer_path, tokenizer ? tokenizer->json() : "");
  }

  io::make_directories(run_dir);
  const auto elements = *file_size / static_cast<std::int64_t>(sizeof(float));
  const std::string name = write_checkpoint(store, files, source, elements, [&] {
    if (tokenizer)
      io::write_atomic(tokenizer_path, tokenizer->json());
    else
      io::remove_tree(tokenizer_path);  // another model's
    io::write_atomic(config_path, source.config_text);
  });
  log::info("imported {} parameters as {}", format_count(static_cast<double>(model::parameter_count(source.shape))),
            store.path_of(name).string());
  log::info("config: {}", config_path.string());
  return ExitCode::kFinished;
}

}  // namespace

Command import_command() {
  return {.name = "import",
          .summary = "take over a GPT-2 or Llama from Hugging Face's layout",
          .usage = kUsage,
          .options_with_value = {"out", "config-out", "file-size"},
          .run = run};
}

}  // namespace banyan::app
