// Which versions of NCCL go together.
#pragma once

#include <string>

namespace banyan::comm {

/// The least that has everything that is asked of it: communicators that do not block and say how they are (2.14), with
/// a limit to their blocks (2.17); and errors in words that tell which rank.
inline constexpr int kLeastNccl = 21800;

/// "2.28.9" of NCCL_VERSION_CODE's 22809.
std::string nccl_version_text(int code);
/// Why a program compiled with the header of one version cannot use the library of another: a sentence; empty: it can.
std::string nccl_version_problem(int header, int library);

}  // namespace banyan::comm
