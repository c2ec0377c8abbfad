// For programs that are not linked with NCCL; the others find nccl_world.cpp before the archive with this.
#include "comm/nccl/nccl_world.hpp"
#include "src/base/error.hpp"

namespace banyan::comm {

std::string nccl_problem() { return "this program was built where nccl.h and libnccl were not found"; }

std::unique_ptr<NcclWorld> make_nccl_world(NcclOptions) { throw ConfigError("{}", nccl_problem()); }

}  // namespace banyan::comm
