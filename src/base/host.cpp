#include "src/base/host.hpp"

#include <unistd.h>

namespace banyan {

const std::string& host_name() {
  static const std::string name = [] {
    char buffer[256] = {};
    if (gethostname(buffer, sizeof buffer - 1) != 0 || buffer[0] == '\0') return std::string("unknown");
    const std::string full(buffer);
    return full.substr(0, full.find('.'));
  }();
  return name;
}

}  // namespace banyan
