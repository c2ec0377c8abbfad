// Matrix products by cuBLASLt: which algorithm computes each shape is chosen once, when the shape is first met, and
// kept.
#pragma once

#include <cublasLt.h>

#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "kernels/backend.hpp"
#include "kernels/cuda/runtime.hpp"

namespace banyan::kernels::cuda {

class Products {
 public:
  /// workspace: bytes of device memory that algorithms may use.
  explicit Products(std::size_t workspace);
  ~Products();
  Products(const Products&) = delete;
  Products& operator=(const Products&) = delete;

  /// What cuBLASLt does beside a product, in one go with it:
  enum class Epilogue : std::uint8_t {
    kNone,          ///< nothing but the bias, if there is one
    kGelu,          ///< c = gelu_tanh(beside), where beside is the product and the bias
    kGeluBackward,  ///< c = the product * gelu_tanh'(beside)
    kBiasGradient,  ///< beside [m] = the sums of op(a)'s rows
  };
  /// A product in the terms of Gemm: row-major matrices with strides; no extent is zero.
  struct Product {
    std::int64_t m, n, k;
    bool transpose_a, transpose_b;
    DType in, out;  ///< of a and b; of c
    const void *a, *b;
    void* c;
    std::int64_t a_stride, b_stride, c_stride;
    const void* bias;  ///< null, or n elements of type out
    float alpha;
    bool accumulate;
    Epilogue epilogue = Epilogue::kNone;
    void* beside = nullptr;  ///< [m,n] of type out; of kBiasGradient [m], of type out, too
    std::int64_t beside_stride = 0;
  };
  /// False, with nothing done, when cuBLASLt has no algorithm with this epilogue.
  bool run(cudaStream_t stream, const Product& p);

  std::size_t workspace_bytes() const { return workspace_.bytes(); }

  /// The algorithms chosen so far, a shape a line, behind a line that says for which library and GPU; for people and
  /// for recall().
  std::string table() const;
  /// Takes over what another process chose, so that it adds up in the same order here.  False, and nothing is taken,
  /// when the table is another library's or another GPU's, whose algorithms do not mean the same.  What cuBLASLt does
  /// not accept for its shape is chosen again when the shape is met.  ConfigError with the line for what is no table.
  bool recall(std::string_view table);

 private:
  /// All that the choice of an algorithm depends on.
  using Key = std::array<std::int64_t, 15>;
  struct Choice {
    cublasLtMatmulAlgo_t algorithm;
    bool checked;  ///< false: recalled, and not used yet
  };
  std::string header() const;

  cublasLtHandle_t handle_ = nullptr;
  Memory workspace_;
  std::map<Key, Choice> choices_;
  std::set<Key> without_;  ///< shapes that have no algorithm with their epilogue
};

}  // namespace banyan::kernels::cuda
