#include "kernels/cuda/runtime.hpp"

#include <cstring>

#include "src/base/error.hpp"

namespace banyan::kernels::cuda {

void must(const char* operation, cudaError_t e) {
  switch (e) {
    case cudaSuccess:
      return;
    case cudaErrorMemoryAllocation:
      throw ConfigError("{}: the GPU has no memory left; use more ranks, a smaller microbatch or a smaller model",
                        operation);
    case cudaErrorInsufficientDriver:
      throw ConfigError(
          "run.backend = cuda, but this host has no NVIDIA driver, or one too old for CUDA {}.{}: install it, or "
          "write run.backend = cpu",
          CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
    case cudaErrorNoDevice:
      throw ConfigError(
          "run.backend = cuda, but this host shows no GPU: ask the batch system for one (CUDA_VISIBLE_DEVICES hides "
          "them, too), or write run.backend = cpu");
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
      throw ConfigError(
          "{}: this program has no kernels for this host's GPU; configure it with its compute capability in "
          "-DBANYAN_CUDA_ARCHITECTURES",
          operation);
    case cudaErrorECCUncorrectable:
    case cudaErrorDevicesUnavailable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorHardwareStackError:
      throw CommError("{}: this node's GPU is lost ({}); start the job without it", operation, cudaGetErrorString(e));
    default:
      throw BugError("{}: CUDA says: {}", operation, cudaGetErrorString(e));
  }
}

void Device::use() const {
  thread_local int current = 0;
  if (current == number_) return;
  must("device", cudaSetDevice(number_));
  current = number_;
}

Stream::Stream() { must("stream", cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
Stream::~Stream() { cudaStreamDestroy(stream_); }

EventPool::~EventPool() {
  for (const cudaEvent_t e : idle_) cudaEventDestroy(e);
}

Event EventPool::record(cudaStream_t stream) {
  cudaEvent_t e = nullptr;
  if (idle_.empty()) {
    must("event", cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
  } else {
    e = idle_.back();
    idle_.pop_back();
  }
  auto state = std::make_shared<DeviceEvent>(shared_from_this(), e);
  must("event", cudaEventRecord(e, stream));
  return Event(std::move(state));
}

DeviceEvent::~DeviceEvent() { pool_->idle_.push_back(event_); }

bool DeviceEvent::test() {
  const cudaError_t e = cudaEventQuery(event_);
  if (e == cudaErrorNotReady) return false;
  must("work on the GPU", e);
  return true;
}

thread_local cudaStream_t WaitingStream::current_ = nullptr;

void DeviceEvent::wait() {
  if (cudaStream_t waiting = WaitingStream::current()) return must("wait", cudaStreamWaitEvent(waiting, event_, 0));
  const Section section("work on the GPU", kWaitLimit);
  for (Backoff backoff; !test(); backoff.pause()) {
    if (pool_->look) pool_->look();
    section.check();
  }
}

Memory::Memory(std::size_t bytes, bool pinned) : bytes_(bytes), pinned_(pinned) {
  const cudaError_t e = pinned ? cudaMallocHost(&data_, bytes) : cudaMalloc(&data_, bytes);
  if (e == cudaErrorMemoryAllocation)
    throw ConfigError(
        "there is no {} for an array of {} bytes ({:.1f} GiB); use more ranks, a smaller microbatch or model",
        pinned ? "pinned host memory" : "GPU memory", bytes,
        static_cast<double>(bytes) / static_cast<double>(std::size_t{1} << 30));
  must("memory", e);
}
Memory::~Memory() { pinned_ ? cudaFreeHost(data_) : cudaFree(data_); }

Staging::Staging(std::shared_ptr<EventPool> events, std::size_t bytes)
    : events_(std::move(events)), page_bytes_(bytes / kPages), host_(bytes, true), device_(bytes, false) {}

std::size_t Staging::take(cudaStream_t stream, std::size_t bytes) {
  constexpr std::size_t line = 256;
  if (used_ + bytes > page_bytes_) {
    last_use_[page_] = events_->record(stream);
    page_ = (page_ + 1) % kPages;
    used_ = 0;
    last_use_[page_].wait();
  }
  const std::size_t at = page_ * page_bytes_ + used_;
  used_ += (bytes + line - 1) / line * line;
  return at;
}

const void* Staging::upload(cudaStream_t stream, const void* data, std::size_t bytes) {
  if (bytes > page_bytes_)
    throw ConfigError(
        "a microbatch's row numbers take {} bytes, and {} can be sent to the GPU at once; use a smaller microbatch",
        bytes, page_bytes_);
  const std::size_t at = take(stream, bytes);
  std::byte *from = static_cast<std::byte*>(host_.get()) + at, *to = static_cast<std::byte*>(device_.get()) + at;
  if (bytes == 0) return to;
  std::memcpy(from, data, bytes);
  must("upload", cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream));
  return to;
}

bool Staging::send(cudaStream_t stream, void* to, const void* data, std::size_t bytes) {
  if (bytes > page_bytes_) return false;
  std::byte* from = static_cast<std::byte*>(host_.get()) + take(stream, bytes);
  std::memcpy(from, data, bytes);
  must("copy", cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream));
  return true;
}

}  // namespace banyan::kernels::cuda
