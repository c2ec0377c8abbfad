// bench checkpoint: saving and loading over the ranks it is started on (mpirun -n N bench checkpoint), beside what the
// same disk takes when the same bytes are written and synced with nothing around them.  Saving is waited for, without
// and with reading back from storage, or written in the background: then the two pauses of training count.
#include "src/job/checkpoint.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <thread>

#include "comm/communicator.hpp"
#include "io/atomic_file.hpp"
#include "perf/commands.hpp"
#include "perf/peak.hpp"
#include "src/base/error.hpp"

namespace banyan::perf {
namespace {

namespace fs = std::filesystem;

/// Seconds between two saves, for what training waits.
constexpr int kInterval = 60;

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
  std::vector<double> save_time, check_time, load_time, write_time, read_time, begin_time, background_time, finish_time;
  {
    const auto checkpoints = [&](const char* name, bool verify) {
      auto ckpt = std::make_unique<job::Checkpoints>(
          *ranks, job::CheckpointOptions{.run_dir = (dir / name).string(), .keep = 2, .verify = verify});
      ckpt->load([](job::Source&) {});
      return ckpt;
    };
    const auto trusting = checkpoints("trusting", false), checking = checkpoints("checking", true);
    trusting->prepare(model.slabs);  // as training does
    const auto must = [](const job::SaveResult& r) {
      if (!r.ok) throw IoError("{}", r.error);
      return r;
    };
    const fs::path plain = dir / fmt::format("plain-{}", world->rank());
    for (long i = 0; i < saves; ++i) {
      write_time.push_back(timed(*ranks, [&] { plain_write(plain, model); }));
      read_time.push_back(timed(*ranks, [&] { plain_read(plain, room); }));
      job::SaveResult result;
      save_time.push_back(timed(*ranks, [&] { result = must(trusting->save({.step = 2 * i}, model.slabs)); }));
      check_time.push_back(timed(*ranks, [&] { must(checking->save({.step = i}, model.slabs)); }));
      const std::string place = (dir / "trusting" / "ckpt" / result.name).string();
      const auto load = [&] {
        job::load_readonly(*ranks, place, Seconds(600), [&](job::Source& source) {
          float* into = room.data();
          for (const job::SaveTensor& s : model.slabs) {
            source.read_slab(s.kind, s.name, s.offset, View(into, s.data.shape));
            into += s.data.count();
          }
        });
      };
      load();  // a save leaves nothing in the system's cache
      load_time.push_back(timed(*ranks, load));
      if (room != model.memory) throw BugError("what was loaded is not what was saved");
      write_time.push_back(timed(*ranks, [&] { plain_write(plain, model); }));
      begin_time.push_back(timed(*ranks, [&] { must(trusting->begin({.step = 2 * i + 1}, model.slabs)); }));
      background_time.push_back(timed(*ranks, [&] {
        while (trusting->writing() == job::Writing::kUnderWay)
          std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }));
      finish_time.push_back(timed(*ranks, [&] { must(trusting->finish()); }));
    }
  }
  ranks->barrier("the end");
  if (!speaks) return 0;
  io::remove_tree(dir);
  const double first = begin_time.front();
  const double save = median(save_time), check = median(check_time), load = median(load_time),
               write = median(write_time), read = median(read_time), begin = median(begin_time),
               background = median(background_time), finish = median(finish_time);
  fmt::print("{} ranks, {:.0f} MB in all (median of {})\n", world->size(), bytes / 1e6, saves);
  fmt::print("  plain write and fsync     {:8.3f} s  {:6.2f} GB/s\n", write, bytes / write / 1e9);
  fmt::print("  save                      {:8.3f} s  {:6.2f} GB/s   {:3.0f} % of plain\n", save, bytes / save / 1e9,
             100 * write / save);
  fmt::print("  save, read back           {:8.3f} s  {:6.2f} GB/s   {:3.0f} % of plain\n", check, bytes / check / 1e9,
             100 * write / check);
  fmt::print("  save in the background    {:8.3f} s  {:6.2f} GB/s   {:3.0f} % of plain\n", background,
             bytes / background / 1e9, 100 * write / background);
  fmt::print(
      "  training waits            {:8.3f} s to copy (the first time {:.3f} s), {:.3f} s to commit: {:.1f} % of {} s\n",
      begin, first, finish, 100 * (begin + finish) / kInterval, kInterval);
  fmt::print("  plain read, cached        {:8.3f} s  {:6.2f} GB/s\n", read, bytes / read / 1e9);
  fmt::print("  load, checked, cached     {:8.3f} s  {:6.2f} GB/s   {:3.0f} % of plain\n", load, bytes / load / 1e9,
             100 * read / load);
  if (const std::string path = options.text("--json", ""); !path.empty()) {
    const nlohmann::json j = {
        {"ranks", world->size()},  {"bytes", bytes},     {"save_s", save},
        {"save_checked_s", check}, {"load_s", load},     {"plain_write_s", write},
        {"plain_read_s", read},    {"begin_s", begin},   {"background_s", background},
        {"begin_first_s", first},  {"finish_s", finish}, {"stall_share", (begin + finish) / kInterval}};
    std::ofstream(path) << j.dump(1) << "\n";
  }
  return 0;
}

}  // namespace banyan::perf
