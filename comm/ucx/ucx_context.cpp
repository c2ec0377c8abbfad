#include "comm/ucx/ucx_context.hpp"

#include <ucp/api/ucp.h>
#include <ucs/debug/log_def.h>

#include <array>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <mutex>

#include "src/base/error.hpp"
#include "src/base/log.hpp"

namespace banyan::comm {
namespace {

std::mutex remark_mutex;
std::string remark;  // UCX's last warning or error

// UCX would write "connection reset by peer" and more to the terminal of every survivor of a failure, beside the one
// message that names the rank and the wait.
ucs_log_func_rc_t keep_remark(const char* /*file*/, unsigned /*line*/, const char* /*function*/, ucs_log_level_t level,
                              const ucs_log_component_config_t* /*component*/, const char* format, va_list arguments) {
  if (level > UCS_LOG_LEVEL_WARN) return UCS_LOG_FUNC_RC_CONTINUE;
  std::array<char, 512> text{};
  va_list copy;
  va_copy(copy, arguments);
  std::vsnprintf(text.data(), text.size(), format, copy);
  va_end(copy);
  log::debug("UCX: {}", text.data());
  if (level <= UCS_LOG_LEVEL_ERROR) {
    const std::lock_guard lock(remark_mutex);
    remark = text.data();
  }
  return level == UCS_LOG_LEVEL_FATAL ? UCS_LOG_FUNC_RC_CONTINUE : UCS_LOG_FUNC_RC_STOP;
}

void listen_to_ucx() {
  static const bool once = [] {
    if (!std::getenv("UCX_LOG_LEVEL")) ucs_log_push_handler(keep_remark);
    return true;
  }();
  static_cast<void>(once);
}

bool user_set(const char* name) {
  return std::getenv((std::string("BANYAN_UCX_") + name).c_str()) || std::getenv((std::string("UCX_") + name).c_str());
}

void set(ucp_config_t* config, const char* name, const std::string& value) {
  if (user_set(name)) return;
  check_ucx(ucp_config_modify(config, name, value.c_str()), name);
}

}  // namespace

std::string ucx_text(int status) { return ucs_status_string(static_cast<ucs_status_t>(status)); }

void check_ucx(int status, const char* call) {
  if (status != UCS_OK) throw CommError("{}: {}", call, with_ucx_remark(ucx_text(status)));
}

std::string with_ucx_remark(std::string text) {
  const std::lock_guard lock(remark_mutex);
  if (!remark.empty()) text += " (UCX: " + remark + ")";
  remark.clear();
  return text;
}

ucp_context* make_ucx_context(int size, const UcxOptions& options) {
  listen_to_ucx();
  ucp_config_t* config = nullptr;
  check_ucx(ucp_config_read("BANYAN", nullptr, &config), "ucp_config_read");
  ucp_context* context = nullptr;
  try {
    // Without it endpoints that report errors would do without shared memory.
    set(config, "MM_ERROR_HANDLING", "y");
    set(config, "KEEPALIVE_INTERVAL", fmt::format("{:.0f}ms", options.keepalive.count() * 1000));
    if (options.rendezvous > 0) set(config, "RNDV_THRESH", std::to_string(options.rendezvous));
    ucp_params_t params{};
    params.field_mask = UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_ESTIMATED_NUM_EPS | UCP_PARAM_FIELD_NAME;
    params.features = UCP_FEATURE_TAG | UCP_FEATURE_WAKEUP;
    params.estimated_num_eps = static_cast<std::size_t>(size);
    params.name = "banyan";
    check_ucx(ucp_init(&params, config, &context), "ucp_init");
  } catch (...) {
    ucp_config_release(config);
    throw;
  }
  ucp_config_release(config);
  return context;
}

bool ucx_reads_cuda() {
  ucp_context* context = make_ucx_context(1, {});
  ucp_context_attr_t attributes{};
  attributes.field_mask = UCP_ATTR_FIELD_MEMORY_TYPES;
  const ucs_status_t status = ucp_context_query(context, &attributes);
  ucp_cleanup(context);
  check_ucx(status, "ucp_context_query");
  return (attributes.memory_types & (std::uint64_t{1} << UCS_MEMORY_TYPE_CUDA)) != 0;
}

}  // namespace banyan::comm
