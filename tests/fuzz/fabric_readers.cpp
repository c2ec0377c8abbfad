// What libFuzzer calls: each text is read as some tree that can be drawn and written, or refused with a DataError.
// FUZZ_FORMAT is a format of comm/topology/read_fabric.hpp, "routes" (the format ib with routes instead of faults),
// "hosts" (host lists) or "addresses" (SLURM_TOPOLOGY_ADDR).
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "comm/topology/fabric_file.hpp"
#include "comm/topology/fabric_text.hpp"
#include "comm/topology/host_list.hpp"
#include "comm/topology/read_fabric.hpp"
#include "comm/topology/slurm_topology.hpp"
#include "src/base/error.hpp"

namespace {

using namespace banyan;

void must(bool holds) {
  if (!holds) std::abort();
}

comm::IbExtras extras(const std::string& format, std::string_view text) {
  if (format == "ib" && !text.empty()) return {.faults = text, .faults_file = "errors"};
  if (format == "routes") return {.routes = text, .routes_file = "routes"};
  return {};
}

void read(std::string_view text) {
  const std::string format = FUZZ_FORMAT;
  if (format == "hosts") {
    const auto names = comm::expand_host_list(text, 1000);
    if (!names.empty()) must(comm::expand_host_list(comm::fold_host_list(names)) == names);
    return;
  }
  // A line in the middle of the input ends its first part.
  const std::size_t cut = text.find("\n--\n");
  const std::string_view first = text.substr(0, cut);
  const std::string_view second = cut == std::string_view::npos ? std::string_view() : text.substr(cut + 4);
  const comm::Fabric f =
      format == "addresses"
          ? comm::fabric_of_addresses(
                {{"tux1", std::string(first), std::string(second)}, {"tux2", "s[4-7].s0.tux2", "switch.switch.node"}})
          : comm::read_fabric(first, "input", format == "routes" ? "ib" : format, extras(format, second));
  if (f.hosts.size() > 2000) return;
  must(!comm::draw(f).empty() && !comm::draw_svg(f).empty());
  must(comm::tree_of(f, f.hosts).levels.at(0).size() == f.hosts.size());
  comm::parse_fabric_file(comm::write_fabric_file(f), "written");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    read({reinterpret_cast<const char*>(data), size});
  } catch (const DataError&) {
  }
  return 0;
}
