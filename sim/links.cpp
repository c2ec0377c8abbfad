#include "sim/links.hpp"

#include "src/base/error.hpp"

namespace banyan::sim {

kernels::DryOptions device_of(const plan::Machine& m) {
  if (m.cores > 0)
    throw ConfigError("the ranks of {} share cores, which are not played; leave node.cores out of the machine file",
                      m.name);
  kernels::DryOptions device;
  device.flops = m.fp32 * m.gemm_efficiency;
  device.attention_flops = m.fp32 * m.attention_efficiency;
  device.memory_rate = m.memory_rate;
  device.start = m.kernel_seconds;
  return device;
}

comm::Links links_of(const plan::Machine& m) {
  if (m.links.size() != 3)
    throw ConfigError("{} has {} levels of links; a fabric of two levels of switches takes [node], [leaf] and [spine]",
                      m.name, m.links.size());
  const comm::TreeLevel &node = m.links[0], &leaf = m.links[1], &spine = m.links[2];
  comm::Links links;
  links.node = {node.latency, node.rate};
  links.leaf = {leaf.latency, leaf.rate * node.ranks};      // all ranks of a node
  links.across = {spine.latency, spine.rate * leaf.ranks};  // all ranks of a leaf
  links.copy_rate = m.memory_rate / 2;                      // read and written
  links.reduce_rate = m.memory_rate / 3;
  return links;
}

}  // namespace banyan::sim
