// banyan export: a checkpoint becomes a directory in Hugging Face's layout.
#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <optional>
#include <set>

#include "io/atomic_file.hpp"
#include "io/checkpoint_reader.hpp"
#include "io/safetensors_writer.hpp"
#include "src/app/command.hpp"
#include "src/app/hf_config.hpp"
#include "src/app/hf_names.hpp"
#include "src/app/meter.hpp"
#include "src/base/error.hpp"
#include "src/base/json.hpp"
#include "src/base/log.hpp"
#include "src/base/units.hpp"
#include "src/config/load.hpp"
#include "src/infer/load_model.hpp"
#include "src/job/resume.hpp"
#include "src/plan/layout.hpp"

namespace banyan::app {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kUsage =
    R"(banyan export CHECKPOINT|RUN_DIR --out HF_DIR [--shard-size 5GB] [--force]

Writes a checkpoint (of a run directory its newest) in Hugging Face's layout for GPT-2 and Llama: config.json,
model.safetensors in fp32, tokenizer.json when a tokenizer is known. Optimizer state is left out. Every value is checked
against its checksum on the way; memory stays bounded. config.json is written last: without it the export is unfinished.

  --out HF_DIR       directory to write; it must be new or empty
  --shard-size SIZE  a larger model is cut into files of at most this size with an index; default 5GB
  --force            files of a model in HF_DIR are replaced, others stay
)";

constexpr const char *kConfig = "config.json", *kIndex = "model.safetensors.index.json";

std::int64_t bytes_of(const HfTensor& t) { return t.shape.count() * static_cast<std::int64_t>(sizeof(float)); }

/// Tensors of each file, in their order; a tensor larger than the limit gets a file of its own.
std::vector<std::vector<HfTensor>> cut(std::vector<HfTensor> tensors, std::int64_t limit) {
  std::vector<std::vector<HfTensor>> files(1);
  std::int64_t held = 0;
  for (HfTensor& t : tensors) {
    if (!files.back().empty() && held + bytes_of(t) > limit) {
      files.emplace_back();
      held = 0;
    }
    held += bytes_of(t);
    files.back().push_back(std::move(t));
  }
  return files;
}

/// Puts a slab of a logical parameter where it belongs in one of theirs.
void place(io::SafetensorsWriter& writer, const HfTensor& t, const HfPiece& p, const io::Slab& slab, ConstView v) {
  const float* data = v.as<float>();
  const std::int64_t rows = slab.count[0], first = p.begin + slab.offset[0];
  const std::int64_t columns = p.shape.rank() == 2 ? slab.count[1] : 1,
                     column = p.shape.rank() == 2 ? slab.offset[1] : 0;
  if (!t.transposed) {
    const std::int64_t width = p.shape.row_count();
    if (columns == width && v.contiguous()) {
      writer.write(t.name, first * width, {data, static_cast<std::size_t>(rows * width)});
      return;
    }
    for (std::int64_t r = 0; r < rows; ++r)
      writer.write(t.name, (first + r) * width + column, {data + r * v.row_stride, static_cast<std::size_t>(columns)});
    return;
  }
  std::vector<float> line(static_cast<std::size_t>(rows));
  for (std::int64_t c = 0; c < columns; ++c) {
    for (std::int64_t r = 0; r < rows; ++r) line[static_cast<std::size_t>(r)] = data[r * v.row_stride + c];
    writer.write(t.name, (column + c) * t.shape[1] + first, line);
  }
}

/// The logical parameter as saved; DataError when the checkpoint's own config describes another.
const io::Tensor& saved_tensor(const io::CheckpointReader& reader, const HfPiece& p) {
  const io::Tensor* t = reader.manifest().find(io::TensorKind::kParam, p.logical);
  if (!t || t->shape != p.shape || t->dtype != DType::kF32)
    throw DataError("{} does not hold {} {} in fp32, which its own configuration describes",
                    reader.directory().string(), p.logical, p.shape.str());
  return *t;
}

/// Writes the files; returns their names.
std::set<std::string> write_tensors(io::CheckpointReader& reader, const std::vector<HfTensor>& tensors,
                                    std::int64_t limit, const fs::path& out) {
  std::int64_t total = 0;
  for (const HfTensor& t : tensors) {
    total += bytes_of(t);
    for (const HfPiece& p : t.pieces) saved_tensor(reader, p);
  }
  if (const std::int64_t free = io::free_bytes(out); free < total)
    throw IoError("{} has {} free, the export needs {}; free some space", out.string(),
                  format_bytes(static_cast<double>(free)), format_bytes(static_cast<double>(total)));
  const std::vector<std::vector<HfTensor>> files = cut(tensors, limit);
  std::map<std::string, std::string> file_of;
  std::set<std::string> names;
  Meter meter("exporting", total);
  for (std::size_t f = 0; f < files.size(); ++f) {
    const std::string name =
        files.size() == 1 ? "model.safetensors" : fmt::format("model-{:05}-of-{:05}.safetensors", f + 1, files.size());
    names.insert(name);
    std::vector<io::SafetensorsWriter::Entry> entries;
    for (const HfTensor& t : files[f]) {
      entries.push_back({t.name, t.shape});
      file_of[t.name] = name;
    }
    io::SafetensorsWriter writer(out / name, std::move(entries));
    for (const HfTensor& t : files[f])
      for (const HfPiece& p : t.pieces)
        reader.stream(saved_tensor(reader, p), [&](const io::Slab& slab, ConstView v) {
          place(writer, t, p, slab, v);
          meter.add(v.bytes());
        });
    writer.commit();
  }
  log::end_live_line();
  if (files.size() > 1) {
    Json index = {{"metadata", {{"total_size", total}}}, {"weight_map", file_of}};
    io::write_atomic(out / kIndex, index.dump(2) + "\n");
    names.insert(kIndex);
  }
  return names;
}

/// What an export of ours, or a download, may have left.
bool belongs_to_model(const std::string& name) {
  return name == kIndex || (name.starts_with("model") && name.ends_with(".safetensors"));
}

void write_rest(const fs::path& out, const infer::SavedModel& saved, const model::ModelShape& shape, HfKind kind) {
  std::int64_t end_token = -1;
  for (const char* name : {"tokenizer.json", "tokenizer_config.json"}) io::remove_tree(out / name);
  try {
    const io::Tokenizer tokenizer = infer::find_tokenizer(saved, saved.config);
    end_token = tokenizer.end_token();
    io::write_atomic(out / "tokenizer.json", tokenizer.json());
    Json j = {{"model_max_length", shape.context}, {"tokenizer_class", "PreTrainedTokenizerFast"}};
    if (end_token >= 0) j["eos_token"] = tokenizer.bytes_of(static_cast<std::int32_t>(end_token));
    io::write_atomic(out / "tokenizer_config.json", j.dump(2) + "\n");
  } catch (const Error& e) {
    if (e.code() == ExitCode::kIoFailed) throw;
    log::warning("exported without tokenizer: {}", e.what());
  }
  io::write_atomic(out / kConfig, to_hf_config(shape, kind, end_token).dump(2) + "\n");
}

void export_one(const fs::path& path, const fs::path& out, std::int64_t limit) {
  io::CheckpointReader reader(path);
  infer::SavedModel saved{
      path, config::load_text(reader.manifest().config_text, "the configuration in " + path.string()).config};
  const model::ModelShape shape = plan::make_model_shape(saved.config, 0);
  const HfKind kind = hf_kind(shape);
  const auto prefix = reader.manifest().extra.find(kHfPrefix);
  const std::vector<HfTensor> tensors =
      hf_tensors(shape, kind, prefix == reader.manifest().extra.end() ? kGpt2Prefix : prefix->second);

  io::make_directories(out);
  io::remove_tree(out / kConfig);
  const std::set<std::string> written = write_tensors(reader, tensors, limit, out);
  std::vector<fs::path> stale;
  for (const auto& entry : fs::directory_iterator(out))
    if (const std::string name = entry.path().filename().string(); belongs_to_model(name) && !written.count(name))
      stale.push_back(entry.path());
  for (const fs::path& old : stale) io::remove_tree(old);
  write_rest(out, saved, shape, kind);
  log::info("exported step {} of {} to {}", reader.manifest().step, path.string(), out.string());
}

ExitCode run(Args& args) {
  const std::optional<std::string> out_text = args.value("out"), size_text = args.value("shard-size");
  const bool force = args.flag("force");
  args.finish(1, 1, kUsage);
  if (!out_text || out_text->empty()) throw UsageError("export needs a directory to write: --out HF_DIR");
  const std::optional<std::int64_t> limit = parse_bytes(size_text.value_or("5GB"));
  if (!limit || *limit < 1)
    throw UsageError("--shard-size={} is refused; it must be a number of bytes such as 5GB", *size_text);
  const fs::path out = fs::absolute(*out_text).lexically_normal();
  if (io::path_exists(out) && !fs::is_directory(out)) throw UsageError("{} is no directory", out.string());
  if (io::path_exists(out) && !fs::is_empty(out) && !force)
    throw UsageError("{} is not empty; choose another --out, or replace the model in it with --force", out.string());

  for (job::Listings listings;;) {
    const job::Candidate newest = job::readable_candidates(args.positional()[0]).front();
    try {
      export_one(newest.path, out, *limit);
      break;
    } catch (const Error&) {
      if (!listings.removed(newest) || !listings.again()) throw;
    }
  }
  return ExitCode::kFinished;
}

}  // namespace

Command export_command() {
  return {.name = "export",
          .summary = "write a checkpoint in Hugging Face's layout",
          .usage = kUsage,
          .options_with_value = {"out", "shard-size"},
          .run = run};
}

}  // namespace banyan::app
