// Asynchronous copies and tensor cores of the layer: the maps from lanes to elements, and mistakes that it notices.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/cuda/portable.cuh"
#include "tests/cuda_host/emulation.hpp"

namespace {

using banyan::kernels::cuda::block_shared;
using banyan::kernels::cuda::launch;
using banyan::kernels::cuda::ldmatrix_x4;
using banyan::kernels::cuda::ldmatrix_x4_trans;
using banyan::kernels::cuda::mma_m16n8k16;
using bf16 = __nv_bfloat16;

/// Memory of the device with these values.
template <class T>
class OnDevice {
 public:
  explicit OnDevice(const std::vector<T>& values) : count_(values.size()) {
    cudaMalloc(reinterpret_cast<void**>(&data), count_ * sizeof(T));
    cudaMemcpy(data, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice);
  }
  ~OnDevice() { cudaFree(data); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  std::vector<T> read() const {
    std::vector<T> values(count_);
    cudaMemcpy(values.data(), data, count_ * sizeof(T), cudaMemcpyDeviceToHost);
    return values;
  }
  T* data = nullptr;

 private:
  std::size_t count_;
};

// ---- c[16][16] = a[16][64] b, by one warp; b is [64][16] or, Transposed, [16][64]

enum class Product { kRight, kSwappedRegisters, kHalfAWarp };
template <Product Kind, bool Transposed>
__global__ void product_kernel(float* c, const bf16* a, const bf16* b) {
  auto& left = block_shared<bf16[16][72], 0>();
  auto& right = block_shared<bf16[64][72], 1>();
  const int l = static_cast<int>(threadIdx.x);
  for (int i = l; i < 16 * 64; i += 32) {
    left[i / 64][i % 64] = a[i];
    if (Transposed)
      right[i / 64][i % 64] = b[i];
    else
      right[i / 16][i % 16] = b[i];
  }
  __syncwarp();
  float d[2][4] = {};
  for (int k = 0; k < 64; k += 16) {
    unsigned x[4], y[4];
    ldmatrix_x4(x, &left[l % 16][k + l / 16 * 8]);
    if (Transposed)
      ldmatrix_x4(y, &right[l / 16 * 8 + l % 8][k + l / 8 % 2 * 8]);
    else
      ldmatrix_x4_trans(y, &right[k + l % 16][l / 16 * 8]);
    if (Kind == Product::kSwappedRegisters) std::swap(y[1], y[2]);
    if (Kind == Product::kHalfAWarp && l >= 16) return;
    mma_m16n8k16(d[0], x, y[0], y[1]);
    mma_m16n8k16(d[1], x, y[2], y[3]);
  }
  for (int n = 0; n < 2; ++n)
    for (int i = 0; i < 4; ++i) c[(l / 4 + i / 2 * 8) * 16 + n * 8 + l % 4 * 2 + i % 2] = d[n][i];
}

class TensorCore : public testing::Test {
 protected:
  TensorCore() {
    emu::reset();
    for (int i = 0; i < 1024; ++i) {
      a.push_back(__float2bfloat16(std::sin(static_cast<float>(i) * 0.37f)));
      b.push_back(__float2bfloat16(std::cos(static_cast<float>(i) * 0.91f)));
    }
  }
  ~TensorCore() override {
    emu::reset();
    emu::set_seed(0);
  }
  template <Product Kind, bool Transposed>
  double error() {
    const OnDevice<bf16> left(a), right(b);
    const OnDevice<float> result(std::vector<float>(256));
    launch({dim3(1), dim3(32), 0, nullptr}, product_kernel<Kind, Transposed>, result.data, left.data, right.data);
    double most = 0;
    const std::vector<float> c = result.read();
    for (std::size_t i = 0; i < 16; ++i)
      for (std::size_t j = 0; j < 16; ++j) {
        double want = 0;
        for (std::size_t k = 0; k < 64; ++k)
          want += static_cast<double>(__bfloat162float(a[i * 64 + k]) *
                                      __bfloat162float(Transposed ? b[j * 64 + k] : b[k * 16 + j]));
        most = std::max(most, std::abs(static_cast<double>(c[i * 16 + j]) - want));
      }
    return most;
  }
  bool complained_of(const std::string& words) { return emu::reports().find(words) != std::string::npos; }
  std::vector<bf16> a, b;
};

TEST_F(TensorCore, MultipliesInEveryOrderOfThreads) {
  for (long seed = 0; seed < 4; ++seed) {
    emu::set_seed(seed);
    EXPECT_LE((error<Product::kRight, false>()), 1e-5);
    EXPECT_LE((error<Product::kRight, true>()), 1e-5);
    EXPECT_EQ(emu::reports(), "");
  }
}

TEST_F(TensorCore, WrongRegistersGiveAWrongProduct) { EXPECT_GT((error<Product::kSwappedRegisters, false>()), 0.1); }

TEST_F(TensorCore, NeedsAWholeWarp) {
  error<Product::kHalfAWarp, false>();
  EXPECT_TRUE(complained_of("all lanes of a warp"));
}

// ---- asynchronous copies: 128 threads bring four floats each, twice, and read their neighbour's

enum class Copy { kRight, kNoWait, kWaitForTheFirstOnly, kNoBarrier, kMisaligned, kToDeviceMemory, kLeftBehind };
template <Copy Kind>
__global__ void copy_kernel(float* out, const float* in) {
  auto& there = block_shared<float[2][512]>();
  const int me = static_cast<int>(threadIdx.x), next = (me + 33) % 128;
  for (int half = 0; half < 2; ++half) {
    float* to = &there[half][4 * me];
    if (Kind == Copy::kMisaligned && me == 1) to += 1;
    if (Kind == Copy::kToDeviceMemory && me == 1) to = out;
    __pipeline_memcpy_async(to, in + half * 512 + 4 * me, 16);
    __pipeline_commit();
  }
  if (Kind != Copy::kNoWait && Kind != Copy::kLeftBehind) __pipeline_wait_prior(Kind == Copy::kWaitForTheFirstOnly);
  if (Kind != Copy::kNoBarrier) __syncthreads();
  for (int i = 0; i < 4; ++i) out[4 * me + i] = there[0][4 * next + i] + there[1][4 * next + i];
  if (Kind == Copy::kNoWait || Kind == Copy::kWaitForTheFirstOnly) __pipeline_wait_prior(0);
}

class AsyncCopy : public TensorCore {
 protected:
  /// Whether all sums are right.
  template <Copy Kind>
  bool right() {
    std::vector<float> values;
    for (int i = 0; i < 1024; ++i) values.push_back(static_cast<float>(i));
    const OnDevice<float> in(values), out(std::vector<float>(512));
    launch({dim3(1), dim3(128), 0, nullptr}, copy_kernel<Kind>, out.data, in.data);
    const std::vector<float> sums = out.read();
    for (std::size_t i = 0; i < 512; ++i)
      if (sums[i] != static_cast<float>(2 * ((i + 33 * 4) % 512) + 512)) return false;
    return true;
  }
};

TEST_F(AsyncCopy, BringsWhatWasWaitedForInEveryOrderOfThreads) {
  for (long seed = 0; seed < 8; ++seed) {
    emu::set_seed(seed);
    EXPECT_TRUE(right<Copy::kRight>()) << "seed " << seed;
    EXPECT_EQ(emu::reports(), "");
  }
}

#ifdef __SANITIZE_THREAD__
TEST_F(AsyncCopy, ThreadSanitizerSeesReadsTooEarly) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(right<Copy::kNoBarrier>(), "data race");
}
#else
TEST_F(AsyncCopy, HasNotHappenedBeforeTheWait) {
  EXPECT_FALSE(right<Copy::kNoWait>());
  EXPECT_FALSE(right<Copy::kWaitForTheFirstOnly>());
  EXPECT_EQ(emu::reports(), "");
  EXPECT_FALSE(right<Copy::kNoBarrier>());
}
#endif

TEST_F(AsyncCopy, ComplainsOfWhatAGpuDoesNotCopy) {
  right<Copy::kMisaligned>();
  EXPECT_TRUE(complained_of("not aligned"));
  emu::reset();
  right<Copy::kToDeviceMemory>();
  EXPECT_TRUE(complained_of("not shared memory"));
  emu::reset();
  right<Copy::kLeftBehind>();
  EXPECT_TRUE(complained_of("still on its way"));
}

}  // namespace
