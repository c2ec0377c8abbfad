// Whether UCX can carry what lies on a GPU.
#pragma once

#include <string>

namespace banyan::comm {

/// Why it cannot, asked of the library that was loaded; empty: it can.
std::string ucx_device_problem();

}  // namespace banyan::comm
