// bench comm: what messages and collectives cost between the ranks it is started on (mpirun -n N bench comm), beside
// the MPI library's own and the limits of the machine, all in one run.  perf/README.md says what the columns mean.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <memory>

#include "comm/communicator.hpp"
#include "kernels/backend.hpp"
#include "perf/comm_groups.hpp"
#include "perf/comm_measure.hpp"
#include "perf/commands.hpp"
#include "src/base/error.hpp"
#include "src/base/json.hpp"
#include "src/base/units.hpp"

namespace banyan::perf {
namespace {

constexpr const char* kUsage = R"(mpirun -n N bench comm [options]
  --kinds A,B,...       latency bandwidth barrier broadcast all-reduce reduce-scatter all-gather all-to-all
                        (default: all of them)
  --algorithms A,B,...  auto and names of plans (comm/plans/catalog.hpp); a kind that has none of them gets auto
                        (default: auto and all of the kind's)
  --piece BYTES         messages of at most that size (default: as training cuts them)
  --sizes MIN:MAX[:F]   message sizes, each F times the last (default 8:16MiB:8)
  --against mpi|none    the MPI library's own blocking calls, alternately (default mpi)
  --limits on|off       memcpy by all ranks at once, and ucx_perftest for latency and bandwidth (default on; ranks of one
                        node only)
  --peer R              the rank that rank 0 exchanges messages with (default 1)
  --transport T         auto, ucx or mpi, as comm.host_transport (default auto)
  --repeats N           blocks of calls per figure (default 7); the figure is their median
  --block TIME          how long a block of calls takes, about (default 20ms)
  --json FILE           writes the figures to FILE, too
The exit code is 65 when a result was wrong.
)";

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0;;) {
    const std::size_t end = text.find(at, begin);
    parts.push_back(text.substr(begin, end - begin));
    if (end == std::string::npos) return parts;
    begin = end + 1;
  }
}

struct Request {
  std::vector<Traffic> kinds;
  std::vector<std::string> algorithms;  ///< empty: all
  std::int64_t piece = 0;
  std::vector<std::int64_t> sizes;
  bool against = true, limits = true;
  int peer = 1;
  std::string transport, json;
  MeasureOptions measure;
};

std::string one_of(const Options& o, const std::string& name, const std::vector<std::string>& values) {
  const std::string value = o.text(name, values[0]);
  if (std::find(values.begin(), values.end(), value) == values.end())
    throw UsageError("{} = {} is not known; use {}", name, value, fmt::join(values, ", "));
  return value;
}

std::vector<std::int64_t> parse_sizes(const std::string& text) {
  const std::vector<std::string> parts = split(text, ':');
  const auto low = parse_bytes(parts[0]), high = parts.size() > 1 ? parse_bytes(parts[1]) : low;
  const auto factor = parts.size() > 2 ? parse_count(parts[2]) : std::int64_t{8};
  if (parts.size() > 3 || !low || !high || !factor || *low < 4 || *high < *low || *factor < 2 ||
      *high > (std::int64_t{1} << 32))
    throw UsageError("--sizes {} is refused; give MIN:MAX or MIN:MAX:FACTOR, for example 8:64MiB:4, from 4 to 4GiB",
                     text);
  std::vector<std::int64_t> sizes;
  for (std::int64_t s = *low; s <= *high; s *= *factor) sizes.push_back(s);
  return sizes;
}

Request parse(const std::vector<std::string>& words) {
  const Options o(words, {"--kinds", "--algorithms", "--piece", "--sizes", "--against", "--limits", "--peer",
                          "--transport", "--repeats", "--block", "--json"});
  Request r;
  const std::string kinds = o.text("--kinds", "");
  if (kinds.empty()) r.kinds.assign(std::begin(kAllTraffic), std::end(kAllTraffic));
  for (const std::string& name : kinds.empty() ? std::vector<std::string>{} : split(kinds, ',')) {
    const auto traffic = traffic_of(name);
    if (!traffic) throw UsageError("--kinds {}: there is no {}; bench comm --help lists them", kinds, name);
    r.kinds.push_back(*traffic);
  }
  if (const std::string text = o.text("--algorithms", ""); !text.empty()) r.algorithms = split(text, ',');
  for (const std::string& a : r.algorithms) {
    const auto has = [&a](Traffic t) {
      const std::vector<std::string> all = CommGroups::algorithms(t);
      return std::find(all.begin(), all.end(), a) != all.end();
    };
    if (std::none_of(r.kinds.begin(), r.kinds.end(), has))
      throw UsageError("--algorithms {} is not known to any of --kinds; bench comm without it shows all", a);
  }
  if (const std::string text = o.text("--piece", ""); !text.empty()) {
    const auto piece = parse_bytes(text);
    if (!piece || *piece < 4) throw UsageError("--piece {} is refused; give 4 bytes or more, for example 128KiB", text);
    r.piece = *piece;
  }
  r.sizes = parse_sizes(o.text("--sizes", "8:16MiB:8"));
  r.against = one_of(o, "--against", {"mpi", "none"}) == "mpi";
  r.limits = one_of(o, "--limits", {"on", "off"}) == "on";
  r.transport = one_of(o, "--transport", {"auto", "ucx", "mpi"});
  r.peer = static_cast<int>(o.number("--peer", 1));
  r.measure.repeats = static_cast<int>(o.number("--repeats", 7));
  const auto block = parse_time(o.text("--block", "20ms"));
  if (r.measure.repeats < 1 || !block || *block <= 0)
    throw UsageError("bench comm needs --repeats of 1 or more and a --block longer than nothing");
  r.measure.block_seconds = *block;
  r.json = o.text("--json", "");
  return r;
}

/// What of the request this kind has.
std::vector<std::string> algorithms_of(const Request& request, Traffic traffic) {
  const std::vector<std::string> all = CommGroups::algorithms(traffic);
  if (request.algorithms.empty()) return all;
  std::vector<std::string> some;
  for (const std::string& a : request.algorithms)
    if (std::find(all.begin(), all.end(), a) != all.end()) some.push_back(a);
  return some.empty() ? std::vector<std::string>{"auto"} : some;
}

/// Ratios to the MPI library's best and to the limit, block by block.
void compare(std::vector<Row>& rows) {
  const auto best = [&rows](const std::vector<std::string>& names) -> const Row* {
    const Row* found = nullptr;
    for (const Row& r : rows)
      if (std::find(names.begin(), names.end(), r.algorithm) != names.end() && (!found || r.time() < found->time()))
        found = &r;
    return found;
  };
  const Row* const mpi = best({"mpi", "mpi block"});
  const Row* limit = best({kPerftest, kWindow, kWindowPastCaches});
  const Row* copy = best({kMemcpy});
  const auto seconds = [](const Row* r) { return r ? r->seconds : std::vector<double>{}; };
  for (Row& r : rows) {
    const bool banyans = r.algorithm.rfind("mpi", 0) != 0;
    if (r.is_limit) continue;
    if (banyans) r.ratio = paired_ratio(seconds(mpi), r.seconds);
    r.share = paired_ratio(seconds(limit), r.seconds);
    r.copy_share = paired_ratio(seconds(copy), r.seconds);
  }
}

void write_json(const Request& request, const comm::World& world, const std::vector<Row>& rows) {
  Json j;
  j["bench"] = "comm";
  j["ranks"] = world.size();
  j["nodes"] = world.node(world.size() - 1) + 1;
  int leaves = 0;
  for (int r = 0; r < world.size(); ++r) leaves = std::max(leaves, world.leaf(r) + 1);
  j["leaves"] = leaves;
  j["transport"] = world.transport_name();
  if (request.against) j["mpi"] = MpiPeer::version();
  j["repeats"] = request.measure.repeats;
  j["rows"] = Json::array();
  for (const Row& r : rows) j["rows"].push_back(to_json(r));
  std::ofstream file(request.json);
  if (!(file << j.dump(1) << '\n').flush()) throw IoError("cannot write {}", request.json);
}

int run(const Request& request) {
  const auto backend = kernels::make_cpu_backend({.threads = 1, .max_isa = ""});
  const auto world = comm::make_mpi_world();
  comm::WorldOptions options;
  options.host_transport = request.transport;
  const comm::ReduceFunction reduce = [&](Queue q, View out, ConstView a, ConstView b, comm::ReduceOp op) {
    backend->reduce(q, out, a, b, static_cast<kernels::ReduceOp>(op));
  };
  world->configure(options, reduce, nullptr);
  const int size = world->size();
  if (size < 2) throw UsageError("bench comm needs two ranks or more: mpirun -n 2 bench comm");
  if (request.peer < 1 || request.peer >= size) throw UsageError("--peer {} is not in 1 .. {}", request.peer, size - 1);
  CommGroups groups(*world, reduce);
  comm::Communicator& c = groups.quiet();
  MpiPeer peer;
  const bool speaks = world->rank() == 0;
  const int nodes = world->node(size - 1) + 1;
  MeasureOptions measuring = request.measure;
  measuring.same_clock = nodes == 1;

  const auto quiet = [&] {
    c.barrier("the end of a measurement");
    peer.meet([&] { c.progress(); });
  };
  if (speaks)
    fmt::print(
        "# {} ranks on {} nodes, Banyan over {}, {}\n# GB/s = 1e9 bytes/s; one call after the other (left, as in "
        "nccl-tests), each after a barrier (middle, as in OSU's)\n",
        size, nodes, world->transport_name(), MpiPeer::version());

  std::unique_ptr<CopyLimit> window;
  if (request.limits && nodes == 1 && size <= CopyLimit::kMostRanks)
    window = std::make_unique<CopyLimit>(peer.share(CopyLimit::part_bytes()), world->rank());
  std::vector<Row> all;
  for (const Traffic traffic : request.kinds) {
    const bool pair = point_to_point(traffic);
    if (speaks) fmt::print("\n# {}\n{}", name_of(traffic), row_header());
    for (const std::int64_t bytes : traffic == Traffic::kBarrier ? std::vector<std::int64_t>{0} : request.sizes) {
      Case k(traffic, bytes, world->rank(), size, request.peer);
      std::vector<Subject> subjects;
      for (const std::string& a : algorithms_of(request, traffic))
        subjects.push_back(banyan_subject(groups.with(traffic, a, request.piece), a));
      if (request.against)
        for (const std::string& variant : MpiPeer::variants(traffic)) subjects.push_back(mpi_subject(peer, variant));
      const bool copies = request.limits && nodes == 1 && !pair && traffic != Traffic::kBarrier;
      if (copies) {
        subjects.push_back(copy_subject(c));
        if (window)
          for (const bool past : {false, true}) subjects.push_back(window_subject(c, *window, past));
      }
      std::function<double()> external;
      if (request.limits && nodes == 1 && pair) external = [&] { return ucx_limit(traffic, k.bytes()); };
      std::vector<Row> rows = measure(c, k, subjects, quiet, external, measuring);
      compare(rows);
      for (Row& r : rows)
        if (r.algorithm == "auto" && !pair) r.plan = groups.chosen(traffic, k.bytes());
      if (speaks)
        for (const Row& r : rows) fmt::print("{}", to_text(r));
      std::fflush(stdout);
      all.insert(all.end(), std::make_move_iterator(rows.begin()), std::make_move_iterator(rows.end()));
    }
  }
  if (speaks) fmt::print("\n{}", summary(all));
  if (speaks && !request.json.empty()) write_json(request, *world, all);
  const auto wrong = std::count_if(all.begin(), all.end(), [](const Row& r) { return r.wrong > 0; });
  if (wrong == 0) return 0;
  if (speaks) fmt::print(stderr, "bench comm: {} of {} figures belong to wrong results\n", wrong, all.size());
  return static_cast<int>(ExitCode::kBadData);
}

}  // namespace

int bench_comm(const std::vector<std::string>& words) {
  if (std::find(words.begin(), words.end(), "--help") != words.end()) {
    fmt::print("{}", kUsage);
    return 0;
  }
  return run(parse(words));
}

}  // namespace banyan::perf
