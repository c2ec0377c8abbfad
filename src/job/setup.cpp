#include "src/job/setup.hpp"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <thread>
#include <utility>

#include "comm/topology/contact.hpp"
#include "src/base/error.hpp"
#include "src/base/log.hpp"
#include "src/job/device_way.hpp"
#include "src/job/memory_check.hpp"
#include "src/job/placement.hpp"
#include "src/job/plans.hpp"
#include "src/job/topology.hpp"
#include "src/parallel/placement.hpp"
#include "src/plan/memory.hpp"
#include "src/plan/recompute.hpp"

namespace banyan::job {
namespace {

// Communicators of a team: one id per axis is enough, because two groups of one axis share at most one rank.
enum GroupId { kAll, kTensor, kData, kPipeline, kTied, kCopies, kGroupIds };
constexpr int kFirstTeamId = 2;  // 0: start-up, 1: everyone
// More than a stage and a trainer allocate, besides one for each slot; each may leave a gap behind it.
constexpr std::size_t kArraysOfATeam = 16;

plan::Use use_for(Purpose purpose) {
  switch (purpose) {
    case Purpose::kTrain:
      return plan::Use::kTrain;
    case Purpose::kEvaluate:
      return plan::Use::kEvaluate;
    case Purpose::kGenerate:
      return plan::Use::kGenerate;
  }
  throw BugError("a team for purpose {}", static_cast<int>(purpose));
}

/// Threads of a rank when run.threads = 0.  A rank bound to cores of its own uses those; ranks that may run everywhere
/// share the cores of the node.
int default_threads(const comm::World& world) {
  cpu_set_t set;
  CPU_ZERO(&set);
  const long online = std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN));
  const long allowed = ::sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : online;
  return static_cast<int>(std::max(1L, std::min(allowed, online / world.local_size())));
}

/// Instruction sets from the poorest to the richest, as kernels::cpu_isa names them.
constexpr std::array<std::string_view, 5> kIsas{"baseline", "avx2", "avx512", "avx512_bf16", "amx"};

std::string lowest_common_isa(comm::Communicator& everyone) {
  std::size_t lowest = kIsas.size() - 1;
  for (const std::string& isa : comm::all_gather_strings(everyone, kernels::cpu_isa(), "the instruction sets")) {
    const auto at = std::find(kIsas.begin(), kIsas.end(), isa);
    if (at == kIsas.end()) throw BugError("{} is not a known instruction set", isa);
    lowest = std::min(lowest, static_cast<std::size_t>(at - kIsas.begin()));
  }
  return std::string(kIsas[lowest]);
}

bool moves_in_background(const std::string& progress, const comm::World& world) {
  return progress == "thread" || (progress == "auto" && comm::node_speakers(world).size() > 1);
}

}  // namespace

Job::Job(comm::World& world_, std::string command_, config::Config config_, std::string config_text_,
         std::unique_ptr<kernels::Backend> device)
    : world(world_),
      command(std::move(command_)),
      config(std::move(config_)),
      config_text(std::move(config_text_)),
      run_dir(config.run.dir),
      watchdog(world_),
      next_group_(kFirstTeamId) {
  std::vector<int> ranks(static_cast<std::size_t>(world.size()));
  for (int r = 0; r < world.size(); ++r) ranks[static_cast<std::size_t>(r)] = r;
  {
    const auto all = world.group(ranks, 0, "world");
    isa = lowest_common_isa(*all);
  }
  threads = config.run.threads > 0 ? static_cast<int>(config.run.threads) : default_threads(world);
  backend = device ? std::move(device) : kernels::make_cpu_backend({.threads = threads, .max_isa = isa});
  device_ = dynamic_cast<kernels::DeviceBackend*>(backend.get());
  if (device_) device_memory_ = static_cast<std::int64_t>(device_->free_memory() + device_->scratch_bytes());
  if (config.run.precision == "bf16" && !backend->multiplies_bf16() && world.rank() == 0)
    log::warning(
        "run.precision = bf16: the processors of this job have no products of bf16 in common, so they are computed in "
        "fp32; "
        "that saves memory and messages, but takes longer than run.precision = fp32");
  const bool background = moves_in_background(config.comm.progress, world);
  // A thread that moves messages adds alone: a second team of threads would fight the first for the cores.  What a
  // device computes is added up in host memory by the CPU.
  const bool other_thread = background || !config.checkpoint.local.empty();  // which waits, and so moves messages
  if ((other_thread && threads > 1) || on_device())
    aside = kernels::make_cpu_backend({.threads = other_thread ? 1 : threads, .max_isa = isa});
  kernels::Backend* other = aside ? aside.get() : backend.get();
  kernels::Backend* b = &adds_messages();
  const auto pick = [b, other, own = std::this_thread::get_id()]() -> kernels::Backend& {
    return std::this_thread::get_id() == own ? *b : *other;
  };
  world.configure(
      {.peer_timeout = Seconds(config.comm.peer_timeout),
       .host_transport = config.comm.host_transport,
       .rendezvous = static_cast<std::size_t>(config.comm.rendezvous),
       .shared_memory = config.comm.shared_memory == "on",
       .background = background,
       .checksum = config.comm.checksum == "on"},
      [pick](Queue q, View out, ConstView x, ConstView y, comm::ReduceOp op) {
        pick().reduce(q, out, x, y, static_cast<kernels::ReduceOp>(op));
      },
      [pick](Queue q, View out, ConstView in) { pick().copy(q, out, in); });
  {
    // Over the transport that will carry the training, should it come to measuring.
    const auto all = world.group(ranks, 0, "world");
    network = learn_topology(world, *all, config);
  }
  everyone = world.group(std::move(ranks), 1, plan::kWorldGroup);
  if (on_device()) {
    way_ = std::make_unique<DeviceWay>(*device_, world, *everyone, config);
    everyone = way_->over(std::move(everyone));
  }
}

// Its buffers are the backend's.
Job::~Job() { everyone.reset(); }

bool Job::adds_on_device() const { return way_ && !way_->adds().empty(); }

std::string Job::arithmetic() const {
  if (!on_device()) return isa;
  return backend->describe() + (adds_on_device() ? ", " + way_->adds() : "");
}

std::unique_ptr<comm::Communicator> Job::group(std::vector<int> ranks, int id, std::string name) {
  if (ranks.size() < 2) return nullptr;
  auto host = world.group(std::move(ranks), id, std::move(name));
  return on_device() ? way_->over(std::move(host)) : std::move(host);
}

std::int64_t Job::memory_of_a_rank() {
  if (!on_device()) return job::memory_of_a_rank(world, *everyone);
  return comm::all_reduce_value(*everyone, device_memory_, comm::ReduceOp::kMin, "the memory of the devices");
}

config::Config Job::settled(std::int64_t vocab, Purpose purpose) {
  config::Config c = config;
  if (purpose != Purpose::kTrain || c.train.recompute != "auto") return c;
  c.run.threads = threads;
  const plan::RecomputeChoice choice = plan::choose_recompute(c, world.size(), vocab, memory_of_a_rank());
  if (root()) log::info("train.recompute = auto is {}", choice.str());
  c.train.recompute = choice.recompute;
  return c;
}

std::unique_ptr<Team> Job::assemble(std::int64_t vocab, Purpose purpose) {
  return assemble(settled(vocab, purpose), world.size(), vocab, purpose);
}

std::unique_ptr<Team> Job::assemble(const config::Config& other, int ranks, std::int64_t vocab, Purpose purpose) {
  plan::Layout layout = plan::make_layout(other, ranks, vocab, use_for(purpose));
  const parallel::Fabric fabric = fabric_of(world, network, ranks);
  Placement placement = choose_placement(*this, layout, fabric);
  return assemble(other, std::move(layout), fabric, std::move(placement));
}

std::unique_ptr<Team> Job::assemble(std::int64_t vocab, Purpose purpose, std::vector<int> process_of) {
  const config::Config c = settled(vocab, purpose);
  return assemble(c, plan::make_layout(c, world.size(), vocab, use_for(purpose)),
                  fabric_of(world, network, world.size()),
                  {std::move(process_of), "the order that was given", "as given"});
}

std::unique_ptr<Team> Job::assemble(const config::Config& other, plan::Layout layout, const parallel::Fabric& fabric,
                                    Placement placement) {
  parallel::Mesh mesh(layout.mesh, std::move(placement.process_of));
  const int first_id = next_group_;
  // From the beginning again after hundreds of roll-backs, when the first teams are long gone.
  next_group_ = first_id + 2 * kGroupIds <= comm::kMaxGroupId + 1 ? first_id + kGroupIds : kFirstTeamId;
  if (root()) {
    for (const std::string& warning : parallel::split_tensor_groups(mesh, fabric)) log::warning("{}", warning);
    if (layout.spares() > 0)
      log::warning("{} of {} ranks idle: the mesh {} needs {}", world.size() - layout.mesh.size(), world.size(),
                   layout.mesh.str(), layout.mesh.size());
  }
  const int logical = mesh.logical_of_process(world.rank());
  config::Config with_threads = other;
  with_threads.run.threads = threads;
  const plan::MemoryPlan planned =
      logical < 0 ? plan::MemoryPlan() : plan::memory_plan(layout, with_threads, mesh.coordinate(logical));
  check_memory(world, *everyone, planned.on_node());
  check_device_memory(world, *everyone, planned.total(MemoryKind::kDevice), device_memory_);
  const bool tied = layout.ties_stages();
  if (logical < 0) {
    use_default_plans(*this, mesh, tied, nullptr);
    return nullptr;
  }
  const parallel::Coordinate at = mesh.coordinate(logical);
  const std::vector<int> column = mesh.pipeline_group(at);
  auto team = std::unique_ptr<Team>(new Team{.layout = std::move(layout), .mesh = mesh, .at = at});
  team->all = world.group(mesh.all(), first_id + kAll, plan::kMeshGroup);
  if (on_device()) team->all = way_->beside(std::move(team->all));
  if (team->layout.use == plan::Use::kTrain && !other.checkpoint.local.empty())
    team->copies = world.group(mesh.all(), first_id + kCopies, "node-local copies");
  team->tensor = group(mesh.tensor_group(at), first_id + kTensor, plan::kTensorGroup);
  team->data = group(mesh.data_group(at), first_id + kData, plan::kDataGroup);
  team->pipeline = group(column, first_id + kPipeline, plan::kPipelineGroup);
  if (tied && (team->first_stage() || team->last_stage()))
    team->tied = group({column.front(), column.back()}, first_id + kTied, plan::kTiedGroup);
  use_default_plans(*this, mesh, tied, team.get());
  team->placement = std::move(placement.reason);
  team->placement_name = std::move(placement.name);
  team->backend = backend.get();
  const auto slots = static_cast<std::size_t>(team->layout.stage_spec(at).slots);
  // What generation takes depends on its prompts.
  if (on_device() && team->layout.use != plan::Use::kGenerate)
    team->memory = device_->reserve(static_cast<std::size_t>(planned.arrays(MemoryKind::kDevice)) +
                                    (kArraysOfATeam + slots) * kernels::kDeviceLine);
  team->stage = model::Stage::make(team->layout.stage_spec(at), *backend, team->tensor.get());
  return team;
}

}  // namespace banyan::job
