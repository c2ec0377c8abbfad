// Streams that run nothing until somebody waits, so that a missing wait gives wrong data every time (seed 0), or run at
// random moments, or at once (seed 1).
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>

namespace emu {

/// A point in a stream's work.
struct Mark {
  cudaStream_t stream = nullptr;
  std::uint64_t position = 0;
  bool set = false;
};

cudaStream_t create_stream(bool blocking);
void destroy_stream(cudaStream_t stream);
/// Puts work at the stream's end, to run after `after` as well.
void push(cudaStream_t stream, std::function<void()> work, Mark after = {});
Mark end_of(cudaStream_t stream);
/// Whether everything before the mark has run; without a stream: true.
bool passed(const Mark& mark);
void run_until(const Mark& mark);
/// Runs one piece of what a mark still waits for.
void run_some(const Mark& mark);
void run_all();

}  // namespace emu
