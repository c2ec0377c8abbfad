// Memory of a plan: one allocation, its buffers found by name.  Blocks look their buffers up once, when the stage is
// made.  An Arena owns its memory and must not outlive the backend.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "kernels/backend.hpp"
#include "src/model/activation_plan.hpp"

namespace banyan::model {

class Arena {
 public:
  Arena(kernels::Backend& backend, const std::vector<PlannedBuffer>& buffers, std::size_t bytes);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// BugError when the plan has no such buffer.
  View at(const std::string& name) const;
  /// An empty view when the plan has no such buffer.
  View find(const std::string& name) const;

 private:
  kernels::Backend& backend_;
  std::byte* memory_ = nullptr;
  std::size_t bytes_ = 0;
  std::unordered_map<std::string, View> views_;
};

}  // namespace banyan::model
