#include "src/job/plans.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>

#include "comm/calibrate.hpp"
#include "io/atomic_file.hpp"
#include "src/base/error.hpp"
#include "src/base/log.hpp"
#include "src/job/placement.hpp"
#include "src/job/topology.hpp"
#include "src/plan/placement_table.hpp"

namespace banyan::job {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPlansFile = "plans.json";
constexpr std::uintmax_t kLargestFile = 64 << 20;

plan::BookRequest request_of(const Job& job) {
  return {.axes = job.axes,
          .fabric = fabric_of(job.world, job.network, job.world.size()),
          .shared_memory = job.world.shares_memory(),
          .wishes = plan::wishes(job.config),
          .links = {}};
}

/// Rank 0's book everywhere.
void use_book(Job& job, Team* team, const comm::PlanBook& mine) {
  const std::string text = job.root() ? comm::write_book(mine) : "";
  job.plans_text = comm::broadcast_string(*job.everyone, text, 0, "the plans of collectives from rank 0");
  job.plans = comm::read_book(job.plans_text, "the plans of rank 0");
  const auto use = [&](comm::Communicator* group, const char* name) {
    if (!group || group->size() < 2) return;
    const comm::GroupPlans* plans = job.plans.find(name, group->size());
    if (!plans) throw BugError("no plans for the {} of {} ranks", name, group->size());
    group->use_plans(*plans);
  };
  use(job.everyone.get(), plan::kWorldGroup);
  if (!team) return;
  use(team->all.get(), plan::kMeshGroup);
  use(team->tensor.get(), plan::kTensorGroup);
  use(team->data.get(), plan::kDataGroup);
  use(team->pipeline.get(), plan::kPipelineGroup);
  use(team->tied.get(), plan::kTiedGroup);
}

std::string read_text(const fs::path& path) {
  std::error_code error;
  const std::uintmax_t size = fs::file_size(path, error);
  if (error)
    throw ConfigError("cannot read {}: {}; comm.plans takes recorded, auto or the path of a plans.json", path.string(),
                      error.message());
  if (size > kLargestFile) throw ConfigError("{} has {} bytes; that is no book of plans", path.string(), size);
  std::ifstream in(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  if (in.bad() || text.size() != size) throw IoError("cannot read {}", path.string());
  return text;
}

/// A book of another version of the program says nothing.
std::optional<comm::PlanBook> recorded_book(const std::string& text, const std::string& where) {
  if (comm::is_other_form(text, where)) {
    if (text.find("groups") != std::string::npos)
      log::warning("{}: its plans are not in the form this program reads; plans are chosen anew", where);
    return std::nullopt;
  }
  return comm::read_book(text, where);
}

std::optional<comm::PlanBook> find_recorded(const Job& job, const std::string& checkpoint) {
  const std::string& mode = job.config.comm.plans;
  if (mode == "auto") return std::nullopt;
  if (mode == "recorded") {
    if (!checkpoint.empty()) return recorded_book(checkpoint, "the plans in the checkpoint");
    const fs::path own = job.run_dir / kPlansFile;
    std::string text;
    if (!io::read_if_there(own, kLargestFile, text)) return std::nullopt;
    return recorded_book(text, own.string());
  }
  try {
    comm::PlanBook book = comm::read_book(read_text(mode), mode);
    for (const plan::Axis& axis : job.axes)
      if (const auto size = static_cast<int>(axis.groups[0].size()); !book.find(axis.name, size))
        throw ConfigError(
            "comm.plans = {} has no plans for a {} of {} ranks; use a file of a run with this mesh, or auto", mode,
            axis.name, size);
    return book;
  } catch (const DataError& e) {
    throw ConfigError("comm.plans: {}", e.what());
  }
}

/// The answer counts on rank 0.
comm::Links measure_links(Job& job) {
  kernels::Backend& b = job.adds_messages();
  return comm::measure_links(
      *job.everyone, job.world,
      [&](View out, ConstView x, ConstView y) { b.reduce(job.queue, out, x, y, kernels::ReduceOp::kSum); },
      [&](View out, ConstView in) { b.copy(job.queue, out, in); });
}

std::string joined(const std::vector<std::string>& names) {
  std::string s;
  for (const std::string& name : names) s += (s.empty() ? "" : ", ") + name;
  return s;
}

}  // namespace

void use_default_plans(Job& job, const parallel::Mesh& mesh, bool tied, Team* team) {
  job.axes = plan::axes(mesh, job.world.size(), tied);
  comm::PlanBook book;
  if (job.root()) {
    plan::BookRequest request = request_of(job);
    request.links = job.usual_links;
    book = plan::make_book(request).book;
  }
  use_book(job, team, book);
}

const comm::Links& links_of(Job& job) {
  if (job.links) return *job.links;
  std::optional<comm::PlanBook> found;
  if (job.root()) found = find_recorded(job, "");
  const bool measure = [&] {
    const comm::PatienceScope patience(kRootPatience);
    return comm::all_reduce_value(*job.everyone, std::int64_t{job.root() && !(found && found->links.measured)},
                                  comm::ReduceOp::kMax, "rank 0 to look for recorded links") > 0;
  }();
  comm::PlanBook book;
  if (measure)
    book.links = measure_links(job);
  else if (found)
    book.links = found->links;
  const std::string text = job.root() ? comm::write_book(book) : "";
  const char* what = "what links are worth from rank 0";
  return job.links.emplace(comm::read_book(comm::broadcast_string(*job.everyone, text, 0, what), what).links);
}

void settle_plans(Job& job, Team* team, const std::string& recorded) {
  std::optional<comm::PlanBook> found;
  if (job.root()) found = find_recorded(job, recorded);
  const bool measure = [&] {
    const comm::PatienceScope patience(kRootPatience);
    return comm::all_reduce_value(*job.everyone, std::int64_t{job.root() && !found}, comm::ReduceOp::kMax,
                                  "rank 0 to look for recorded plans") > 0;
  }();
  comm::Links links;
  if (measure) links = job.links ? *job.links : measure_links(job);
  const comm::PatienceScope patience(kRootPatience);
  comm::PlanBook book;
  if (job.root()) {
    plan::BookRequest request = request_of(job);
    request.links = links;
    if (found) request.recorded = &*found;
    plan::BookAnswer answer = plan::make_book(request);
    if (!answer.chosen_anew.empty())
      log::info("the recorded plans are for other groups than these, whose plans are chosen anew: {}",
                joined(answer.chosen_anew));
    if (!answer.overruled.empty())
      log::warning(
          "the configuration asks for other plans than the recorded ones ({}): losses will not be equal to the bit "
          "to those of a run that keeps them",
          joined(answer.overruled));
    book = std::move(answer.book);
  }
  use_book(job, team, book);
}

void write_plans(const Job& job, const parallel::Mesh& mesh, const std::string& plan) {
  io::write_atomic(job.run_dir / kHostFile, plan::host_file(mesh.all(), comm::hosts_of(job.world)));
  io::write_atomic(job.run_dir / kPlansFile, job.plans_text);
  io::write_atomic(job.run_dir / "plan.txt", plan);
}

}  // namespace banyan::job
