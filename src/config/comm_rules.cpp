#include "src/config/comm_rules.hpp"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "src/base/error.hpp"

namespace banyan::config {
namespace {

/// The keys that choose collectives; the barrier last.
std::array<std::pair<const char*, const std::string*>, 6> collectives(const comm_section& m) {
  return {{{"all_reduce", &m.all_reduce},
           {"reduce_scatter", &m.reduce_scatter},
           {"all_gather", &m.all_gather},
           {"broadcast", &m.broadcast},
           {"all_to_all", &m.all_to_all},
           {"barrier", &m.barrier}}};
}

}  // namespace

std::string chosen_collective(const comm_section& m) {
  for (const auto& [key, value] : collectives(m))
    if (value != &m.barrier && *value != "auto") return fmt::format("comm.{} = {}", key, *value);
  return "";
}

void shared_needs_shared_memory(const Config& c) {
  if (c.comm.shared_memory == "on") return;
  for (const auto& [key, value] : collectives(c.comm))
    if (*value == "shared")
      throw ConfigError(
          "comm.{} = shared needs memory that ranks share, but comm.shared_memory = {}; use comm.shared_memory = on, "
          "or comm.{} = auto",
          key, c.comm.shared_memory, key);
}

void gpus_for_what_carries_their_memory(const Config& c) {
  if (c.comm.device == "auto" || c.run.backend == "cuda") return;
  throw ConfigError(
      "comm.device = {} is about the memory of GPUs, but run.backend = {}; use run.backend = cuda, or "
      "comm.device = auto",
      c.comm.device, c.run.backend);
}

void messages_are_checked_in_host_memory(const Config& c) {
  if (c.comm.checksum == "off" || c.comm.device == "auto" || c.comm.device == "staged") return;
  throw ConfigError(
      "comm.checksum = on covers what passes through host memory, but comm.device = {} does without; use "
      "comm.device = staged, or comm.checksum = off",
      c.comm.device);
}

void nccl_has_its_own_collectives(const Config& c) {
  if (c.comm.device != "nccl") return;
  if (const std::string key = chosen_collective(c.comm); !key.empty())
    throw ConfigError(
        "{} is for host memory, but comm.device = nccl has collectives of its own; use comm.device = staged, or "
        "leave it at auto",
        key);
}

}  // namespace banyan::config
