#include "src/model/arena.hpp"

#include "src/base/error.hpp"

namespace banyan::model {

Arena::Arena(kernels::Backend& backend, const std::vector<PlannedBuffer>& buffers, std::size_t bytes)
    : backend_(backend), bytes_(bytes) {
  if (bytes_ > 0) memory_ = static_cast<std::byte*>(backend_.allocate(bytes_));
  for (const PlannedBuffer& b : buffers)
    views_.emplace(b.name, View(memory_ + b.offset, b.dtype, b.shape, backend_.memory_kind()));
}

Arena::~Arena() {
  if (memory_) backend_.release(memory_, bytes_);
}

View Arena::at(const std::string& name) const {
  const View v = find(name);
  if (!v) throw BugError("the memory plan has no buffer {}", name);
  return v;
}

View Arena::find(const std::string& name) const {
  const auto it = views_.find(name);
  return it == views_.end() ? View() : it->second;
}

}  // namespace banyan::model
