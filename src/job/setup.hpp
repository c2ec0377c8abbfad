// What every command that computes on ranks starts from: the world, the effective configuration, the run directory and
// (after assemble) a Team: this rank's place in the mesh with its communicators, backend and model stage.
// This file's .cpp is the only translator from the configuration to numbers.
//
//   run_job   makes World and Job, runs the command's body, turns errors into cause records and the exit code
//   (run_job.hpp) Job       the same on all ranks, spares included Team      the working ranks of one mesh; null on
//   spares.  A job may assemble several (compare does).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/topology/fabric.hpp"
#include "kernels/gpu.hpp"
#include "src/base/queue.hpp"
#include "src/base/section.hpp"
#include "src/config/config.hpp"
#include "src/job/watchdog.hpp"
#include "src/model/stage.hpp"
#include "src/parallel/mesh.hpp"
#include "src/parallel/placement.hpp"
#include "src/plan/collectives.hpp"
#include "src/plan/layout.hpp"
#include "src/plan/machine.hpp"

namespace banyan::job {

/// What a team is for: decides slots, microbatch shape and whether optimizer and gradients exist.
enum class Purpose : std::uint8_t { kTrain, kEvaluate, kGenerate };

/// The working ranks of one mesh, seen from one of them.  Members are created in this order and destroyed in reverse.
struct Team {
  plan::Layout layout;
  parallel::Mesh mesh;
  parallel::Coordinate at;                       ///< this rank's place
  std::unique_ptr<comm::Communicator> all{};     ///< every working rank, in logical order
  std::unique_ptr<comm::Communicator> copies{};  ///< the same, for the thread that sends copies of node-local
                                                 ///< checkpoints; null without them (checkpoint.local)
  std::unique_ptr<comm::Communicator> tensor{};  ///< null when the axis has one rank; the same below
  std::unique_ptr<comm::Communicator> data{};
  std::unique_ptr<comm::Communicator> pipeline{};  ///< member number = stage
  std::unique_ptr<comm::Communicator> tied{};      ///< first and last stage of this column when the token embedding is
                                                   ///< tied and lies on both: member 0 the first stage, 1 the last
  std::string placement{};                         ///< why ranks sit where they sit, one sentence
  std::string placement_name{};                    ///< the order's own
  kernels::Backend* backend = nullptr;             ///< owned by the Job
  std::shared_ptr<const void> memory{};            ///< of the device, what the plan says; null: taken as it is needed
  std::unique_ptr<model::Stage> stage{};

  bool first_stage() const { return at.pipeline == 0; }
  bool last_stage() const { return at.pipeline == mesh.shape().pipeline - 1; }
};

struct Placement;
class DeviceWay;

/// One job, seen from one rank.
class Job {
 public:
  comm::World& world;
  std::string command;                           ///< "train"
  const config::Config config;                   ///< effective; equal on all ranks
  std::string config_text;                       ///< the same as INI, for the run directory and checkpoints
  std::unique_ptr<comm::Communicator> everyone;  ///< all ranks, spares included
  std::optional<comm::Fabric> network;           ///< that the ranks sit on, where somebody tells
  std::unique_ptr<kernels::Backend> backend;     ///< threads: run.threads, or the node's cores / its ranks
  std::unique_ptr<kernels::Backend> aside;       ///< of the CPU, for messages: one thread, for who moves them while
                                                 ///< `backend` computes, or because `backend` is a device's; or empty
  Queue queue;
  int threads = 1;  ///< of this rank
  std::string isa;  ///< lowest common instruction set of the ranks
  std::filesystem::path run_dir;
  std::optional<plan::Machine> machine;      ///< on rank 0, once machine_of (rates.hpp) was asked
  std::optional<comm::Links> links;          ///< once links_of (plans.hpp) was asked; equal on all ranks
  comm::Links usual_links;                   ///< for which assemble chooses plans; on rank 0
  std::vector<plan::Axis> axes;              ///< groups of the mesh assembled last
  comm::PlanBook plans;                      ///< of their collectives; equal on all ranks
  std::string plans_text;                    ///< the same as JSON
  std::int64_t attempt = 0;                  ///< number of this start in the run directory; 0: not opened
  std::int64_t memory_at_start = 0;          ///< peak_memory() right after MPI_Init, which no plan counts
  std::string reason;                        ///< why it stops, for cause records: a name of stop.hpp, kWrong, or empty
  int suspect = -1;                          ///< rank that computed something wrong, for cause records; -1: none
  Clock::time_point started = Clock::now();  ///< when the process did
  Watchdog watchdog;                         ///< knows the last step begun, too

  /// Computes with `device`; nullptr: the CPU.
  Job(comm::World& world, std::string command, config::Config config, std::string config_text,
      std::unique_ptr<kernels::Backend> device = nullptr);
  ~Job();

  bool root() const { return world.rank() == 0; }
  /// `backend`, when it is a device's.
  kernels::DeviceBackend* device() const { return device_; }
  /// Whether the device's own library (NCCL) adds and carries what lies on it.
  bool adds_on_device() const;
  /// What decides every bit that is computed, besides the threads: the instruction set, or the device and its
  /// libraries.
  std::string arithmetic() const;
  /// What adds up messages, on the thread that computes.
  kernels::Backend& adds_messages() { return device_ ? *aside : *backend; }
  /// Bytes that each rank may have of the memory it computes in, of the rank where that is least; 0: not known.
  /// Collective over all ranks.
  std::int64_t memory_of_a_rank();
  /// This rank's part of the mesh of `config` for a dataset or checkpoint with `vocab` tokens (plan::make_layout says
  /// what model.vocab = 0 and larger values mean).  Null on spares.  Called by all ranks.
  std::unique_ptr<Team> assemble(std::int64_t vocab, Purpose purpose);
  /// The same for another configuration and only the first `ranks` ranks of the world.
  std::unique_ptr<Team> assemble(const config::Config& other, int ranks, std::int64_t vocab, Purpose purpose);
  /// The mesh of `config` with these world ranks in logical order, whatever topology.placement says.
  std::unique_ptr<Team> assemble(std::int64_t vocab, Purpose purpose, std::vector<int> process_of);

 private:
  /// `config`, with what train.recompute = auto comes to here; called by all ranks.
  config::Config settled(std::int64_t vocab, Purpose purpose);
  std::unique_ptr<Team> assemble(const config::Config& other, plan::Layout layout, const parallel::Fabric& fabric,
                                 Placement placement);
  bool on_device() const { return device_ != nullptr; }
  /// A communicator for whatever memory the backend computes in; null for less than two ranks.
  std::unique_ptr<comm::Communicator> group(std::vector<int> ranks, int id, std::string name);

  kernels::DeviceBackend* device_ = nullptr;
  std::unique_ptr<DeviceWay> way_;  ///< with a device
  std::int64_t device_memory_ = 0;  ///< bytes of its memory for this rank, its own included; 0: no device
  int next_group_ = 0;              ///< ids of communicators, counted alike on all ranks
};

}  // namespace banyan::job
