// What carries the memory of GPUs between ranks: comm.device.
#pragma once

#include <memory>
#include <string>

#include "comm/communicator.hpp"
#include "comm/nccl/nccl_world.hpp"
#include "comm/staged_group.hpp"
#include "kernels/gpu.hpp"
#include "src/config/config.hpp"

namespace banyan::job {

class DeviceWay {
 public:
  /// Called by all ranks, over `all`, once the world is configured.  ConfigError, the same on all, for what cannot be
  /// had. The device and the world outlive it.
  DeviceWay(kernels::DeviceBackend& device, const comm::World& world, comm::Communicator& all,
            const config::Config& config);
  ~DeviceWay();
  DeviceWay(const DeviceWay&) = delete;
  DeviceWay& operator=(const DeviceWay&) = delete;

  /// Gives a communicator of host memory the device's, too; goes before this.
  std::unique_ptr<comm::Communicator> over(std::unique_ptr<comm::Communicator> host);
  /// For one that carries host memory only, of the thread that waits with the others, too; goes before this.
  std::unique_ptr<comm::Communicator> beside(std::unique_ptr<comm::Communicator> host);
  /// "NCCL 2.28.9"; empty where sums are added in host memory.
  std::string adds() const { return nccl_ ? nccl_->describe() : ""; }

 private:
  kernels::DeviceBackend& device_;
  std::unique_ptr<comm::NcclWorld> nccl_;  ///< one of the two
  std::unique_ptr<comm::StagedWorld> staged_;
};

}  // namespace banyan::job
