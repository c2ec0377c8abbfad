#include "src/job/device_way.hpp"

#include "comm/ucx_device.hpp"
#include "src/base/error.hpp"
#include "src/base/log.hpp"
#include "src/config/comm_rules.hpp"

namespace banyan::job {
namespace {

/// Why this rank cannot use NCCL; empty: it can.
std::string nccl_problem(const kernels::DeviceBackend& device, const config::Config& config) {
  if (const std::string key = config::chosen_collective(config.comm); !key.empty()) return key + " is for host memory";
  if (config.comm.checksum == "on") return "comm.checksum = on covers what passes through host memory";
  if (device.sharers() > 1)
    return fmt::format("{} ranks share GPU {}, and NCCL needs one for each: start fewer ranks on a node",
                       device.sharers(), device.number());
  return comm::nccl_problem();
}

/// What the first rank that has a problem says; empty: none has.
std::string anybodys(const std::string& problem, const comm::World& world, comm::Communicator& all) {
  const std::vector<std::string> problems = comm::all_gather_strings(all, problem, "what carries the GPUs' memory");
  for (std::size_t r = 0; r < problems.size(); ++r)
    if (!problems[r].empty()) return fmt::format("{} (on {})", problems[r], world.host(static_cast<int>(r)));
  return "";
}

/// What messages of a device's memory go through.
comm::HostStaging staging_of(kernels::DeviceBackend& device, bool direct_messages) {
  return {.allocate =
              [&device](std::size_t bytes) {
                return std::shared_ptr<std::byte>(static_cast<std::byte*>(device.allocate_host(bytes)),
                                                  [&device, bytes](std::byte* p) { device.release_host(p, bytes); });
              },
          .copy = [&device](Queue q, View out, ConstView in) { device.copy(q, out, in); },
          .record = [&device](Queue q) { return device.record(q); },
          .wait = [&device](Queue q, Event e) { device.wait(q, std::move(e)); },
          .to_host = device.to_host(),
          .to_device = device.to_device(),
          .direct_messages = direct_messages};
}

}  // namespace

DeviceWay::DeviceWay(kernels::DeviceBackend& device, const comm::World& world, comm::Communicator& all,
                     const config::Config& config)
    : device_(device) {
  const std::string& wanted = config.comm.device;
  if (wanted == "ucx") {
    const std::string problem = anybodys(
        world.transport_name() == "ucx" ? comm::ucx_device_problem() : "messages go over " + world.transport_name(),
        world, all);
    if (!problem.empty()) throw ConfigError("comm.device = ucx, but {}; or write comm.device = staged", problem);
  }
  bool nccl = wanted == "nccl" || wanted == "auto";
  if (const std::string problem = nccl ? anybodys(nccl_problem(device, config), world, all) : ""; !problem.empty()) {
    if (wanted == "nccl") throw ConfigError("comm.device = nccl, but {}; or write comm.device = staged", problem);
    if (world.rank() == 0 && world.size() > 1)
      log::warning("what lies on GPUs goes through host memory (comm.device = auto): {}", problem);
    nccl = false;
  }
  if (!nccl) {
    staged_ = comm::make_staged_world(staging_of(device, wanted == "ucx"));
    device.accompany({.look = [this] { staged_->look(); }, .give_up = {}});
    return;
  }
  nccl_ = comm::make_nccl_world({.peer_timeout = Seconds(config.comm.peer_timeout),
                                 .device = device.number(),
                                 .stream = [&device](Queue q) { return device.native(q); }});
  device.accompany({.look = [this] { nccl_->check(); },
                    .give_up = [this] { nccl_->abort("this rank left in the middle of its work"); }});
}

DeviceWay::~DeviceWay() { device_.accompany({}); }

std::unique_ptr<comm::Communicator> DeviceWay::over(std::unique_ptr<comm::Communicator> host) {
  return nccl_ ? nccl_->group(std::move(host)) : staged_->group(std::move(host));
}

std::unique_ptr<comm::Communicator> DeviceWay::beside(std::unique_ptr<comm::Communicator> host) {
  return nccl_ ? std::move(host) : staged_->group(std::move(host));
}

}  // namespace banyan::job
