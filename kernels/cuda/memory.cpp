// Memory, copies, queues and events.
#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <iterator>
#include <utility>

#include "kernels/cpu/check.hpp"
#include "kernels/cuda/cuda_backend.hpp"

namespace banyan::kernels::cuda {
namespace {

using cpu::Check;

constexpr std::size_t kMostHead = 512;

cudaMemcpyKind direction(ConstView out, ConstView in) {
  const bool to = out.kind == MemoryKind::kDevice, from = in.kind == MemoryKind::kDevice;
  return to     ? from ? cudaMemcpyDeviceToDevice : cudaMemcpyHostToDevice
         : from ? cudaMemcpyDeviceToHost
                : cudaMemcpyHostToHost;
}

/// A matrix of bytes: what copy and fill_zero see of a View.
struct Rows {
  std::size_t count, bytes, stride;  ///< bytes of a row; from row to row
};
template <class Byte>
Rows rows_of(const BasicView<Byte>& v) {
  if (v.contiguous()) return {1, v.bytes(), v.bytes()};
  return {static_cast<std::size_t>(v.shape[0]), static_cast<std::size_t>(v.shape.row_count()) * size_of(v.dtype),
          static_cast<std::size_t>(v.row_stride) * size_of(v.dtype)};
}

}  // namespace

CudaBackend::CudaBackend(const CudaOptions& options)
    : device_(options.device),
      sharers_(options.sharers),
      workspace_(options.workspace, false),
      staging_(events_, options.staging),
      products_(options.products),
      numbers_device_(options.numbers * sizeof(double), false),
      numbers_host_(options.numbers * sizeof(double), true),
      turns_(kMostHead / 2 * sizeof(Turns), false) {}

std::string CudaBackend::describe() const {
  cudaDeviceProp p{};
  int runtime = 0;
  must("describe", cudaGetDeviceProperties(&p, device_.number()));
  must("describe", cudaRuntimeGetVersion(&runtime));
  return fmt::format("cuda: {} (compute capability {}.{}, {} multiprocessors), CUDA {}.{}", p.name, p.major, p.minor,
                     p.multiProcessorCount, runtime / 1000, runtime % 1000 / 10);
}

std::size_t CudaBackend::scratch_bytes() const {
  return workspace_.bytes() + staging_.bytes() + products_.workspace_bytes() + numbers_device_.bytes() + turns_.bytes();
}

void* CudaBackend::allocate(std::size_t bytes) {
  device_.use();
  if (!arenas_.empty() && beside_ == 0) {
    std::size_t reserved = 0, taken = 0;
    for (DeviceArena* arena : arenas_) {
      if (void* p = arena->take(bytes)) return p;
      reserved += arena->bytes();
      taken += arena->taken();
    }
    throw BugError("the plan of memory says {} bytes of the GPU, {} of them are taken, and an array needs {} more",
                   reserved, taken, bytes);
  }
  void* p = nullptr;
  const cudaError_t e = cudaMalloc(&p, bytes);
  if (e == cudaErrorMemoryAllocation)
    throw ConfigError(
        "there is no GPU memory for an array of {} bytes ({:.1f} GiB); use more ranks, a smaller microbatch or model",
        bytes, static_cast<double>(bytes) / static_cast<double>(std::size_t{1} << 30));
  must("allocate", e);
  return p;
}

void CudaBackend::release(void* p, std::size_t) {
  for (DeviceArena* arena : arenas_)
    if (arena->give_back(p)) return;
  let_go();
  must("release", cudaFree(p));
}

void CudaBackend::let_go() {
  device_.use();
  if (std::uncaught_exceptions() > 0 && company_.give_up) company_.give_up();
}

std::shared_ptr<const void> CudaBackend::reserve(std::size_t bytes) {
  if (const std::size_t free = free_memory() * static_cast<std::size_t>(sharers_); free < bytes)
    throw ConfigError(
        "the plan of memory needs {} bytes ({:.1f} GiB) of the GPU at once, and {} are left; use more ranks, a smaller "
        "microbatch or model",
        bytes, static_cast<double>(bytes) / static_cast<double>(std::size_t{1} << 30), free);
  const std::shared_ptr<DeviceArena> arena(new DeviceArena(bytes), [this](DeviceArena* gone) {
    std::erase(arenas_, gone);
    let_go();
    delete gone;
  });
  arenas_.push_back(arena.get());
  return arena;
}

std::shared_ptr<const void> CudaBackend::beside() {
  ++beside_;
  return {&beside_, [](int* count) { --*count; }};
}

void* CudaBackend::allocate_host(std::size_t bytes) {
  device_.use();
  void* p = nullptr;
  const cudaError_t e = cudaMallocHost(&p, bytes);
  if (e == cudaErrorMemoryAllocation)
    throw ConfigError(
        "there is no pinned host memory for {} bytes; use more nodes, or raise the limit of locked memory", bytes);
  must("allocate", e);
  pinned_[reinterpret_cast<std::uintptr_t>(p)] = bytes;
  return p;
}

void CudaBackend::release_host(void* p, std::size_t) {
  device_.use();
  pinned_.erase(reinterpret_cast<std::uintptr_t>(p));
  must("release", cudaFreeHost(p));
}

bool CudaBackend::pinned(const void* p) const {
  const auto at = reinterpret_cast<std::uintptr_t>(p);
  const auto behind = pinned_.upper_bound(at);
  if (behind == pinned_.begin()) return false;
  const auto& [begin, bytes] = *std::prev(behind);
  return at < begin + bytes;
}

void CudaBackend::accompany(DeviceCompany company) {
  company_ = std::move(company);
  events_->look = company_.look;
}

std::size_t CudaBackend::free_memory() {
  device_.use();
  std::size_t free = 0, total = 0;
  must("memory", cudaMemGetInfo(&free, &total));
  return std::max<std::size_t>(1, free / static_cast<std::size_t>(sharers_));
}

void CudaBackend::copy(Queue q, View out, ConstView in) {
  constexpr Check check("copy");
  check.that(out.dtype == in.dtype, "in", "has another type than out");
  check.that(out.count() == in.count(), "in", "has another number of elements than out");
  if (out.count() == 0) return;
  check.that(out && in, "in or out", "is missing");
  const Rows to = rows_of(out), from = rows_of(in);
  // One side may be contiguous with another shape: rows are then those of the strided side.
  const Rows& shape = to.count > 1 ? to : from;
  check.that(to.count == 1 || from.count == 1 || (to.count == from.count && to.bytes == from.bytes), "in",
             "is strided in other rows than out");
  // CUDA waits for copies from memory that is not pinned; small ones go through some that is the compute stream's.
  if (out.kind == MemoryKind::kDevice && in.kind != MemoryKind::kDevice && to.count == 1 && from.count == 1 &&
      stream(q) == compute_.get() && !pinned(in.data) && staging_.send(stream(q), out.data, in.data, from.bytes))
    return;
  must("copy", cudaMemcpy2DAsync(out.data, to.count > 1 ? to.stride : shape.bytes, in.data,
                                 from.count > 1 ? from.stride : shape.bytes, shape.bytes, shape.count,
                                 direction(out, in), stream(q)));
}

void CudaBackend::fill_zero(Queue q, View out) {
  constexpr Check check("fill_zero");
  if (out.count() == 0) return;
  check.that(static_cast<bool>(out), "out", "is missing");
  check.that(out.kind == MemoryKind::kDevice, "out", "lies in host memory");
  const Rows to = rows_of(out);
  must("fill_zero", to.count == 1 ? cudaMemsetAsync(out.data, 0, to.bytes, stream(q))
                                  : cudaMemset2DAsync(out.data, to.stride, 0, to.bytes, to.count, stream(q)));
}

Event CudaBackend::record(Queue q) { return events_->record(stream(q)); }

void CudaBackend::wait(Queue q, Event e) {
  const WaitingStream here(stream(q));
  e.wait();
}

void CudaBackend::synchronize(Queue q) {
  events_->record(stream(q)).wait();
  if (stream(q) == compute_.get()) deliver_numbers();
}

cudaStream_t CudaBackend::stream(Queue q) const {
  device_.use();
  return q.handle ? static_cast<cudaStream_t>(q.handle) : compute_.get();
}

Workspace CudaBackend::workspace(Queue q, const char* operation, std::size_t bytes) {
  if (stream(q) != compute_.get()) throw BugError("{}: runs in the default queue only", operation);
  if (bytes > workspace_.bytes())
    throw ConfigError(
        "{}: needs {} bytes of scratch on the GPU, {} are set aside; use a smaller microbatch or split "
        "the model over more ranks (parallel.tensor)",
        operation, bytes, workspace_.bytes());
  return {workspace_.get(), bytes};
}

}  // namespace banyan::kernels::cuda
