// One operation of the backend with one set of shapes: how to make its inputs, how to call it, what must come out.  The
// list of all cases is op_cases.hpp; tests and `bench ops` both run it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/backend.hpp"

namespace banyan::kernels::test {

/// The tensors of a case in double precision, rows without gaps, by name.
using Values = std::map<std::string, std::vector<double>>;

enum class Role { kIn, kOut, kInOut };

struct TensorSpec {
  std::string name;
  Shape shape;
  Role role = Role::kIn;
  DType dtype = DType::kF32;
  std::int64_t stride = 0;                    ///< of the rows; 0: contiguous
  std::function<double(std::int64_t)> value;  ///< initial element i; empty: zero
};

/// What the derivative test of a backward operation needs.
struct Gradient {
  std::function<std::vector<double>(const Values&)> forward;  ///< the function whose gradient is computed
  std::string d_out;                                          ///< gradient of its output
  std::vector<std::pair<std::string, std::string>> of;        ///< (input, tensor that receives its gradient)
};

/// Memory behind the tensors of a case.
class Bound {
 public:
  /// shift: elements by which every tensor begins behind the start of a cache line.  device: whose memory the tensors
  /// lie in; null: the host's.
  Bound(const std::vector<TensorSpec>& specs, const Values& values, std::size_t shift = 0, Backend* device = nullptr);
  View operator[](const std::string& name) const;  ///< for the operation
  /// Elements as doubles; BugError when something was written between the rows.
  std::vector<double> read(const std::string& name) const;
  /// The bytes, for comparisons to the bit.
  std::vector<std::byte> bytes(const std::string& name) const;
  void write(const std::string& name, const std::vector<double>& values);

 private:
  struct Tensor {
    TensorSpec spec;
    std::shared_ptr<std::byte> memory;
    View view;
    std::shared_ptr<std::byte> device_memory;
    View device_view;
  };
  /// The tensor in host memory, as it is on the device.
  View fetched(const std::string& name) const;
  Backend* device_;
  std::map<std::string, Tensor> tensors_;
};

struct OpCase {
  std::string op, shape;        ///< "gemm", "NT 1024x768x2304"
  double flops = 0, bytes = 0;  ///< of one call; bytes that must move at least
  std::vector<TensorSpec> tensors;
  std::function<void(Values&)> prepare;  ///< fills inputs that follow from others; may be empty
  std::function<void(Backend&, Bound&)> run;
  std::function<void(Values&)> reference;  ///< overwrites the outputs
  double tolerance = 4e-6;                 ///< of the largest error, relative to the largest value
  std::optional<Gradient> gradient;

  std::string name() const { return op + " " + shape; }
  /// Inputs as the operation sees them (rounded to the tensor's type), outputs with their initial contents.
  Values initial() const;
};

/// Whether the operation takes activations, and the same case with them in bf16.
bool has_activations(const OpCase& c);
OpCase in_bf16(OpCase c);

/// What is wrong with the case on a device's backend, a line for each tensor; empty: nothing.  It must compute what the
/// double-precision reference does within the case's tolerance, and the CPU backend within twice that; the same to the
/// bit when run again at other addresses; and leave its inputs alone.
std::string problems_on_device(Backend& device, const OpCase& c);

/// Largest difference over the largest value (but no less than 0.01: some true results are zero, and inputs are near
/// 1); infinity where only one is finite.
double error_of(const std::vector<double>& got, const std::vector<double>& want);

/// Repeatable numbers, roughly uniform in [-scale, scale].
std::function<double(std::int64_t)> noise(std::uint64_t seed, double scale = 1);
TensorSpec in(std::string name, Shape shape, double scale = 1, std::int64_t stride = 0);
TensorSpec out(std::string name, Shape shape, std::int64_t stride = 0);
TensorSpec inout(std::string name, Shape shape, double scale = 1, std::int64_t stride = 0);
TensorSpec integers(std::string name, std::vector<std::int32_t> values);

}  // namespace banyan::kernels::test
