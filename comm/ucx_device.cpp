#include "comm/ucx_device.hpp"

#if BANYAN_WITH_UCX
#include "comm/ucx/ucx_context.hpp"
#endif

namespace banyan::comm {

std::string ucx_device_problem() {
#if BANYAN_WITH_UCX
  return ucx_reads_cuda() ? "" : "this host's UCX was built without CUDA: install one configured --with-cuda";
#else
  return "this program was built without UCX";
#endif
}

}  // namespace banyan::comm
