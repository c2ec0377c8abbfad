// The part of cuBLASLt that the backend uses, on oneDNN's sgemm, under its own names and with the prototypes of its own
// header.  Operands are widened to fp32 first.  Work is put into the stream; what leaves an allocation, is less aligned
// than was said when the algorithm was chosen, or needs more workspace than is given is refused.
#include <cublasLt.h>
#include <cuda_bf16.h>
#include <dnnl.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "tests/cuda_host/emulation.hpp"

namespace emu {
namespace {

// What the opaque descriptions hold.
struct Layout {
  cudaDataType type;
  std::int64_t rows, columns, stride;
};
struct Description {
  std::int32_t transpose_a, transpose_b;
  cublasLtEpilogue_t epilogue;
  void* vector;  // a bias, or where the gradient of one goes
  void* beside;  // GELU's input
  std::int64_t beside_stride;

  bool adds_bias() const { return (epilogue & CUBLASLT_EPILOGUE_BIAS) != 0; }
  bool bias_gradient() const { return epilogue == CUBLASLT_EPILOGUE_BGRADB; }
  bool gelu() const {
    return epilogue == CUBLASLT_EPILOGUE_GELU_AUX || epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
  }
  bool gelu_backward() const { return epilogue == CUBLASLT_EPILOGUE_DGELU; }
};
struct Preference {
  std::size_t workspace;
  std::uint32_t alignment[4];
};
/// The shape is part of it: an algorithm chosen for another one may not fit here.  The last two alignments are those of
/// the vector and the matrix beside, which cuBLASLt takes from their addresses.
struct Algorithm {
  std::uint32_t marker, alignment[6];
  std::uint32_t shape;
  std::size_t workspace;
};
constexpr std::uint32_t kMarker = 0x62616e79;
constexpr std::size_t kWorkspace = 512;  // bytes that every algorithm wants
static_assert(sizeof(Layout) <= sizeof(cublasLtMatrixLayoutOpaque_t));
static_assert(sizeof(Description) <= sizeof(cublasLtMatmulDescOpaque_t));
static_assert(sizeof(Preference) <= sizeof(cublasLtMatmulPreferenceOpaque_t));
static_assert(sizeof(Algorithm) <= sizeof(cublasLtMatmulAlgo_t));

template <class Held, class Opaque>
Held& held(Opaque* handle) {
  return *reinterpret_cast<Held*>(handle);
}
template <class Held, class Opaque>
Opaque* make(const Held& value) {
  auto* opaque = new Opaque{};
  std::memcpy(opaque, &value, sizeof value);
  return opaque;
}

std::size_t width(cudaDataType t) { return t == CUDA_R_32F ? 4 : t == CUDA_R_16BF ? 2 : 0; }
float load(const void* p, cudaDataType t, std::int64_t i) {
  return t == CUDA_R_32F ? static_cast<const float*>(p)[i] : __bfloat162float(static_cast<const __nv_bfloat16*>(p)[i]);
}
void store(void* p, cudaDataType t, std::int64_t i, float v) {
  if (t == CUDA_R_32F)
    static_cast<float*>(p)[i] = v;
  else
    static_cast<__nv_bfloat16*>(p)[i] = __float2bfloat16(v);
}

/// Column-major without gaps.
std::vector<float> widened(const void* p, const Layout& l) {
  std::vector<float> v(static_cast<std::size_t>(l.rows * l.columns));
  for (std::int64_t c = 0; c < l.columns; ++c)
    for (std::int64_t r = 0; r < l.rows; ++r)
      v[static_cast<std::size_t>(c * l.rows + r)] = load(p, l.type, c * l.stride + r);
  return v;
}

bool inside(const void* p, const Layout& l) {
  return device_range(p, static_cast<std::size_t>((l.columns - 1) * l.stride + l.rows) * width(l.type));
}
std::uint32_t alignment_of(const void* p) {
  const auto at = reinterpret_cast<std::uintptr_t>(p);
  return at == 0 ? 256u : static_cast<std::uint32_t>(std::min<std::uintptr_t>(256, at & ~(at - 1)));
}
bool aligned(const void* p, std::uint32_t bytes) { return reinterpret_cast<std::uintptr_t>(p) % bytes == 0; }

struct Call {
  Description d;
  Layout a_layout, b_layout, c_layout;
  const void *a, *b, *c;
  void* out;
  float alpha, beta;
  std::int64_t m, n, k;
};

// The approximation by tanh: PyTorch's approximate="tanh" uses this epilogue for it.
float gelu_tanh(float x) { return std::tanh(0.79788456080286536f * (x + 0.044715f * x * x * x)); }
float gelu(float x) { return 0.5f * x * (1.0f + gelu_tanh(x)); }
float gelu_slope(float x) {
  const float t = gelu_tanh(x);
  return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * 0.79788456080286536f * (1.0f + 3 * 0.044715f * x * x);
}

void compute(const Call& x) {
  const std::vector<float> a = widened(x.a, x.a_layout), b = widened(x.b, x.b_layout);
  std::vector<float> c(static_cast<std::size_t>(x.m * x.n));
  if (x.beta != 0) c = widened(x.c, x.c_layout);  // else it is not read
  // oneDNN's matrices are row-major: the transposes, in the other order.
  dnnl_sgemm(x.d.transpose_b ? 'T' : 'N', x.d.transpose_a ? 'T' : 'N', x.n, x.m, x.k, x.alpha, b.data(),
             x.b_layout.rows, a.data(), x.a_layout.rows, x.beta, c.data(), x.m);
  const cudaDataType type = x.c_layout.type;
  for (std::int64_t column = 0; column < x.n; ++column)
    for (std::int64_t row = 0; row < x.m; ++row) {
      float v = c[static_cast<std::size_t>(column * x.m + row)];
      const std::int64_t beside = column * x.d.beside_stride + row;
      if (x.d.adds_bias()) v += load(x.d.vector, type, row);
      if (x.d.gelu()) {
        store(x.d.beside, type, beside, v);
        v = gelu(v);
      }
      if (x.d.gelu_backward()) v *= gelu_slope(load(x.d.beside, type, beside));
      store(x.out, type, column * x.c_layout.stride + row, v);
    }
  for (std::int64_t column = 0; x.d.bias_gradient() && column < x.n; ++column) {
    float sum = 0;
    for (std::int64_t i = 0; i < x.k; ++i)
      sum += b[static_cast<std::size_t>(x.d.transpose_b ? i * x.b_layout.rows + column : column * x.b_layout.rows + i)];
    store(x.d.vector, type, column, sum);
  }
}

std::uint32_t shape_of(const Description& d, const Layout& a, const Layout& b, const Layout& c) {
  std::uint64_t h = static_cast<std::uint64_t>(d.transpose_a * 2 + d.transpose_b) + 4 * d.epilogue;
  for (const Layout* l : {&a, &b, &c})
    for (const std::int64_t n : {std::int64_t{l->type}, l->rows, l->columns, l->stride})
      h = (h ^ static_cast<std::uint64_t>(n)) * 0x100000001b3u;
  return static_cast<std::uint32_t>(h ^ h >> 32);
}

cublasStatus_t refuse(const std::string& why) {
  report("cublasLtMatmul: " + why);
  return CUBLAS_STATUS_INVALID_VALUE;
}

}  // namespace
}  // namespace emu

using namespace emu;

extern "C" {

size_t cublasLtGetVersion() { return CUBLAS_VER_MAJOR * 10000 + CUBLAS_VER_MINOR * 100 + CUBLAS_VER_PATCH; }
const char* cublasLtGetStatusString(cublasStatus_t status) {
  return status == CUBLAS_STATUS_SUCCESS ? "no error" : "an error of cuBLASLt on the CPU";
}
cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = reinterpret_cast<cublasLtHandle_t>(new int);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete reinterpret_cast<int*>(handle);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* d, cublasComputeType_t compute, cudaDataType_t scale) {
  if (compute != CUBLAS_COMPUTE_32F || scale != CUDA_R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
  *d = make<Description, cublasLtMatmulDescOpaque_t>({0, 0, CUBLASLT_EPILOGUE_DEFAULT, nullptr, nullptr, 0});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d) {
  delete d;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t handle, cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t bytes) {
  auto& d = held<Description>(handle);
  const auto set = [&](auto& field) {
    if (bytes != sizeof field) return CUBLAS_STATUS_INVALID_VALUE;
    std::memcpy(&field, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
  };
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return set(d.transpose_a);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return set(d.transpose_b);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return set(d.epilogue);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return set(d.vector);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER:
      return set(d.beside);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD:
      return set(d.beside_stride);
    default:
      return CUBLAS_STATUS_NOT_SUPPORTED;
  }
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* l, cudaDataType type, uint64_t rows, uint64_t columns,
                                          int64_t stride) {
  if (width(type) == 0) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (rows == 0 || columns == 0 || stride < static_cast<int64_t>(rows)) return CUBLAS_STATUS_INVALID_VALUE;
  *l = make<Layout, cublasLtMatrixLayoutOpaque_t>(
      {type, static_cast<int64_t>(rows), static_cast<int64_t>(columns), stride});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l) {
  delete l;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* p) {
  *p = make<Preference, cublasLtMatmulPreferenceOpaque_t>({0, {256, 256, 256, 256}});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p) {
  delete p;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t handle,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void* value,
                                                    size_t bytes) {
  auto& p = held<Preference>(handle);
  const auto alignment = [&](int i) {
    if (bytes != sizeof(std::uint32_t)) return CUBLAS_STATUS_INVALID_VALUE;
    std::memcpy(&p.alignment[i], value, bytes);
    return CUBLAS_STATUS_SUCCESS;
  };
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      if (bytes != sizeof(std::uint64_t)) return CUBLAS_STATUS_INVALID_VALUE;
      std::memcpy(&p.workspace, value, bytes);
      return CUBLAS_STATUS_SUCCESS;
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
      return alignment(0);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
      return alignment(1);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
      return alignment(2);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      return alignment(3);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
      return CUBLAS_STATUS_SUCCESS;  // there is one sum here
    default:
      return CUBLAS_STATUS_NOT_SUPPORTED;
  }
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t d, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t out, cublasLtMatmulPreference_t preference,
                                              int wanted, cublasLtMatmulHeuristicResult_t* results, int* count) {
  const auto& p = held<Preference>(preference);
  const auto& description = held<Description>(d);
  const bool plain = description.epilogue == CUBLASLT_EPILOGUE_DEFAULT || description.epilogue == CUBLASLT_EPILOGUE_BIAS;
  const bool known = description.gelu() || description.gelu_backward() || description.bias_gradient();
  *count = wanted > 0 && p.workspace >= kWorkspace && (plain || (known && has_epilogues())) ? 1 : 0;
  if (*count == 0) return CUBLAS_STATUS_NOT_SUPPORTED;
  results[0] = {};
  Algorithm algorithm{
      kMarker, {}, shape_of(description, held<Layout>(a), held<Layout>(b), held<Layout>(out)), kWorkspace};
  std::copy(std::begin(p.alignment), std::end(p.alignment), algorithm.alignment);
  algorithm.alignment[4] = alignment_of(description.vector);
  algorithm.alignment[5] = alignment_of(description.beside);
  std::memcpy(&results[0].algo, &algorithm, sizeof algorithm);
  results[0].workspaceSize = kWorkspace;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t d, cublasLtMatrixLayout_t a,
                                       cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t out,
                                       const cublasLtMatmulAlgo_t* algo, cublasLtMatmulHeuristicResult_t* found) {
  Algorithm chosen{};
  std::memcpy(&chosen, algo, sizeof chosen);
  found->workspaceSize = chosen.workspace;
  const bool fits = chosen.marker == kMarker &&
                    chosen.shape == shape_of(held<Description>(d), held<Layout>(a), held<Layout>(b), held<Layout>(out));
  return fits ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}
cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t*, cublasLtMatmulAlgoConfigAttributes_t,
                                                    void* value, size_t bytes, size_t* written) {
  if (bytes != sizeof(std::uint32_t)) return CUBLAS_STATUS_INVALID_VALUE;
  std::memset(value, 0, bytes);
  *written = bytes;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t d, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t al, const void* b, cublasLtMatrixLayout_t bl, const void* beta,
                              const void* c, cublasLtMatrixLayout_t cl, void* out, cublasLtMatrixLayout_t ol,
                              const cublasLtMatmulAlgo_t* algo, void* workspace, size_t workspace_bytes,
                              cudaStream_t stream) {
  Call x{held<Description>(d), held<Layout>(al), held<Layout>(bl), held<Layout>(ol), a, b, c, out, 0, 0, 0, 0, 0};
  std::memcpy(&x.alpha, alpha, sizeof(float));
  std::memcpy(&x.beta, beta, sizeof(float));
  x.m = x.d.transpose_a ? x.a_layout.columns : x.a_layout.rows;
  x.k = x.d.transpose_a ? x.a_layout.rows : x.a_layout.columns;
  x.n = x.d.transpose_b ? x.b_layout.rows : x.b_layout.columns;
  const auto& c_in = held<Layout>(cl);
  if (x.k != (x.d.transpose_b ? x.b_layout.columns : x.b_layout.rows) || x.c_layout.rows != x.m ||
      x.c_layout.columns != x.n || c_in.rows != x.m || c_in.columns != x.n || c_in.type != x.c_layout.type)
    return refuse("extents that do not fit");
  if (x.a_layout.type != x.b_layout.type || (x.a_layout.type == CUDA_R_32F && x.c_layout.type != CUDA_R_32F))
    return refuse("a combination of types that it does not have");
  if (!inside(a, x.a_layout) || !inside(b, x.b_layout) || !inside(out, x.c_layout))
    return refuse("a matrix that leaves its device allocation");
  Algorithm chosen{};
  std::memcpy(&chosen, algo, sizeof chosen);
  if (chosen.marker != kMarker || chosen.shape != shape_of(x.d, x.a_layout, x.b_layout, x.c_layout))
    return refuse("an algorithm that nobody has chosen for this shape");
  if (!aligned(a, chosen.alignment[0]) || !aligned(b, chosen.alignment[1]) || !aligned(c, chosen.alignment[2]) ||
      !aligned(out, chosen.alignment[3]) || !aligned(x.d.vector, chosen.alignment[4]) ||
      !aligned(x.d.beside, chosen.alignment[5]))
    return refuse("a matrix that is less aligned than was said when the algorithm was chosen");
  if (workspace_bytes < chosen.workspace || !device_range(workspace, workspace_bytes))
    return refuse("too little workspace, or more than there is");
  const std::size_t element = width(x.c_layout.type);
  if (x.d.adds_bias() && !device_range(x.d.vector, static_cast<std::size_t>(x.m) * element))
    return refuse("a bias that leaves its device allocation");
  if (x.d.bias_gradient() && !device_range(x.d.vector, static_cast<std::size_t>(x.n) * element))
    return refuse("a bias gradient that leaves its device allocation");
  if (x.d.gelu() || x.d.gelu_backward()) {
    if (x.d.beside_stride % 8 != 0 || x.d.beside_stride < x.m) return refuse("an input of GELU with a wrong stride");
    if (!inside(x.d.beside, {x.c_layout.type, x.m, x.n, x.d.beside_stride}))
      return refuse("an input of GELU that leaves its device allocation");
    if (x.beta != 0) return refuse("GELU of what is accumulated into");
  }
  enqueue(stream, [x, workspace] {
    fill_poison(workspace, kWorkspace);
    compute(x);
  });
  return result(cudaSuccess) == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // extern "C"
