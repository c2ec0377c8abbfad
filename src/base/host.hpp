// The name of the machine this process runs on, as messages show it.
#pragma once

#include <string>

namespace banyan {

/// gethostname() up to the first dot; "unknown" when the system has none.
const std::string& host_name();

}  // namespace banyan
