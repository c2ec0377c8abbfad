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

/// Devices there are (environment CUDAEMU_DEVICES, else 1; they share one memory), and the one of the thread.
int device_count();
int current_device();
void set_current_device(int device);
/// The one that the stream was made for; of the default stream the thread's.
int device_of(cudaStream_t stream);
cudaStream_t create_stream(bool blocking);
void destroy_stream(cudaStream_t stream);
/// Puts work at the stream's end, to run after `after` as well.
void push(cudaStream_t stream, std::function<void()> work, Mark after = {});
/// The same of work that other processes have a part in: called until it returns true.
void push_polled(cudaStream_t stream, std::function<bool()> work, Mark after = {});
Mark end_of(cudaStream_t stream);
/// Whether everything before the mark has run; without a stream: true.
bool passed(const Mark& mark);
/// Waits, for other processes too.
void run_until(const Mark& mark);
/// Runs some of what a mark still waits for.
void run_some(const Mark& mark);
void run_all();
/// Whatever can run now, in all streams.
void run_enabled();

}  // namespace emu
