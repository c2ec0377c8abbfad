// Which way the memory of GPUs goes between ranks (comm.device), and what that makes of a machine's links.  Pure.
#pragma once

#include <cstdint>

#include "comm/cost.hpp"
#include "src/config/config.hpp"
#include "src/plan/machine.hpp"

namespace banyan::plan {

enum class DeviceCarrier : std::uint8_t {
  kNone,   ///< the ranks compute in host memory
  kNccl,   ///< from device to device over the links as they are
  kUcx,    ///< messages so, collectives through host memory
  kStaged  ///< all through host memory
};

/// As far as the configuration tells: comm.device = auto is kNccl unless another key wants host memory; whether all
/// ranks can is known where they run.
DeviceCarrier device_carrier(const config::Config& config);

/// Makes the machine's links those of such messages; once they are the network's, which this does not change.  A copy
/// starts as an operation does (kernel_seconds); the hosts add reduce_rate bytes/s of sums.  Calling again with another
/// carrier replaces what was.  ConfigError where copies go over a link that the machine says nothing about (host_link).
void carry(Machine& machine, DeviceCarrier carrier, double reduce_rate = comm::Links{}.reduce_rate);

}  // namespace banyan::plan
