#include "kernels/cuda/device_arena.hpp"

#include <algorithm>
#include <iterator>

#include "kernels/gpu.hpp"

namespace banyan::kernels::cuda {
namespace {

std::size_t in_lines(std::size_t bytes) {
  return (std::max<std::size_t>(bytes, 1) + kDeviceLine - 1) / kDeviceLine * kDeviceLine;
}

}  // namespace

DeviceArena::DeviceArena(std::size_t bytes) : memory_(in_lines(bytes), false), gaps_{{0, memory_.bytes()}} {}

void* DeviceArena::take(std::size_t bytes) {
  const std::size_t length = in_lines(bytes);
  const auto gap = std::find_if(gaps_.begin(), gaps_.end(), [&](const auto& g) { return g.second >= length; });
  if (gap == gaps_.end()) return nullptr;
  const auto [at, room] = *gap;
  gaps_.erase(gap);
  if (room > length) gaps_[at + length] = room - length;
  arrays_[at] = length;
  taken_ += length;
  return static_cast<std::byte*>(memory_.get()) + at;
}

bool DeviceArena::give_back(const void* array) {
  const auto* const p = static_cast<const std::byte*>(array);
  const auto* const begin = static_cast<const std::byte*>(memory_.get());
  const auto found = p < begin ? arrays_.end() : arrays_.find(static_cast<std::size_t>(p - begin));
  if (found == arrays_.end()) return false;
  auto [at, length] = *found;
  arrays_.erase(found);
  taken_ -= length;
  auto next = gaps_.lower_bound(at);
  if (next != gaps_.end() && at + length == next->first) {
    length += next->second;
    next = gaps_.erase(next);
  }
  if (next != gaps_.begin())
    if (const auto before = std::prev(next); before->first + before->second == at) {
      before->second += length;
      return true;
    }
  gaps_[at] = length;
  return true;
}

}  // namespace banyan::kernels::cuda
