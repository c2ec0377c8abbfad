#include "kernels/cuda/products.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <sstream>

#include "src/base/error.hpp"

namespace banyan::kernels::cuda {
namespace {

void must_lt(const char* what, cublasStatus_t status) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  if (status == CUBLAS_STATUS_ALLOC_FAILED)
    throw ConfigError("gemm: cuBLASLt has no memory left; use more ranks, a smaller microbatch or a smaller model");
  throw BugError("gemm: cuBLASLt's {} says: {}", what, cublasLtGetStatusString(status));
}

/// Owns one of cuBLASLt's descriptions.
template <class T, cublasStatus_t (*Destroy)(T)>
class Owned {
 public:
  Owned() = default;
  ~Owned() {
    if (handle) Destroy(handle);
  }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  T handle = nullptr;
};
using Description = Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Layout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Preference = Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

template <class T>
void set(Description& d, cublasLtMatmulDescAttributes_t attribute, const T& value) {
  must_lt("description", cublasLtMatmulDescSetAttribute(d.handle, attribute, &value, sizeof value));
}
template <class T>
void set(Preference& p, cublasLtMatmulPreferenceAttributes_t attribute, const T& value) {
  must_lt("preference", cublasLtMatmulPreferenceSetAttribute(p.handle, attribute, &value, sizeof value));
}

cudaDataType type_of(DType t) { return t == DType::kF32 ? CUDA_R_32F : CUDA_R_16BF; }

cublasLtEpilogue_t epilogue_of(const Products::Product& p) {
  using Epilogue = Products::Epilogue;
  if (p.epilogue == Epilogue::kGelu) return p.bias ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX;
  if (p.epilogue == Epilogue::kGeluBackward) return CUBLASLT_EPILOGUE_DGELU;
  if (p.epilogue == Epilogue::kBiasGradient) return CUBLASLT_EPILOGUE_BGRADB;
  return p.bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
}

/// Bytes that an address is a multiple of, as far as cuBLASLt asks.
std::uint32_t alignment_of(const void* p) {
  const auto at = reinterpret_cast<std::uintptr_t>(p);
  return at == 0 ? 256u : static_cast<std::uint32_t>(std::min<std::uintptr_t>(256, at & ~(at - 1)));
}

constexpr std::size_t kWords = sizeof(cublasLtMatmulAlgo_t) / sizeof(std::uint64_t);
static_assert(kWords * sizeof(std::uint64_t) == sizeof(cublasLtMatmulAlgo_t));

/// One of the numbers that an algorithm consists of, for people.
std::uint32_t number_of(const cublasLtMatmulAlgo_t& algorithm, cublasLtMatmulAlgoConfigAttributes_t attribute) {
  std::uint32_t value = 0;
  std::size_t written = 0;
  must_lt("algorithm", cublasLtMatmulAlgoConfigGetAttribute(&algorithm, attribute, &value, sizeof value, &written));
  return value;
}

}  // namespace

Products::Products(std::size_t workspace) : workspace_(workspace, false) { must_lt("start", cublasLtCreate(&handle_)); }
Products::~Products() { cublasLtDestroy(handle_); }

// cuBLASLt's matrices are column-major: a row-major matrix is its transpose.  c^T [n, m] = op(b)^T op(a)^T, so that b
// is cuBLASLt's first operand, a its second, and a bias of n elements belongs to the rows of the result.
bool Products::run(cudaStream_t stream, const Product& p) {
  Description description;
  must_lt("description", cublasLtMatmulDescCreate(&description.handle, CUBLAS_COMPUTE_32F, CUDA_R_32F));
  const auto op = [](bool transpose) -> std::int32_t { return transpose ? CUBLAS_OP_T : CUBLAS_OP_N; };
  set(description, CUBLASLT_MATMUL_DESC_TRANSA, op(p.transpose_b));
  set(description, CUBLASLT_MATMUL_DESC_TRANSB, op(p.transpose_a));
  const bool matrix_beside = p.epilogue == Epilogue::kGelu || p.epilogue == Epilogue::kGeluBackward;
  if (matrix_beside && p.beside_stride % 8 != 0) return false;  // which cuBLASLt asks for
  set(description, CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue_of(p));
  if (matrix_beside) {
    set(description, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, p.beside);
    set(description, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, p.beside_stride);
  }
  const void* const vector = p.epilogue == Epilogue::kBiasGradient ? p.beside : p.bias;
  if (vector) set(description, CUBLASLT_MATMUL_DESC_BIAS_POINTER, vector);
  Layout first, second, result;
  const auto layout = [](Layout& to, DType type, bool transpose, std::int64_t rows, std::int64_t columns,
                         std::int64_t stride) {
    if (transpose) std::swap(rows, columns);
    must_lt("layout", cublasLtMatrixLayoutCreate(&to.handle, type_of(type), static_cast<std::uint64_t>(rows),
                                                 static_cast<std::uint64_t>(columns), stride));
  };
  layout(first, p.in, p.transpose_b, p.n, p.k, p.b_stride);
  layout(second, p.in, p.transpose_a, p.k, p.m, p.a_stride);
  layout(result, p.out, false, p.n, p.m, p.c_stride);

  const std::uint32_t a_alignment = alignment_of(p.b), b_alignment = alignment_of(p.a), c_alignment = alignment_of(p.c);
  const int options = (p.transpose_a ? 1 : 0) | (p.transpose_b ? 2 : 0) | (p.bias ? 4 : 0) | (p.accumulate ? 8 : 0) |
                      static_cast<int>(p.epilogue) << 4;
  const Key key{p.m,
                p.n,
                p.k,
                options,
                static_cast<std::int64_t>(p.in),
                static_cast<std::int64_t>(p.out),
                p.a_stride,
                p.b_stride,
                p.c_stride,
                a_alignment,
                b_alignment,
                c_alignment,
                alignment_of(vector),
                matrix_beside ? p.beside_stride : 0,
                alignment_of(matrix_beside ? p.beside : nullptr)};
  if (without_.contains(key)) return false;
  auto found = choices_.find(key);
  if (found != choices_.end() && !found->second.checked) {
    cublasLtMatmulHeuristicResult_t can{};
    const cublasStatus_t status = cublasLtMatmulAlgoCheck(handle_, description.handle, first.handle, second.handle,
                                                          result.handle, result.handle, &found->second.algorithm, &can);
    found->second.checked = true;
    if (status != CUBLAS_STATUS_SUCCESS || can.workspaceSize > workspace_.bytes()) {
      choices_.erase(found);
      found = choices_.end();
    }
  }
  if (found == choices_.end()) {
    Preference preference;
    must_lt("preference", cublasLtMatmulPreferenceCreate(&preference.handle));
    set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{workspace_.bytes()});
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, a_alignment);
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, b_alignment);
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, c_alignment);
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, c_alignment);
    // Where the inner extent is split, parts are added in fp32, in a fixed order.
    set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
        static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
    cublasLtMatmulHeuristicResult_t best{};
    int count = 0;
    const cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(handle_, description.handle, first.handle, second.handle, result.handle,
                                       result.handle, preference.handle, 1, &best, &count);
    if (status != CUBLAS_STATUS_NOT_SUPPORTED) must_lt("choice of an algorithm", status);
    if (status == CUBLAS_STATUS_NOT_SUPPORTED || count == 0) {
      if (p.epilogue != Epilogue::kNone) return without_.insert(key), false;
      throw BugError("gemm: cuBLASLt has no algorithm for [{}, {}, {}] of {} into {}", p.m, p.n, p.k, name_of(p.in),
                     name_of(p.out));
    }
    found = choices_.emplace(key, Choice{best.algo, true}).first;
  }
  const float beta = p.accumulate ? 1.0f : 0.0f;
  must_lt("product", cublasLtMatmul(handle_, description.handle, &p.alpha, p.b, first.handle, p.a, second.handle, &beta,
                                    p.c, result.handle, p.c, result.handle, &found->second.algorithm, workspace_.get(),
                                    workspace_.bytes(), stream));
  return true;
}

std::string Products::header() const {
  int device = 0;
  cudaDeviceProp properties{};
  must("gemm", cudaGetDevice(&device));
  must("gemm", cudaGetDeviceProperties(&properties, device));
  return fmt::format("cuBLASLt {} on {}", cublasLtGetVersion(), properties.name);
}

std::string Products::table() const {
  std::string text = header() + "\n";
  for (const auto& [key, chosen] : choices_) {
    const auto& choice = chosen;  // which a lambda may refer to
    text += fmt::format("{} :", fmt::join(key, " "));
    std::uint64_t words[kWords];
    std::memcpy(words, &choice.algorithm, sizeof words);
    for (const std::uint64_t w : words) text += fmt::format(" {:x}", w);
    const auto number = [&](cublasLtMatmulAlgoConfigAttributes_t a) { return number_of(choice.algorithm, a); };
    text += fmt::format(" : algorithm {} tile {} stages {} splits {}\n", number(CUBLASLT_ALGO_CONFIG_ID),
                        number(CUBLASLT_ALGO_CONFIG_TILE_ID), number(CUBLASLT_ALGO_CONFIG_STAGES_ID),
                        number(CUBLASLT_ALGO_CONFIG_SPLITK_NUM));
  }
  return text;
}

bool Products::recall(std::string_view table) {
  std::istringstream lines{std::string(table)};
  std::string line;
  std::getline(lines, line);
  if (line != header()) return false;
  std::map<Key, Choice> recalled;
  for (int number = 2; std::getline(lines, line); ++number) {
    std::istringstream words(line);
    Key key{};
    std::uint64_t algorithm[kWords] = {};
    char colon = 0;
    for (std::int64_t& k : key) words >> k;
    words >> colon >> std::hex;
    for (std::uint64_t& w : algorithm) words >> w;
    if (!words || colon != ':')
      throw ConfigError("line {} of the algorithms of matrix products cannot be read: \"{}\"", number,
                        line.substr(0, 60));
    Choice& choice = recalled[key];
    std::memcpy(&choice.algorithm, algorithm, sizeof algorithm);
    choice.checked = false;
  }
  for (const auto& [key, choice] : recalled) choices_.emplace(key, choice);
  return true;
}

}  // namespace banyan::kernels::cuda
