// The part of the CUDA runtime that the backend uses, under its own names and with the prototypes of its own header.
#include <cuda_runtime_api.h>
#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <utility>

#include "tests/cuda_host/emulation.hpp"
#include "tests/cuda_host/streams.hpp"

namespace emu {
namespace {

struct Event {
  Mark mark;
  int device = current_device();
  double milliseconds = 0;
  bool awaited = false;  ///< asked for in vain since it was recorded
};
Event* event_of(cudaEvent_t e) { return reinterpret_cast<Event*>(e); }

double now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) * 1e-6;
}

std::map<const void*, int>& dynamic_limits() {
  static auto& limits = *new std::map<const void*, int>;
  return limits;
}

/// A rectangle of bytes: `height` rows of `width` bytes, `pitch` apart.
struct Rows {
  std::size_t pitch, width, height;
  std::size_t span() const { return height == 0 ? 0 : (height - 1) * pitch + width; }
};

bool leaves_allocation(const void* p, const Rows& r) { return is_device(p) && !device_range(p, r.span()); }
bool pageable(const void* p) { return !is_device(p) && !is_pinned(p); }

bool fits(const void* to, const void* from, cudaMemcpyKind kind) {
  const bool to_device = is_device(to), from_device = is_device(from);
  switch (kind) {
    case cudaMemcpyHostToDevice:
      return to_device && !from_device;
    case cudaMemcpyDeviceToHost:
      return !to_device && from_device;
    case cudaMemcpyDeviceToDevice:
      return to_device && from_device;
    case cudaMemcpyHostToHost:
      return !to_device && !from_device;
    default:
      return true;
  }
}

cudaError_t copy(void* to, Rows to_rows, const void* from, Rows from_rows, cudaMemcpyKind kind, cudaStream_t stream) {
  if (to_rows.width > to_rows.pitch || from_rows.width > from_rows.pitch) return result(cudaErrorInvalidPitchValue);
  if (to_rows.span() == 0) return result(cudaSuccess);
  if (!fits(to, from, kind)) {
    report("the kind of a copy does not fit its pointers");
    return result(cudaErrorInvalidValue);
  }
  if (leaves_allocation(to, to_rows) || leaves_allocation(from, from_rows)) {
    report("a copy of " + std::to_string(to_rows.span()) + " bytes leaves its device allocation");
    return result(cudaErrorInvalidValue);
  }
  enqueue(stream, [=] {
    for (std::size_t r = 0; r < to_rows.height; ++r)
      std::memmove(static_cast<char*>(to) + r * to_rows.pitch, static_cast<const char*>(from) + r * from_rows.pitch,
                   to_rows.width);
  });
  if (pageable(to) || pageable(from)) {  // is not asynchronous
    count_host_wait();
    run_until(end_of(stream));
  }
  return result(cudaSuccess);
}

cudaError_t fill(void* p, int value, Rows rows, cudaStream_t stream) {
  if (rows.span() == 0) return result(cudaSuccess);
  if (!device_range(p, rows.span())) {
    report("a fill of " + std::to_string(rows.span()) + " bytes leaves its device allocation");
    return result(cudaErrorInvalidValue);
  }
  enqueue(stream, [=] {
    for (std::size_t r = 0; r < rows.height; ++r)
      std::memset(static_cast<char*>(p) + r * rows.pitch, value, rows.width);
  });
  return result(cudaSuccess);
}

Rows flat(std::size_t bytes) { return {bytes, bytes, 1}; }

cudaError_t wait_all() {
  count_host_wait();
  run_all();
  check_overruns();
  return result(cudaSuccess);
}

}  // namespace

cudaError_t enqueue_kernel(const char* name, const void* function, dim3 grid, dim3 block, std::size_t shared,
                           cudaStream_t stream, const void* const* pointers, int pointer_count,
                           std::function<void()> body) {
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > 1024 || block.z > 64 || grid.x == 0 || grid.y == 0 || grid.z == 0 ||
      grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535)
    return result(cudaErrorInvalidConfiguration);
  const auto limit = dynamic_limits().find(function);
  if (shared > (limit == dynamic_limits().end() ? kSharedStatic : static_cast<std::size_t>(limit->second)))
    return result(cudaErrorInvalidValue);
  if (device_of(stream) != current_device()) {
    report("a launch into a stream of another device than the thread's: " + std::string(name));
    return result(cudaErrorInvalidResourceHandle);
  }
  for (int i = 0; i < pointer_count; ++i)
    if (pointers[i] && pageable(pointers[i])) {
      report(std::string("a launch passes a pointer to host memory: ") + name);
      return result(cudaErrorLaunchFailure);
    }
  enqueue(stream, [=, body = std::move(body)] { run_grid(grid, block, shared, body); });
  return result(cudaSuccess);
}

}  // namespace emu

using namespace emu;

extern "C" {

// ---- memory
cudaError_t cudaMalloc(void** p, size_t n) {
  count_memory_call();
  return result(device_allocate(p, n));
}
cudaError_t cudaFree(void* p) {
  count_memory_call();
  wait_all();
  return result(device_free(p));
}
cudaError_t cudaMallocHost(void** p, size_t n) {
  count_memory_call();
  return result(pinned_allocate(p, n));
}
cudaError_t cudaFreeHost(void* p) {
  count_memory_call();
  wait_all();
  return result(pinned_free(p));
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t n, cudaMemcpyKind kind, cudaStream_t s) {
  return copy(to, flat(n), from, flat(n), kind, s);
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t n, cudaMemcpyKind kind) {
  const cudaError_t e = copy(to, flat(n), from, flat(n), kind, nullptr);
  count_host_wait();
  run_until(end_of(nullptr));
  return result(e);
}
cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind kind, cudaStream_t s) {
  return copy(to, {to_pitch, width, height}, from, {from_pitch, width, height}, kind, s);
}
cudaError_t cudaMemsetAsync(void* p, int value, size_t n, cudaStream_t s) { return fill(p, value, flat(n), s); }
cudaError_t cudaMemset2DAsync(void* p, size_t pitch, int value, size_t width, size_t height, cudaStream_t s) {
  return fill(p, value, {pitch, width, height}, s);
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  device_free_bytes(free, total);
  return result(cudaSuccess);
}

// ---- streams and events
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned flags) {
  *s = create_stream(!(flags & cudaStreamNonBlocking));
  return result(cudaSuccess);
}
cudaError_t cudaStreamDestroy(cudaStream_t s) {
  destroy_stream(s);
  return result(cudaSuccess);
}
cudaError_t cudaStreamSynchronize(cudaStream_t s) {
  count_host_wait();
  run_until(end_of(s));
  check_overruns();
  return result(cudaSuccess);
}
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned) {
  push(
      s, [] {}, event_of(e)->mark);
  return result(cudaSuccess);
}
cudaError_t cudaDeviceSynchronize() { return wait_all(); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned) {
  *e = reinterpret_cast<cudaEvent_t>(new Event);
  return result(cudaSuccess);
}
cudaError_t cudaEventDestroy(cudaEvent_t e) {
  run_until(event_of(e)->mark);
  delete event_of(e);
  return result(cudaSuccess);
}
cudaError_t cudaEventRecord(cudaEvent_t handle, cudaStream_t s) {
  Event* e = event_of(handle);
  if (e->device != device_of(s)) {
    report("an event of device " + std::to_string(e->device) + " is recorded in a stream of another");
    return result(cudaErrorInvalidResourceHandle);
  }
  push(s, [e] { e->milliseconds = now(); });
  e->mark = end_of(s);
  e->awaited = false;
  return result(cudaSuccess);
}
cudaError_t cudaEventQuery(cudaEvent_t e) {
  if (passed(event_of(e)->mark)) return result(cudaSuccess);
  if (!std::exchange(event_of(e)->awaited, true)) count_event_wait();
  run_some(event_of(e)->mark);
  return cudaErrorNotReady;
}
cudaError_t cudaEventSynchronize(cudaEvent_t e) {
  count_host_wait();
  run_until(event_of(e)->mark);
  return result(cudaSuccess);
}
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t a, cudaEvent_t b) {
  *ms = static_cast<float>(event_of(b)->milliseconds - event_of(a)->milliseconds);
  return result(cudaSuccess);
}

// ---- errors and the device
cudaError_t cudaGetLastError() { return take_last_error(); }
const char* cudaGetErrorName(cudaError_t e) { return e == cudaSuccess ? "cudaSuccess" : "cudaError"; }
const char* cudaGetErrorString(cudaError_t e) {
  if (e == cudaSuccess) return "no error";
  return reports().empty() ? "an error of the runtime on the CPU" : reports().c_str();
}
cudaError_t cudaGetDeviceCount(int* n) {
  *n = device_count();
  return result(cudaSuccess);
}
cudaError_t cudaGetDevice(int* device) {
  *device = current_device();
  return result(cudaSuccess);
}
cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= device_count()) return result(cudaErrorInvalidDevice);
  set_current_device(device);
  return result(cudaSuccess);
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
  *p = {};
  const char* name = std::getenv("CUDAEMU_NAME");
  std::snprintf(p->name, sizeof p->name, "%s", name ? name : "CUDA on the CPU");
  p->major = 9;
  p->multiProcessorCount = 4;
  p->warpSize = 32;
  p->sharedMemPerBlockOptin = kSharedMost;
  device_free_bytes(&p->totalGlobalMem, &p->totalGlobalMem);
  return result(cudaSuccess);
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return result(cudaSuccess);
}
cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return result(cudaSuccess);
  if (value < 0 || value > static_cast<int>(kSharedMost)) return result(cudaErrorInvalidValue);
  dynamic_limits()[function] = value;
  return result(cudaSuccess);
}

}  // extern "C"
