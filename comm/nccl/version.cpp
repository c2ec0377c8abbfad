#include "comm/nccl/version.hpp"

#include <fmt/format.h>

namespace banyan::comm {

std::string nccl_version_text(int code) {
  // Up to 2.8 the code had one digit for the minor number.
  return code < 10000 ? fmt::format("{}.{}.{}", code / 1000, code % 1000 / 100, code % 100)
                      : fmt::format("{}.{}.{}", code / 10000, code % 10000 / 100, code % 100);
}

std::string nccl_version_problem(int header, int library) {
  const std::string loaded = nccl_version_text(library), built = nccl_version_text(header);
  if (library < kLeastNccl)
    return fmt::format("NCCL {} was loaded, {} is the least: put a newer libnccl first in LD_LIBRARY_PATH", loaded,
                       nccl_version_text(kLeastNccl));
  if (library / 10000 != header / 10000 || library < header)
    return fmt::format(
        "NCCL {} was loaded, but this program was compiled for {}: put that version, or a later one of {}.x, first in "
        "LD_LIBRARY_PATH",
        loaded, built, header / 10000);
  return "";
}

}  // namespace banyan::comm
