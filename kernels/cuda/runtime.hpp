// What the host side of the CUDA backend shares: errors of the runtime, owners of its objects, staging of host arrays.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "src/base/dtype.hpp"
#include "src/base/queue.hpp"
#include "src/base/section.hpp"

namespace banyan {
template <>
inline constexpr DType dtype_of<__nv_bfloat16> = DType::kBF16;
}  // namespace banyan

namespace banyan::kernels::cuda {

/// Throws unless e is success: ConfigError when there is no driver, no GPU, no kernel for it or too little memory,
/// CommError when the device is lost (another node may do better), else BugError.
void must(const char* operation, cudaError_t e);

/// Longest wait for the device: far beyond any step, for a GPU that hangs.
inline constexpr Seconds kWaitLimit{600};

/// A GPU.  CUDA keeps for every thread which one its calls are about: use() says so, wherever a thread comes in.
class Device {
 public:
  explicit Device(int number) : number_(number) { use(); }
  int number() const { return number_; }
  void use() const;

 private:
  int number_;
};

class Stream {
 public:
  Stream();
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

/// Events that were used and can be used again; making one costs more than recording it.
class EventPool : public std::enable_shared_from_this<EventPool> {
 public:
  EventPool() = default;
  ~EventPool();
  EventPool(const EventPool&) = delete;
  EventPool& operator=(const EventPool&) = delete;
  /// An Event of all work given to the stream so far.
  Event record(cudaStream_t stream);
  std::function<void()> look;  ///< DeviceCompany::look, or empty

 private:
  friend class DeviceEvent;
  std::vector<cudaEvent_t> idle_;
};

/// While one lives, whoever waits for a DeviceEvent on this thread makes the stream wait, and goes on at once.  (An
/// Event does not tell what stands behind it.)
class WaitingStream {
 public:
  explicit WaitingStream(cudaStream_t stream) { current_ = stream; }
  ~WaitingStream() { current_ = nullptr; }
  WaitingStream(const WaitingStream&) = delete;
  WaitingStream& operator=(const WaitingStream&) = delete;
  static cudaStream_t current() { return current_; }  ///< null: there is none

 private:
  static thread_local cudaStream_t current_;
};

/// What stands behind an Event of a stream.
class DeviceEvent final : public Event::State {
 public:
  DeviceEvent(std::shared_ptr<EventPool> pool, cudaEvent_t event) : pool_(std::move(pool)), event_(event) {}
  ~DeviceEvent() override;
  bool test() override;
  void wait() override;

 private:
  std::shared_ptr<EventPool> pool_;
  cudaEvent_t event_;
};

/// Memory of the device, or pinned memory of the host.
class Memory {
 public:
  Memory(std::size_t bytes, bool pinned);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  void* get() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_;
  bool pinned_;
};

/// Small arrays of the host (offsets, sample numbers) on their way to kernels: copied at once into pinned memory, from
/// there by the stream, so that the caller's array may go and nobody waits.  The ring has pages; a page is written
/// again only when all work that was given to the stream while it was current has finished.
class Staging {
 public:
  Staging(std::shared_ptr<EventPool> events, std::size_t bytes);
  /// Where the array will be for the work given to the stream next.
  const void* upload(cudaStream_t stream, const void* data, std::size_t bytes);
  template <class T>
  const T* upload(cudaStream_t stream, std::span<const T> values) {
    return static_cast<const T*>(upload(stream, values.data(), values.size_bytes()));
  }
  /// The same to a place of the device's own; true when it fits.
  bool send(cudaStream_t stream, void* to, const void* data, std::size_t bytes);
  std::size_t bytes() const { return device_.bytes(); }

 private:
  /// Where in both rings the next so many bytes go.
  std::size_t take(cudaStream_t stream, std::size_t bytes);

  static constexpr std::size_t kPages = 4;
  std::shared_ptr<EventPool> events_;
  std::size_t page_bytes_;
  Memory host_, device_;
  std::size_t page_ = 0, used_ = 0;
  Event last_use_[kPages];
};

}  // namespace banyan::kernels::cuda
