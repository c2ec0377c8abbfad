// What a job finds out about the network it runs on: which hosts hang from which switch (topology.source).
#pragma once

#include <optional>

#include "comm/communicator.hpp"
#include "comm/topology/fabric.hpp"
#include "src/config/config.hpp"
#include "src/parallel/placement.hpp"

namespace banyan::job {

/// Gives the World its leaves and returns the network they are from; nothing where nobody tells, or all hosts are to be
/// taken for neighbours (flat): one leaf then.  Called by all ranks, which `everyone` holds, with nothing in flight;
/// the answer is the same on all.
///
///   slurm     SLURM_TOPOLOGY_ADDR of all ranks           probe  messages between the hosts (comm/topology/probe.hpp)
///   scontrol  what `scontrol show topology` prints       ib     what `ibnetdiscover` and `dump_fts` print
///   PATH      a file of a format that comm/topology/read_fabric.hpp knows
///   auto      slurm, and scontrol where that one is silent
///
/// Whatever is believed is held against what Slurm tells of the job's hosts, by the next of these two; warnings say
/// where they disagree.
///
/// ConfigError for a file or a program that is not there, DataError for what it says when it is wrong or lacks a host
/// of the job; auto goes on with the next source then, and says so.
std::optional<comm::Fabric> learn_topology(comm::World& world, comm::Communicator& everyone,
                                           const config::Config& config);

/// Where the first `ranks` ranks sit, and what the ways up of their nodes and leaves carry as far as the network, which
/// learn_topology gave, tells.
parallel::Fabric fabric_of(const comm::World& world, const std::optional<comm::Fabric>& network, int ranks);

}  // namespace banyan::job
