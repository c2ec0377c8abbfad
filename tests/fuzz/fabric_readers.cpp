// Each text is read as some tree that can be drawn and written, or refused with a DataError.
#include "comm/topology/fabric_file.hpp"
#include "comm/topology/fabric_text.hpp"
#include "comm/topology/host_list.hpp"
#include "comm/topology/read_fabric.hpp"
#include "comm/topology/slurm_topology.hpp"
#include "src/base/error.hpp"
#include "tests/fuzz/readers.hpp"

namespace banyan::fuzz {
namespace {

void draw_and_write(const comm::Fabric& f) {
  if (f.hosts.size() > 2000) return;
  must(!comm::draw(f).empty() && !comm::draw_svg(f).empty(), "a fabric cannot be drawn");
  must(comm::tree_of(f, f.hosts).levels.at(0).size() == f.hosts.size(), "a host has no place in the tree");
  comm::parse_fabric_file(comm::write_fabric_file(f), "written");
}

/// A reader of a format of comm/topology/read_fabric.hpp.
std::function<void(std::string_view)> text_in(const char* format) {
  return [format](std::string_view input) {
    try {
      draw_and_write(comm::read_fabric(input, "input", format));
    } catch (const DataError&) {
    }
  };
}

void read_ib(std::string_view input) {
  const auto [wires, errors] = two_parts(input);
  try {
    comm::IbExtras extras;
    if (!errors.empty()) extras = {.faults = errors, .faults_file = "errors"};
    draw_and_write(comm::read_fabric(wires, "input", "ib", extras));
  } catch (const DataError&) {
  }
}

void read_routes(std::string_view input) {
  const auto [wires, routes] = two_parts(input);
  try {
    draw_and_write(comm::read_fabric(wires, "input", "ib", {.routes = routes, .routes_file = "routes"}));
  } catch (const DataError&) {
  }
}

void read_hosts(std::string_view input) {
  try {
    const auto names = comm::expand_host_list(input, 1000);
    must(names.empty() || comm::expand_host_list(comm::fold_host_list(names)) == names, "a host list does not fold");
  } catch (const DataError&) {
  }
}

void read_addresses(std::string_view input) {
  const auto [address, pattern] = two_parts(input);
  try {
    draw_and_write(comm::fabric_of_addresses(
        {{"tux1", std::string(address), std::string(pattern)}, {"tux2", "s[4-7].s0.tux2", "switch.switch.node"}}));
  } catch (const DataError&) {
  }
}

std::function<std::vector<std::string>()> these(std::vector<std::string> seeds) {
  return [seeds = std::move(seeds)] { return seeds; };
}

}  // namespace

std::vector<Reader> fabric_readers() {
  return {
      {"slurm", text_in("slurm"),
       these({"SwitchName=s0 Nodes=tux[0-3]\nSwitchName=s1 Nodes=tux[4-7] LinkSpeed=900\nSwitchName=s2 "
              "Switches=s[0-1]\n",
              "SwitchName=leaf0 Level=0 LinkSpeed=1 Nodes=n[1-2]\nSwitchName=spine Level=1 LinkSpeed=1 Nodes=n[1-2] "
              "Switches=leaf0\n",
              "BlockName=b1 Nodes=n[01-04]\nBlockName=b2 Nodes=n[05-08]\nBlockSizes=4,8\n"})},
      {"yaml", text_in("yaml"),
       these(
           {"- topology: a\n  cluster_default: true\n  tree:\n    switches:\n    - switch: s0\n      nodes: tux[0-3]\n"
            "    - switch: s1\n      children: s0\n- topology: b\n  flat: true\n",
            "- {topology: a, block: {block_sizes: [4, 8], blocks: [{block: b1, nodes: \"n[01-04]\"}]}}\n"})},
      {"fabric", text_in("fabric"),
       these({"switch top switches=l[1-2] rate=50MB cables=2\nswitch l1 hosts=n[1-2],r[1-2]n[07-08] rate=125MB\n"
              "switch l2 hosts=n5 reason=x\n"})},
      {"ib", read_ib, these({})},          // a real one is in the corpus
      {"routes", read_routes, these({})},  // here, too
      {"hosts", read_hosts, these({"n[1-3,7],gpu[01-16]-ib[0,1],login"})},
      {"addresses", read_addresses, these({"s[4-7].s0.tux1\n--\nswitch.switch.node"})}};
}

}  // namespace banyan::fuzz
