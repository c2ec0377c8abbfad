// The name of the machine this process runs on, as messages show it.
#pragma once

#include <string>

namespace banyan {

/// gethostname() up to the first dot; "unknown" when the system has none.
const std::string& host_name();
/// Model of the processor as the kernel calls it; "unknown" where it does not say.
std::string processor_name();

}  // namespace banyan
