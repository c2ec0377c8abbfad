// Seeds, complaints and counts.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>

#include "tests/cuda_host/emulation.hpp"

namespace emu {
namespace {

struct Control {
  long seed = std::getenv("CUDAEMU_SEED") ? std::atol(std::getenv("CUDAEMU_SEED")) : 0;
  std::mt19937_64 random{static_cast<std::uint64_t>(seed)};
  std::string reports;
  cudaError_t sticky = cudaSuccess, last = cudaSuccess;
  bool epilogues = true;
  std::uint64_t host_waits = 0, event_waits = 0, memory_calls = 0, threads = 0;
};
Control& control() {
  static auto& c = *new Control;
  return c;
}

/// For programs that nobody can ask: what they have counted, into the file that CUDAEMU_COUNTS names.
[[maybe_unused]] const bool told_at_the_end = [] {
  if (std::getenv("CUDAEMU_COUNTS"))
    std::atexit([] {
      std::FILE* f = std::fopen(std::getenv("CUDAEMU_COUNTS"), "w");
      if (!f) return;
      const auto tell = [f](const char* what, std::uint64_t n) {
        std::fprintf(f, "%s %llu\n", what, static_cast<unsigned long long>(n));
      };
      tell("host waits", control().host_waits);
      tell("memory calls", control().memory_calls);
      tell("event waits", control().event_waits);
      std::fclose(f);
    });
  return true;
}();

}  // namespace

void set_seed(long seed) {
  control().seed = seed;
  control().random.seed(static_cast<std::uint64_t>(seed));
}
long seed() { return control().seed; }
std::uint64_t random_number() { return control().random(); }

const std::string& reports() { return control().reports; }
void report(const std::string& what) {
  std::fprintf(stderr, "cuda_host: %s\n", what.c_str());
  control().reports += what + "\n";
  control().sticky = cudaErrorLaunchFailure;
}
void reset() {
  control().reports.clear();
  control().sticky = control().last = cudaSuccess;
}

cudaError_t sticky_error() { return control().sticky; }
cudaError_t result(cudaError_t error) {
  if (control().sticky != cudaSuccess) error = control().sticky;
  if (error != cudaSuccess) control().last = error;
  return error;
}
cudaError_t take_last_error() {
  const cudaError_t e = control().sticky != cudaSuccess ? control().sticky : control().last;
  control().last = cudaSuccess;
  return e;
}

bool has_epilogues() { return control().epilogues; }
void set_epilogues(bool there) { control().epilogues = there; }

std::uint64_t host_waits() { return control().host_waits; }
void count_host_wait() { ++control().host_waits; }
std::uint64_t event_waits() { return control().event_waits; }
void count_event_wait() { ++control().event_waits; }
std::uint64_t memory_calls() { return control().memory_calls; }
void count_memory_call() { ++control().memory_calls; }
std::uint64_t threads_run() { return control().threads; }
void count_threads(std::uint64_t n) { control().threads += n; }

// Volatile, so that neither the compiler nor a sanitizer makes calls of memset of them.
void raw_fill(void* p, char value, std::size_t bytes) {
  auto* c = static_cast<volatile char*>(p);
  std::size_t i = 0;
  for (; i < bytes && reinterpret_cast<std::uintptr_t>(c + i) % 8; ++i) c[i] = value;
  const std::uint64_t word = 0x0101010101010101u * static_cast<std::uint8_t>(value);
  for (; i + 8 <= bytes; i += 8) *reinterpret_cast<volatile std::uint64_t*>(const_cast<char*>(c) + i) = word;
  for (; i < bytes; ++i) c[i] = value;
}
void fill_poison(void* p, std::size_t bytes) { raw_fill(p, static_cast<char>(0xff), bytes); }
bool red_zone_intact(const void* p, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i)
    if (static_cast<const volatile char*>(p)[i] != kRedByte) return false;
  return true;
}

}  // namespace emu
