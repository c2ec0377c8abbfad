// Cuts the power after every call of a recorded training, in several ways, and looks at what is left of the run.
//
//   crash_replay TRACE IMAGE ROOT RUN EVERY KEEP OUT [deaf]
//     IMAGE  what was in ROOT before the trace; RUN: name of the run directory in it
//     EVERY  the crash after every so many calls; KEEP: of these, every so many are kept as OUT/CALL.WAY/, with the
//     last
//            acknowledged step in OUT/CALL.WAY.step, so that a job can be started from them
//     deaf   the disk hears no fsync: shows that the checks below can fail
//
// A save is acknowledged when its line goes into saves.jsonl.  Promised after each crash: every checkpoint that has its
// final name and belongs to the run's history verifies and holds the values it always held, the newest of them is not
// older than the last acknowledged step, and where two were acknowledged two are left.
// Prints one line for each broken promise, then the counts; exit code 1 when there was one.
#include <cstdio>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "io/checkpoint_reader.hpp"
#include "io/run_store.hpp"
#include "src/base/error.hpp"
#include "src/base/json.hpp"
#include "tests/fault/crash_disk.hpp"

namespace {

using namespace banyan;
using namespace banyan::fault;
namespace fs = std::filesystem;

struct Way {
  const char* name;
  Survives what;
  std::uint64_t seed;
};
constexpr Way kWays[] = {{"killed", Survives::kAll, 0},         {"cut", Survives::kNothing, 0},
                         {"torn1", Survives::kPrefix, 1},       {"torn2", Survives::kPrefix, 2},
                         {"shuffled1", Survives::kAnything, 1}, {"shuffled2", Survives::kAnything, 2}};

/// Steps whose saves a program has acknowledged so far.
class Acknowledged {
 public:
  void see(const TraceRecord& r) {
    const auto handle = std::pair(r.pid, r.fd);
    if (r.kind == TraceKind::kOpen) is_log_[handle] = r.path.ends_with("/saves.jsonl");
    if (r.kind != TraceKind::kWrite || !is_log_[handle]) return;
    steps_.push_back(member(parse_json(r.data, "saves.jsonl"), "step", "saves.jsonl").get<std::int64_t>());
  }
  std::int64_t last() const { return steps_.empty() ? -1 : steps_.back(); }
  int count() const { return static_cast<int>(steps_.size()); }

 private:
  std::map<std::pair<std::int32_t, std::int32_t>, bool> is_log_;
  std::vector<std::int64_t> steps_;
};

/// "" or what is wrong.  `digests` collects the values of every checkpoint by name.
std::string look(const fs::path& run, const Acknowledged& acknowledged, std::map<std::string, std::string>& digests) {
  const io::RunStore store(run);
  std::int64_t newest = -1;
  int good = 0;
  for (const io::CheckpointId& id : store.chain(INT64_MAX)) {
    try {
      io::CheckpointReader reader(store.path_of(id.name));
      if (const std::string damage = reader.verify_files(); !damage.empty()) return damage;
      if (!id.digest.empty() && id.digest != reader.manifest().digest) return id.name + " was replaced";
      const std::string digest = reader.digest().hex();
      if (digests.try_emplace(id.name, digest).first->second != digest) return id.name + " has other values";
      newest = std::max(newest, reader.manifest().step);
      ++good;
    } catch (const Error& e) {
      return e.what();
    }
  }
  if (newest < acknowledged.last())
    return fmt::format("step {} was acknowledged, the newest checkpoint is {}", acknowledged.last(), newest);
  if (good < std::min(2, acknowledged.count())) return fmt::format("only {} checkpoints are left", good);
  return "";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 8 && argc != 9) return 2;
  const bool deaf = argc == 9;
  const std::string root = argv[3], run = argv[4];
  const long every = std::stol(argv[5]), keep = std::stol(argv[6]);
  const fs::path out = argv[7], state = out / "state";
  const std::vector<TraceRecord> trace = read_trace(argv[1]);
  CrashDisk disk(argv[2], root);
  Acknowledged acknowledged;
  std::map<std::string, std::string> digests;
  long crashes = 0, broken = 0;
  for (std::size_t k = 1; k <= trace.size(); ++k) {
    if (!deaf || trace[k - 1].kind != TraceKind::kSync) disk.apply(trace[k - 1]);
    acknowledged.see(trace[k - 1]);
    if (static_cast<long>(k) % every != 0) continue;
    for (const Way& way : kWays) {
      disk.crash(way.what, way.seed + 1000 * k, state);
      ++crashes;
      const std::string what = look(state / run, acknowledged, digests);
      if (!what.empty()) {
        ++broken;
        std::printf("BROKEN: %s after call %zu of %zu: %s\n", way.name, k, trace.size(), what.c_str());
      }
      if (crashes % keep != 0) continue;
      const fs::path kept = out / fmt::format("{}.{}", k, way.name);
      fs::rename(state, kept);
      std::FILE* note = std::fopen((kept.string() + ".step").c_str(), "w");
      std::fprintf(note, "%lld\n", static_cast<long long>(acknowledged.last()));
      std::fclose(note);
    }
  }
  fs::remove_all(state);
  std::printf("%zu calls, %d saves acknowledged: %ld crashes, %ld promises broken\n", trace.size(),
              acknowledged.count(), crashes, broken);
  return broken == 0 && acknowledged.count() > 1 ? 0 : 1;
}
