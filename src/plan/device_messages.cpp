#include "src/plan/device_messages.hpp"

#include <fmt/format.h>

#include <string>

#include "src/base/error.hpp"
#include "src/base/units.hpp"
#include "src/config/comm_rules.hpp"

namespace banyan::plan {

DeviceCarrier device_carrier(const config::Config& c) {
  if (c.run.backend != "cuda") return DeviceCarrier::kNone;
  if (c.comm.device == "staged") return DeviceCarrier::kStaged;
  if (c.comm.device == "ucx") return DeviceCarrier::kUcx;
  const bool host_wanted = !config::chosen_collective(c.comm).empty() || c.comm.checksum == "on";
  return c.comm.device == "auto" && host_wanted ? DeviceCarrier::kStaged : DeviceCarrier::kNccl;
}

void carry(Machine& m, DeviceCarrier carrier, double reduce_rate) {
  comm::HostCopies host;
  m.messages.clear();
  if (carrier == DeviceCarrier::kNccl) m.messages = "NCCL's, over the links as they are";
  if (carrier == DeviceCarrier::kUcx || carrier == DeviceCarrier::kStaged) {
    const bool all = carrier == DeviceCarrier::kStaged;
    if (m.host_link <= 0)
      throw ConfigError(
          "{} of GPUs go through host memory (comm.device), but what the link between a GPU and its host carries is "
          "not known of {}; add node.host_link to a machine file",
          all ? "messages" : "collectives", m.name);
    host = {.start = m.kernel_seconds, .copy = 1 / m.host_link, .add = 1 / reduce_rate, .messages = all};
    m.messages = fmt::format("{} through host memory, copied with {}/s each way, added up with {}/s{}",
                             all ? "all" : "collectives", format_bytes(m.host_link), format_bytes(reduce_rate),
                             all ? "" : "; others by UCX, over the links as they are");
  }
  for (comm::TreeLevel& level : m.links) level.host = host;
}

}  // namespace banyan::plan
