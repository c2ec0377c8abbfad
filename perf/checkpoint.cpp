// bench checkpoint: saving and loading over the ranks it is started on (mpirun -n N bench checkpoint), beside what the
// same disk takes when the same bytes are written and synced with nothing around them.
#include "src/job/checkpoint.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "comm/communicator.hpp"
#include "io/atomic_file.hpp"
#include "perf/commands.hpp"
#include "perf/peak.hpp"
#include "src/base/error.hpp"

namespace banyan::perf {
namespace {

namespace fs = std::filesystem;

/// Slowest rank's seconds of one call.
template <class Work>
double timed(comm::Communicator& ranks, const Work& work) {
  ranks.barrier("the start of a measurement");
  const double begin = now();
  work();
  return comm::all_reduce_value(ranks, now() - begin, comm::ReduceOp::kMax, "the time");
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// A model of square matrices with both moments; every rank holds and writes its rows.
struct Model {
  std::int64_t width = 1024, matrices;
  std::vector<float> memory;
  std::vector<job::SaveTensor> slabs;

  Model(int rank, int ranks, std::int64_t bytes_per_rank) {
    const std::int64_t all = bytes_per_rank * ranks;
    matrices = std::max<std::int64_t>(1, all / (3 * width * width * 4));
    const io::Slab own = io::row_slice({{0, 0}, {width, width}}, rank, ranks);
    memory.resize(static_cast<std::size_t>(3 * matrices * own.elements()));
    for (std::size_t i = 0; i < memory.size(); ++i) memory[i] = static_cast<float>(i % 1000003) * 1e-3f;
    const float* data = memory.data();
    for (io::TensorKind kind : {io::TensorKind::kParam, io::TensorKind::kM, io::TensorKind::kV})
      for (std::int64_t i = 0; i < matrices; ++i, data += own.elements())
        slabs.push_back(
            {fmt::format("blocks.{}.weight", i), kind, {width, width}, own.offset, ConstView(data, own.count)});
  }
  std::int64_t bytes() const { return std::ssize(memory) * 4; }
};

/// What the disk does with the bytes alone: one file, one fsync, per rank.
void plain_write(const fs::path& path, const Model& model) {
  io::remove_tree(path);
  io::File file = io::File::create(path);
  file.write_at(0, model.memory.data(), static_cast<std::size_t>(model.bytes()));
  file.sync();
  file.close();
}

void plain_read(const fs::path& path, std::vector<float>& into) {
  io::File::open_for_reading(path).read_at(0, into.data(), into.size() * sizeof(float));
}

}  // namespace

int bench_checkpoint(const std::vector<std::string>& words) {
  if (std::find(words.begin(), words.end(), "--help") != words.end()) {
    fmt::print(
        "mpirun -n N bench checkpoint [--mbytes N] [--saves N] [--dir DIR] [--json FILE]\n"
        "  --mbytes   state of each rank: parameters and both moments (default 256)\n"
        "  --saves    how often to save and load; the median counts (default 3)\n"
        "  --dir      on the file system to be measured (default: the current directory)\n"
        "  --json     also write the figures to FILE\n");
    return 0;
  }
  const Options options(words, {"--mbytes", "--saves", "--dir", "--json"});
  const long mbytes = options.number("--mbytes", 256), saves = options.number("--saves", 3);
  if (mbytes < 1 || saves < 1) throw UsageError("bench checkpoint needs --mbytes and --saves of 1 or more");

  const auto world = comm::make_mpi_world();
  std::vector<int> members(static_cast<std::size_t>(world->size()));
  std::iota(members.begin(), members.end(), 0);
  const auto ranks = world->group(members, 0, "bench");
  const bool speaks = world->rank() == 0;
  const fs::path dir = fs::absolute(options.text("--dir", ".")) / "bench-checkpoint-run";
  if (speaks) io::remove_tree(dir);
  ranks->barrier("an empty directory");

  const Model model(world->rank(), world->size(), mbytes << 20);
  std::vector<float> room(model.memory.size());
  const double bytes =
      comm::all_reduce_value(*ranks, static_cast<double>(model.bytes()), comm::ReduceOp::kSum, "the size");
  std::vector<double> save_time, load_time, write_time, read_time;
  {
    job::Checkpoints ckpt(*ranks, {.run_dir = dir.string(), .keep = 2});
    ckpt.load([](job::Source&) {});
    const fs::path plain = dir / fmt::format("plain-{}", world->rank());
    for (long i = 0; i < saves; ++i) {
      write_time.push_back(timed(*ranks, [&] { plain_write(plain, model); }));
      read_time.push_back(timed(*ranks, [&] { plain_read(plain, room); }));
      job::SaveResult result;
      save_time.push_back(timed(*ranks, [&] { result = ckpt.save({.step = i}, model.slabs); }));
      if (!result.ok) throw IoError("{}", result.error);
      const std::string place = (dir / "ckpt" / result.name).string();
      load_time.push_back(timed(*ranks, [&] {
        job::load_readonly(*ranks, place, Seconds(600), [&](job::Source& source) {
          float* into = room.data();
          for (const job::SaveTensor& s : model.slabs) {
            source.read_slab(s.kind, s.name, s.offset, View(into, s.data.shape));
            into += s.data.count();
          }
        });
      }));
      if (room != model.memory) throw BugError("what was loaded is not what was saved");
    }
  }
  ranks->barrier("the end");
  if (!speaks) return 0;
  io::remove_tree(dir);
  const double save = median(save_time), load = median(load_time), write = median(write_time), read = median(read_time);
  fmt::print("{} ranks, {:.0f} MB in all (median of {})\n", world->size(), bytes / 1e6, saves);
  fmt::print("  save           {:8.3f} s  {:6.2f} GB/s   {:5.2f} x the time of plain write and fsync ({:.3f} s)\n",
             save, bytes / save / 1e9, save / write, write);
  fmt::print(
      "  load, checked  {:8.3f} s  {:6.2f} GB/s   {:5.2f} x the time of plain read from the same cache ({:.3f} s)\n",
      load, bytes / load / 1e9, load / read, read);
  if (const std::string path = options.text("--json", ""); !path.empty()) {
    const nlohmann::json j = {{"ranks", world->size()}, {"bytes", bytes},         {"save_s", save},
                              {"load_s", load},         {"plain_write_s", write}, {"plain_read_s", read}};
    std::ofstream(path) << j.dump(1) << "\n";
  }
  return 0;
}

}  // namespace banyan::perf
