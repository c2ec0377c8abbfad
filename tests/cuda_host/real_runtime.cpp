// Linked with the real CUDA runtime: what the backend says where there is no driver, no GPU, or one.  Exit code 0 in
// all of these cases, 1 when the answer is not a sentence that says what to do.
#include <cuda_runtime_api.h>

#include <cstdio>
#include <string>

#include "src/base/error.hpp"
#include "tests/cuda_host/small_backend.hpp"

int main() {
  int devices = 0;
  const cudaError_t e = cudaGetDeviceCount(&devices);
  std::printf("cudaGetDeviceCount: %s, %d devices\n", cudaGetErrorName(e), devices);
  try {
    const banyan::kernels::test::SmallCudaBackend backend;
    std::printf("%s\n", backend.describe().c_str());
    return e == cudaSuccess && devices > 0 ? 0 : 1;
  } catch (const banyan::Error& error) {
    std::printf("exit code %d: %s\n", static_cast<int>(error.code()), error.what());
    const bool what_to_do = std::string(error.what()).find("run.backend = cpu") != std::string::npos;
    return error.code() == banyan::ExitCode::kConfig && what_to_do ? 0 : 1;
  }
}
