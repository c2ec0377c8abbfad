// A host with GPUs for tests, as `lstopo --of xml` writes it.
#pragma once

#include <fmt/format.h>

#include <string>

namespace banyan::comm {

/// Two packages, each with a NUMA node, `cores` cores of two threads (CPU c and c + 2 * cores are one core), and four
/// PCI switches with one GPU and one InfiniBand adapter below each; the first package has an Ethernet port and the
/// screen of the board's manager besides.  `distances`: firmware tells 10 and 32.
inline std::string host_with_gpus(int cores = 8, bool distances = true) {
  int next = 1;
  const auto gp = [&] { return next++; };
  const auto sets = [](unsigned long long cpus, int nodes) {
    const std::string c = fmt::format("0x{:08x},0x{:08x}", cpus >> 32, cpus & 0xffffffffu);
    return fmt::format("cpuset=\"{0}\" complete_cpuset=\"{0}\" nodeset=\"{1:#x}\" complete_nodeset=\"{1:#x}\"", c,
                       nodes);
  };
  const auto pci = [&](const std::string& bus, const std::string& type, const std::string& model,
                       const std::string& devices) {
    return fmt::format(
        "<object type=\"PCIDev\" gp_index=\"{}\" pci_busid=\"{}\" pci_type=\"{} [10de:2330] [10de:16c1] a1\" "
        "pci_link_speed=\"0\"><info name=\"PCIDevice\" value=\"{}\"/>{}</object>\n",
        gp(), bus, type, model, devices);
  };
  const auto device = [&](const std::string& name, int type) {
    return fmt::format("<object type=\"OSDev\" gp_index=\"{}\" name=\"{}\" osdev_type=\"{}\"/>", gp(), name, type);
  };
  const auto bridge = [&](const char* type, int depth, int first, int last, const std::string& below) {
    return fmt::format(
        "<object type=\"Bridge\" gp_index=\"{}\" bridge_type=\"{}\" depth=\"{}\" bridge_pci=\"0000:[{:02x}-{:02x}]\" {}"
        ">\n{}</object>\n",
        gp(), type, depth, first, last,
        depth > 0 ? fmt::format("pci_busid=\"0000:{:02x}:01.0\" pci_type=\"0604 [1000:c030] [0000:0000] 01\" "
                                "pci_link_speed=\"0\"",
                                first - 1)
                  : "",
        below);
  };
  unsigned long long all = 0;
  std::string packages;
  for (int p = 0; p < 2; ++p) {
    unsigned long long mine = 0;
    std::string inside;
    for (int c = p * cores; c < (p + 1) * cores; ++c) {
      const unsigned long long a = 1ull << c, b = 1ull << (c + 2 * cores);
      mine |= a | b;
      inside += fmt::format("<object type=\"Core\" os_index=\"{}\" {} gp_index=\"{}\">", c, sets(a | b, 1 << p), gp());
      for (int pu : {c, c + 2 * cores})
        inside +=
            fmt::format("<object type=\"PU\" os_index=\"{}\" {} gp_index=\"{}\"/>", pu, sets(1ull << pu, 1 << p), gp());
      inside += "</object>\n";
    }
    all |= mine;
    const std::string node =
        fmt::format("<object type=\"NUMANode\" os_index=\"{}\" {} gp_index=\"{}\" local_memory=\"1073741824\"/>\n", p,
                    sets(mine, 1 << p), gp());
    std::string buses;
    for (int i = 0; i < 4; ++i) {
      const int n = p * 4 + i, bus = 0x10 + n * 0x10;
      const std::string gpu = pci(fmt::format("0000:{:02x}:00.0", bus + 2), "0302", "H100", "");
      const std::string nic = pci(fmt::format("0000:{:02x}:00.0", bus + 3), "0207", "ConnectX-7",
                                  device(fmt::format("ib{}", n), 2) + device(fmt::format("mlx5_{}", n), 3));
      buses += bridge("0-1", 0, bus, bus + 7,
                      bridge("1-1", 1, bus + 1, bus + 3,
                             bridge("1-1", 2, bus + 2, bus + 2, gpu) + bridge("1-1", 2, bus + 3, bus + 3, nic)));
    }
    if (p == 0)
      buses += bridge("0-1", 0, 0, 1,
                      pci("0000:00:02.0", "0200", "X550", device("eth0", 2)) +
                          pci("0000:00:03.0", "0300", "ASPEED", device("card0", 1)));
    packages += fmt::format("<object type=\"Package\" os_index=\"{}\" {} gp_index=\"{}\">\n{}{}{}</object>\n", p,
                            sets(mine, 1 << p), gp(), node, inside, buses);
  }
  std::string xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE topology SYSTEM \"hwloc2.dtd\">\n";
  xml += fmt::format(
      "<topology version=\"2.0\">\n<object type=\"Machine\" os_index=\"0\" {} allowed_cpuset=\"{}\" "
      "allowed_nodeset=\"0x3\" gp_index=\"{}\">\n{}</object>\n",
      sets(all, 3), fmt::format("0x{:08x},0x{:08x}", all >> 32, all & 0xffffffffu), gp(), packages);
  if (distances)
    xml +=
        "<distances2 type=\"NUMANode\" nbobjs=\"2\" kind=\"5\" name=\"NUMALatency\" indexing=\"os\">"
        "<indexes length=\"4\">0 1 </indexes><u64values length=\"12\">10 32 32 10 </u64values></distances2>\n";
  return xml + "</topology>\n";
}

}  // namespace banyan::comm
