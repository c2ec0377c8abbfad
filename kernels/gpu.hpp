// Backends of devices, and the one of GPUs, for programs that are linked with it (banyan-cuda); the others have a
// function of this name that says so.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "kernels/backend.hpp"

namespace banyan::kernels {

/// Bytes of its memory that a GPU's backend keeps for itself:
inline constexpr std::size_t kCudaProducts = std::size_t{32} << 20;   ///< what algorithms of products may use (NVIDIA's
                                                                      ///< advice for the H100)
inline constexpr std::size_t kCudaWorkspace = std::size_t{64} << 20;  ///< what an operation leaves to its next kernel
inline constexpr std::size_t kCudaStaging = std::size_t{8} << 20;     ///< small arrays on their way from the host
inline constexpr std::size_t kCudaScratch = kCudaProducts + kCudaWorkspace + kCudaStaging;

/// Arrays of a device's memory begin at multiples of so many bytes.
inline constexpr std::size_t kDeviceLine = 256;

/// What a device does besides a backend's work, on behalf of others: messages.
struct DeviceCompany {
  std::function<void()> look;  ///< called again and again while the host waits for the device; throws when it does so
                               ///< in vain
  std::function<void()> give_up;  ///< ends it, called before memory is released while an exception unwinds, which waits
                                  ///< for all that the device does; throws nothing
};

/// A backend whose device has memory of its own.
class DeviceBackend : public Backend {
 public:
  MemoryKind memory_kind() const final { return MemoryKind::kDevice; }
  /// Host memory that copies to and from the device are fastest with, and whose copies the host does not wait for.
  /// ConfigError when there is not enough.
  virtual void* allocate_host(std::size_t bytes) = 0;
  virtual void release_host(void* p, std::size_t bytes) = 0;
  /// Queues for copies to the host and from it, beside what computes; wait() puts them behind other work.
  virtual Queue to_host() = 0;
  virtual Queue to_device() = 0;
  /// Bytes of the device's memory that are left for this process.
  virtual std::size_t free_memory() = 0;
  /// Takes so many bytes of the device's memory at once.  While what is returned lives allocate() gives parts of it,
  /// nothing else, and what does not fit is a BugError with both numbers: the plan was wrong.  ConfigError when the
  /// device has not so much.  The arrays go first.  With several alive, the first with room gives.
  [[nodiscard]] virtual std::shared_ptr<const void> reserve(std::size_t bytes) = 0;
  /// While what is returned lives allocate() asks the device itself, for what no plan counts: measurements.
  [[nodiscard]] virtual std::shared_ptr<const void> beside() = 0;
  /// How it computes the matrix products met so far, where there are several ways: a line that names library and
  /// device, then for each shape "SHAPE : HOW".
  virtual std::string choices() const = 0;
  /// Computes as the choices of another process say.  False, with nothing done, where the first line is another;
  /// ConfigError for what cannot be read.
  virtual bool recall(std::string_view choices) = 0;
  /// Which of the host's devices it is, and how many ranks compute with it.
  virtual int number() const = 0;
  virtual int sharers() const = 0;
  /// The device's own handle of a queue: a cudaStream_t.
  virtual void* native(Queue q) = 0;
  /// From now on; by default there is none.
  virtual void accompany(DeviceCompany company) = 0;
};

/// Place of a rank among those of its node.
struct LocalRank {
  int number = 0, count = 1;
};
/// Computes with the GPU whose number is the rank's, modulo those that the process sees; a GPU of several ranks is
/// shared.  ConfigError that says what to do when the program, the driver or the GPU is missing.
std::unique_ptr<DeviceBackend> make_cuda_backend(LocalRank rank);

}  // namespace banyan::kernels
