// banyan inspect: what is in a run directory or a checkpoint, whether it is whole, and getting tensors out of it.
// Never writes into what it looks at.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "io/atomic_file.hpp"
#include "io/checkpoint_reader.hpp"
#include "io/lease.hpp"
#include "io/run_store.hpp"
#include "io/view_file.hpp"
#include "src/app/command.hpp"
#include "src/base/error.hpp"
#include "src/base/json.hpp"
#include "src/base/log.hpp"
#include "src/base/units.hpp"
#include "src/train/resume.hpp"

namespace banyan::app {
namespace {

namespace fs = std::filesystem;

/// One checkpoint directory as found.
struct Found {
  fs::path path;
  std::string name;
  std::string state;    ///< committed | BAD | tmp | damaged
  std::string problem;  ///< why it is not good; empty otherwise
  std::optional<io::Manifest> manifest;
  bool chosen = false;  ///< what --tensors, --digest and --merge look at
};

struct Wishes {
  bool tensors = false, verify = false, digest = false, json = false;
  std::optional<std::string> merge;
};

std::int64_t bytes_of(const io::Manifest& m) {
  std::int64_t sum = 0;
  for (const io::ManifestFile& f : m.files) sum += f.size;
  return sum;
}

std::int64_t values_of(const io::Manifest& m, io::TensorKind kind) {
  std::int64_t sum = 0;
  for (const io::Tensor& t : m.tensors)
    if (t.kind == kind) sum += t.shape.count();
  return sum;
}

/// Reads the manifest (and every byte, if asked); what is wrong becomes the problem.
void examine(Found& f, bool verify) {
  if (f.state == "tmp") return;
  try {
    io::CheckpointReader reader(f.path);
    f.manifest = reader.manifest();
    if (!verify) return;
    log::live_line("verifying " + f.path.string());
    f.problem = reader.verify_files();
  } catch (const DataError& e) {
    f.problem = e.what();
  }
  if (!f.problem.empty() && f.state == "committed") f.state = "damaged";
}

Found single(const fs::path& path, bool verify) {
  Found f{path, path.filename().string(), "committed", "", std::nullopt, true};
  if (f.name.empty()) f.name = path.parent_path().filename().string();
  if (io::RunStore store(path.parent_path().parent_path());
      store.is_bad(f.name) && store.ckpt_dir() == path.parent_path())
    f.state = "BAD";
  examine(f, verify);
  return f;
}

std::vector<Found> whole_run(const io::RunStore& store, bool verify) {
  std::vector<Found> all;
  for (const io::CheckpointEntry& entry : store.list()) {
    Found f;
    f.name = entry.name;
    if (entry.state == io::CheckpointState::kTmp) {
      f.path = store.tmp_of(entry.name);
      f.state = "tmp";
    } else {
      f.path = store.path_of(entry.name);
      f.state = entry.state == io::CheckpointState::kBad ? "BAD" : "committed";
    }
    try {
      examine(f, verify);
    } catch (const IoError&) {
      if (io::path_exists(f.path)) throw;
    }
    // By the job that trains there, since it was listed.
    if (f.state != "tmp" && !io::path_exists(f.path)) continue;
    if (std::string mark;
        f.state == "BAD" && f.problem.empty() && io::read_if_there(store.path_of(entry.name + ".BAD"), 65536, mark))
      f.problem = mark.substr(0, mark.find('\n'));
    all.push_back(std::move(f));
  }
  // The one a resume would try first.
  for (const io::CheckpointId& id : store.chain(INT64_MAX)) {
    const auto at =
        std::find_if(all.begin(), all.end(), [&](const Found& f) { return f.name == id.name && f.manifest; });
    if (at == all.end() || at->state != "committed") continue;
    at->chosen = true;
    break;
  }
  return all;
}

std::string holder_of(const fs::path& run) {
  const std::vector<std::int64_t> epochs = io::lease_epochs(run);
  if (epochs.empty()) return "never held";
  const auto owner = io::lease_owner(run, epochs.back());
  return fmt::format("epoch {}, {} {}", epochs.back(),
                     io::lease_released(run, epochs.back()) ? "released by" : "taken by",
                     owner ? owner->str() : "an unknown process");
}

Json describe(const Found& f, const Wishes& wishes) {
  Json j = {{"name", f.name}, {"path", f.path.string()}, {"state", f.state}, {"chosen", f.chosen}};
  if (!f.problem.empty()) j["problem"] = f.problem;
  if (!f.manifest) return j;
  const io::Manifest& m = *f.manifest;
  j["step"] = m.step;
  j["epoch"] = m.epoch;
  j["tokens"] = m.tokens;
  j["cursor"] = m.cursor;
  if (const auto dropped = m.extra.find(train::kDroppedBatches); dropped != m.extra.end() && !dropped->second.empty())
    j["dropped_batches"] = dropped->second;
  j["run"] = m.run_uuid;
  j["base"] = m.base.name;
  j["manifest_digest"] = m.digest;
  j["bytes"] = bytes_of(m);
  j["parameters"] = values_of(m, io::TensorKind::kParam);
  j["mesh"] = m.mesh_text;
  j["versions"] = m.versions;
  if (!wishes.tensors || !f.chosen) return j;
  Json list = Json::array();
  for (const io::Tensor& t : m.tensors) {
    Json shape = Json::array();
    for (int i = 0; i < t.shape.rank(); ++i) shape.push_back(t.shape[i]);
    list.push_back({{"name", t.name},
                    {"kind", std::string(name_of(t.kind))},
                    {"dtype", std::string(name_of(t.dtype))},
                    {"shape", shape},
                    {"shards", t.shards.size()}});
  }
  j["tensors"] = std::move(list);
  return j;
}

void print(const Found& f, const Wishes& wishes) {
  std::string line = fmt::format("{} {:<20} {:<9}", f.chosen ? '*' : ' ', f.name, f.state);
  if (f.manifest) {
    const io::Manifest& m = *f.manifest;
    line += fmt::format("  {:>6} parameters  {:>6} tokens  {:>9}  {} files  {}",
                        format_count(static_cast<double>(values_of(m, io::TensorKind::kParam))),
                        format_count(static_cast<double>(m.tokens)), format_bytes(static_cast<double>(bytes_of(m))),
                        m.files.size(), m.base.name.empty() ? "from a fresh start" : "from " + m.base.name);
  }
  fmt::print("{}\n", line);
  if (!f.problem.empty()) fmt::print("    {}\n", f.problem);
  if (!f.manifest || !wishes.tensors || !f.chosen) return;
  for (const io::Tensor& t : f.manifest->tensors)
    fmt::print("    {:<5} {:<40} {:<4} {:<16} {} shard{}\n", name_of(t.kind), t.name, name_of(t.dtype), t.shape.str(),
               t.shards.size(), t.shards.size() == 1 ? "" : "s");
}

/// --digest and --merge of the chosen checkpoint; adds to `j` or prints.
void extract(const Found& f, const Wishes& wishes, Json& j) {
  io::CheckpointReader reader(f.path);
  if (wishes.digest) {
    const std::string digest = reader.digest().hex();
    j["digest"] = digest;
    if (!wishes.json) fmt::print("digest {}\n", digest);
  }
  if (!wishes.merge) return;
  io::write_merged(reader, *wishes.merge, [&](std::int64_t done, std::int64_t total) {
    log::live_line(fmt::format("{}: {} of {}", *wishes.merge, format_bytes(static_cast<double>(done)),
                               format_bytes(static_cast<double>(total))));
  });
  log::end_live_line();
  j["merged"] = *wishes.merge;
  if (!wishes.json) fmt::print("wrote {}\n", *wishes.merge);
}

ExitCode run(Args& args) {
  Wishes wishes;
  wishes.tensors = args.flag("tensors");
  wishes.verify = args.flag("verify");
  wishes.digest = args.flag("digest");
  wishes.json = args.flag("json");
  wishes.merge = args.value("merge");
  args.finish(1, 1, "inspect RUN|CHECKPOINT");
  fs::path path = fs::absolute(args.positional()[0]).lexically_normal();
  if (path.filename().empty()) path = path.parent_path();
  if (!io::path_exists(path)) throw UsageError("{} is not there; give a run directory or a checkpoint", path.string());
  if (wishes.merge && io::path_exists(*wishes.merge))
    throw UsageError("{} is there already; choose another name for --merge", *wishes.merge);

  const io::RunStore store(path);
  const bool is_run = !io::path_exists(path / io::kManifestName) && io::is_run_dir(path);
  const std::vector<Found> all = is_run ? whole_run(store, wishes.verify) : std::vector{single(path, wishes.verify)};
  log::end_live_line();
  const auto chosen = std::find_if(all.begin(), all.end(), [](const Found& f) { return f.chosen; });

  Json report = {{"path", path.string()}};
  if (is_run) {
    report["lease"] = holder_of(path);
    report["latest"] = store.latest();
    if (!wishes.json)
      fmt::print("{}: {} checkpoint{}; {}\n", path.string(), all.size(), all.size() == 1 ? "" : "s", holder_of(path));
  }
  report["checkpoints"] = Json::array();
  for (const Found& f : all) {
    report["checkpoints"].push_back(describe(f, wishes));
    if (!wishes.json) print(f, wishes);
  }
  if (wishes.digest || wishes.merge) {
    if (chosen == all.end()) throw DataError("{} has no committed checkpoint that could be read", path.string());
    extract(*chosen, wishes, report);
  }
  if (wishes.json) fmt::print("{}\n", dump_line(report));
  if (std::fflush(stdout) != 0) throw IoError("cannot write to standard output");

  // A run may hold BAD ones that are known and set aside; anything else damaged is a failed check.
  std::int64_t damaged = 0;
  for (const Found& f : all) damaged += f.state == "damaged" || (!is_run && !f.problem.empty());
  if (damaged == 0) return ExitCode::kFinished;
  if (!is_run) throw DataError("{}", all[0].problem);
  throw DataError("{} of {} checkpoints in {} are damaged", damaged, all.size(), path.string());
}

}  // namespace

Command inspect_command() {
  return {
      "inspect",
      "list the checkpoints of a run, check them, take tensors out of them",
      "banyan inspect RUN|CHECKPOINT [--tensors] [--verify] [--digest] [--merge OUT.h5] [--json]\n"
      "\n"
      "Lists the checkpoints of a run directory, newest first: committed, BAD (found damaged by a job), tmp (not\n"
      "finished), damaged. The one marked * is what a resume would try first; --tensors, --digest and --merge look at\n"
      "it, or at the checkpoint given.\n"
      "\n"
      "  --tensors       name, dtype, shape and number of shards of every tensor\n"
      "  --verify        read every byte and compare it with the digests; exit code 65 when something differs\n"
      "  --digest        digest of all parameters and optimizer state, the same for every mesh\n"
      "  --merge OUT.h5  write one HDF5 file with whole tensors (/params/..., /optimizer/m/..., /optimizer/v/...)\n"
      "  --json          one JSON object instead of lines\n",
      {"merge"},
      run};
}

}  // namespace banyan::app
