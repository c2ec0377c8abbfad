// Memory of the host, and moving bytes in it.
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

#include "kernels/cpu/check.hpp"
#include "kernels/cpu/cpu_backend.hpp"
#include "kernels/cpu/parallel.hpp"

namespace banyan::kernels::cpu {
namespace {

constexpr std::size_t kLine = 64, kHugePage = std::size_t{2} << 20;

/// A matrix of bytes: what copy and fill_zero see of a View.
struct Rows {
  std::int64_t rows = 0;
  std::size_t bytes = 0, stride = 0;  ///< of a row; from row to row
};

template <class Byte>
Rows rows_of(const BasicView<Byte>& v) {
  if (v.contiguous()) return {1, v.bytes(), v.bytes()};
  return {v.shape[0], static_cast<std::size_t>(v.shape.row_count()) * size_of(v.dtype),
          static_cast<std::size_t>(v.row_stride) * size_of(v.dtype)};
}

/// body(begin byte of the row, bytes) for pieces of one long row, by all threads.
template <class Body>
void parallel_bytes(int threads, std::size_t bytes, const Body& body) {
  constexpr std::size_t piece = std::size_t{256} << 10;
  const auto pieces = static_cast<std::int64_t>((bytes + piece - 1) / piece);
  parallel_for(threads, pieces, static_cast<std::int64_t>(bytes / 4), [&](std::int64_t i) {
    const std::size_t begin = static_cast<std::size_t>(i) * piece;
    body(begin, std::min(piece, bytes - begin));
  });
}

}  // namespace

void* CpuBackend::allocate(std::size_t bytes) {
  // Large arrays get huge pages where the system grants them: a pass over the parameters then misses the TLB 512 times
  // less often.
  const std::size_t alignment = bytes >= 4 * kHugePage ? kHugePage : kLine;
  const std::size_t rounded = bytes > SIZE_MAX - alignment ? 0 : (bytes + kLine - 1) / kLine * kLine;
  void* p = nullptr;
  if ((rounded == 0 && bytes > 0) || posix_memalign(&p, alignment, rounded ? rounded : kLine) != 0)
    throw ConfigError(
        "there is no memory for an array of {} bytes ({:.1f} GiB); use more ranks, a smaller microbatch or model, or "
        "raise the memory limit of the job",
        bytes, static_cast<double>(bytes) / static_cast<double>(1 << 30));
  if (alignment == kHugePage) madvise(p, rounded / kHugePage * kHugePage, MADV_HUGEPAGE);  // a wish, not a need
  return p;
}

void CpuBackend::release(void* p, std::size_t) { std::free(p); }

void CpuBackend::copy(Queue, View out, ConstView in) {
  constexpr Check check("copy");
  check.that(out.dtype == in.dtype, "in", "has another type than out");
  check.that(out.count() == in.count(), "in", "has another number of elements than out");
  if (out.count() == 0) return;
  check.that(out && in, "in or out", "is missing");
  const Rows to = rows_of(out), from = rows_of(in);
  if (to.rows == 1 && from.rows == 1)
    return parallel_bytes(threads_, to.bytes,
                          [&](std::size_t begin, std::size_t n) { std::memcpy(out.data + begin, in.data + begin, n); });
  // One side may be contiguous with another shape: rows are then those of the strided side.
  const Rows& shape = to.rows > 1 ? to : from;
  check.that(to.rows == 1 || from.rows == 1 || (to.rows == from.rows && to.bytes == from.bytes), "in",
             "is strided in other rows than out");
  const std::size_t to_stride = to.rows > 1 ? to.stride : shape.bytes;
  const std::size_t from_stride = from.rows > 1 ? from.stride : shape.bytes;
  parallel_for(threads_, shape.rows, out.count(), [&](std::int64_t r) {
    const auto i = static_cast<std::size_t>(r);
    std::memcpy(out.data + i * to_stride, in.data + i * from_stride, shape.bytes);
  });
}

void CpuBackend::fill_zero(Queue, View out) {
  if (out.count() == 0) return;
  constexpr Check check("fill_zero");
  check.that(static_cast<bool>(out), "out", "is missing");
  const Rows to = rows_of(out);
  if (to.rows == 1)
    return parallel_bytes(threads_, to.bytes,
                          [&](std::size_t begin, std::size_t n) { std::memset(out.data + begin, 0, n); });
  parallel_for(threads_, to.rows, out.count(),
               [&](std::int64_t r) { std::memset(out.data + static_cast<std::size_t>(r) * to.stride, 0, to.bytes); });
}

}  // namespace banyan::kernels::cpu
