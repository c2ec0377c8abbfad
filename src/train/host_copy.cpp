#include "src/train/host_copy.hpp"

namespace banyan::train {
namespace {

/// Every copy begins at a cache line.
std::size_t padded(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

bool on_device(const ConstView& v) { return v.kind == MemoryKind::kDevice && v.count() > 0; }

}  // namespace

HostCopy::~HostCopy() {
  if (memory_) device_->release_host(memory_, bytes_);
}

std::byte* HostCopy::room(std::size_t bytes) {
  if (bytes <= bytes_) return memory_;
  if (memory_) device_->release_host(memory_, bytes_);
  memory_ = nullptr;
  bytes_ = 0;
  memory_ = static_cast<std::byte*>(device_->allocate_host(bytes));
  bytes_ = bytes;
  return memory_;
}

ConstView HostCopy::of(ConstView v) { return of_all({&v, 1}).front(); }

std::vector<ConstView> HostCopy::of_all(std::span<const ConstView> views) {
  std::vector<ConstView> copies(views.begin(), views.end());
  std::size_t bytes = 0;
  for (const ConstView& v : views)
    if (on_device(v)) bytes += padded(v.bytes());
  if (bytes == 0) return copies;
  std::byte* at = room(bytes);
  for (ConstView& v : copies) {
    if (!on_device(v)) continue;
    const View copy(at, v.dtype, v.shape);
    device_->copy(queue_, copy, v);
    at += padded(v.bytes());
    v = copy;
  }
  device_->synchronize(queue_);
  return copies;
}

void HostCopy::write(View out, const std::function<void(View to)>& fill) {
  if (!on_device(out)) return fill(out);
  const View copy(room(out.bytes()), out.dtype, out.shape);
  fill(copy);
  device_->copy(queue_, out, copy);
  device_->synchronize(queue_);
}

}  // namespace banyan::train
