// A UCP context with Banyan's settings.
#pragma once

#include <string>

#include "comm/ucx/ucx_transport.hpp"

namespace banyan::comm {

/// CommError "CALL: TEXT" unless `status` (a ucs_status_t) is success.
void check_ucx(int status, const char* call);
/// What UCX calls a status (a ucs_status_t), in words.
std::string ucx_text(int status);
/// Freed with ucp_cleanup.  CommError when UCX finds no way to communicate or refuses a setting.
ucp_context* make_ucx_context(int size, const UcxOptions& options);
/// Whether the library that was loaded knows CUDA's memory.
bool ucx_reads_cuda();
/// Adds what UCX had to say last, if anything: its messages do not go to the terminal, unless UCX_LOG_LEVEL asks.
std::string with_ucx_remark(std::string text);

}  // namespace banyan::comm
