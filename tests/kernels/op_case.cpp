#include "tests/kernels/op_case.hpp"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "src/base/bf16.hpp"
#include "src/base/rng.hpp"

namespace banyan::kernels::test {
namespace {

constexpr std::byte kGap{0xA5};

void put(View v, std::int64_t i, double x) {
  const std::int64_t columns = v.shape.row_count();
  const std::int64_t at = i / columns * v.row_stride + i % columns;
  switch (v.dtype) {
    case DType::kF32:
      v.as<float>()[at] = static_cast<float>(x);
      break;
    case DType::kBF16:
      v.as<BF16>()[at] = static_cast<float>(x);
      break;
    case DType::kF64:
      v.as<double>()[at] = x;
      break;
    case DType::kI32:
      v.as<std::int32_t>()[at] = static_cast<std::int32_t>(x);
      break;
    case DType::kI64:
      v.as<std::int64_t>()[at] = static_cast<std::int64_t>(x);
      break;
    default:
      throw BugError("a test tensor of type {}", name_of(v.dtype));
  }
}

double get(ConstView v, std::int64_t i) {
  const std::int64_t columns = v.shape.row_count();
  const std::int64_t at = i / columns * v.row_stride + i % columns;
  switch (v.dtype) {
    case DType::kF32:
      return static_cast<double>(v.as<float>()[at]);
    case DType::kBF16:
      return static_cast<double>(static_cast<float>(v.as<BF16>()[at]));
    case DType::kF64:
      return v.as<double>()[at];
    case DType::kI32:
      return v.as<std::int32_t>()[at];
    case DType::kI64:
      return static_cast<double>(v.as<std::int64_t>()[at]);
    default:
      throw BugError("a test tensor of type {}", name_of(v.dtype));
  }
}

std::size_t allocated(const View& v) {
  const std::int64_t rows = v.shape.rank() ? v.shape[0] : 1;
  return static_cast<std::size_t>(rows * v.row_stride) * size_of(v.dtype);
}

/// The activations among the tensors of an operation.
const std::map<std::string, std::vector<std::string>> kActivations{
    {"gemm", {"a", "b", "c"}},
    {"gemm_gelu", {"a", "b", "c", "active"}},
    {"gemm_gelu_backward", {"a", "b", "c", "x"}},
    {"gemm_bias_backward", {"d_out", "x"}},
    {"bias_backward", {"d_out"}},
    {"copy", {"in", "out"}},
    {"fill_zero", {"out"}},
    {"embedding_forward", {"table", "out"}},
    {"embedding_backward", {"d_out"}},
    {"position_forward", {"x"}},
    {"layernorm_forward", {"x", "out"}},
    {"layernorm_backward", {"x", "d_x", "d_out"}},
    {"rmsnorm_forward", {"x", "out"}},
    {"rmsnorm_backward", {"x", "d_x", "d_out"}},
    {"rotary", {"x"}},
    {"attention_forward", {"q", "k", "v", "out"}},
    {"attention_backward", {"q", "k", "v", "out", "d_out", "d_q", "d_k", "d_v"}},
    {"gelu_forward", {"x", "out"}},
    {"gelu_backward", {"x", "d_x", "d_out"}},
    {"swiglu_forward", {"gate", "up", "out"}},
    {"swiglu_backward", {"gate", "up", "d_out", "d_gate", "d_up"}},
    {"dropout", {"x", "out"}},
    {"add", {"a", "b", "out"}},
    {"cross_entropy_stats", {"logits"}},
    {"cross_entropy_backward", {"logits"}}};

/// All that a tensor has been given, gaps included.
View all_bytes(const View& v) {
  return View(v.data, DType::kU8, Shape{static_cast<std::int64_t>(allocated(v))}, v.kind);
}

std::uint64_t seed_of(const std::string& name) { return rng::named_key(17, name); }

}  // namespace

Bound::Bound(const std::vector<TensorSpec>& specs, const Values& values, std::size_t shift, Backend* device)
    : device_(device) {
  for (const TensorSpec& spec : specs) {
    View v(nullptr, spec.dtype, spec.shape);
    if (spec.stride) v.row_stride = spec.stride;
    // Large tensors lie in huge pages, as those of the backend's allocate() do.
    constexpr std::size_t huge = std::size_t{2} << 20;
    const std::size_t alignment = allocated(v) < huge ? 64 : huge;
    const std::size_t begin = shift * size_of(spec.dtype);
    const std::size_t bytes = (begin + allocated(v) + alignment) / alignment * alignment;
    std::shared_ptr<std::byte> memory(static_cast<std::byte*>(std::aligned_alloc(alignment, bytes)), std::free);
    if (alignment == huge) madvise(memory.get(), bytes, MADV_HUGEPAGE);
    std::memset(memory.get(), static_cast<int>(kGap), bytes);
    v.data = memory.get() + begin;
    Tensor t{spec, memory, v, nullptr, v};
    if (device) {
      const std::size_t all = begin + allocated(v);
      t.device_memory = {static_cast<std::byte*>(device->allocate(all)),
                         [device, all](std::byte* p) { device->release(p, all); }};
      t.device_view.data = t.device_memory.get() + begin;
      t.device_view.kind = device->memory_kind();
    }
    tensors_.emplace(spec.name, t);
    write(spec.name, values.at(spec.name));
  }
}

View Bound::operator[](const std::string& name) const {
  const Tensor& t = tensors_.at(name);
  return device_ ? t.device_view : t.view;
}

View Bound::fetched(const std::string& name) const {
  const Tensor& t = tensors_.at(name);
  if (device_ && allocated(t.view) > 0) {
    device_->copy({}, all_bytes(t.view), all_bytes(t.device_view));
    device_->synchronize({});
  }
  return t.view;
}

std::vector<double> Bound::read(const std::string& name) const {
  const View v = fetched(name);
  std::vector<double> values(static_cast<std::size_t>(v.count()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = get(v, static_cast<std::int64_t>(i));
  const std::size_t row = static_cast<std::size_t>(v.row_stride) * size_of(v.dtype);
  const std::size_t used = static_cast<std::size_t>(v.shape.row_count()) * size_of(v.dtype);
  for (std::int64_t r = 0; v.shape.rank() > 1 && r < v.shape[0]; ++r)
    for (std::size_t b = used; b < row; ++b)
      if (v.data[static_cast<std::size_t>(r) * row + b] != kGap)
        throw BugError("{} was written behind row {}", name, r);
  return values;
}

std::vector<std::byte> Bound::bytes(const std::string& name) const {
  const View v = fetched(name);
  return {v.data, v.data + allocated(v)};
}

void Bound::write(const std::string& name, const std::vector<double>& values) {
  const Tensor& t = tensors_.at(name);
  for (std::size_t i = 0; i < values.size(); ++i) put(t.view, static_cast<std::int64_t>(i), values[i]);
  if (device_ && allocated(t.view) > 0) device_->copy({}, all_bytes(t.device_view), all_bytes(t.view));
}

Values OpCase::initial() const {
  Values values;
  const auto round = [](std::vector<double>& v, DType dtype) {
    if (dtype == DType::kF32)
      for (double& x : v) x = static_cast<double>(static_cast<float>(x));
    if (dtype == DType::kBF16)
      for (double& x : v) x = static_cast<double>(static_cast<float>(BF16(static_cast<float>(x))));
  };
  for (const TensorSpec& t : tensors) {
    std::vector<double>& v = values[t.name];
    v.resize(static_cast<std::size_t>(t.shape.count()));
    if (t.value)
      for (std::size_t i = 0; i < v.size(); ++i) v[i] = t.value(static_cast<std::int64_t>(i));
    round(v, t.dtype);
  }
  if (prepare) {
    prepare(values);
    for (const TensorSpec& t : tensors) round(values.at(t.name), t.dtype);
  }
  return values;
}

bool has_activations(const OpCase& c) { return kActivations.contains(c.op); }

OpCase in_bf16(OpCase c) {
  for (const std::string& name : kActivations.at(c.op)) {
    // What gradients of weights are added to stays fp32.
    if (c.op == "gemm" && name == "c" && c.shape.find("+=") != std::string::npos) continue;
    const auto t =
        std::find_if(c.tensors.begin(), c.tensors.end(), [&](const TensorSpec& s) { return s.name == name; });
    if (t == c.tensors.end()) throw BugError("{} has no tensor {}", c.name(), name);
    t->dtype = DType::kBF16;
  }
  c.shape += " bf16";
  c.bytes /= 2;
  c.gradient.reset();  // the reference is the same
  // Half a unit of the last of eight bits and what precedes it; there are two roundings where the output is an input,
  // and where a product is rounded before GELU's backward pass.
  const double rounding = c.op == "attention_backward" ? 0x1p-6 : c.op == "gemm_gelu_backward" ? 0x1p-7 : 0x1p-8;
  c.tolerance = std::max(c.tolerance, rounding);
  return c;
}

double error_of(const std::vector<double>& got, const std::vector<double>& want) {
  double difference = 0, largest = 0.01;
  for (std::size_t i = 0; i < want.size(); ++i) {
    if (std::isfinite(want[i]) != std::isfinite(got[i])) return HUGE_VAL;
    if (!std::isfinite(want[i])) continue;
    difference = std::max(difference, std::abs(got[i] - want[i]));
    largest = std::max(largest, std::abs(want[i]));
  }
  return difference / largest;
}

std::function<double(std::int64_t)> noise(std::uint64_t seed, double scale) {
  return [seed, scale](std::int64_t i) {
    return scale * (static_cast<double>(rng::mix(seed, static_cast<std::uint64_t>(i)) >> 11) * 0x1p-52 - 1.0);
  };
}

TensorSpec in(std::string name, Shape shape, double scale, std::int64_t stride) {
  const std::uint64_t seed = seed_of(name);
  return {std::move(name), shape, Role::kIn, DType::kF32, stride, noise(seed, scale)};
}

TensorSpec out(std::string name, Shape shape, std::int64_t stride) {
  return {std::move(name), shape, Role::kOut, DType::kF32, stride, {}};
}

TensorSpec inout(std::string name, Shape shape, double scale, std::int64_t stride) {
  const std::uint64_t seed = seed_of(name);
  return {std::move(name), shape, Role::kInOut, DType::kF32, stride, noise(seed, scale)};
}

TensorSpec integers(std::string name, std::vector<std::int32_t> values) {
  const auto n = static_cast<std::int64_t>(values.size());
  return {std::move(name), {n}, Role::kIn,
          DType::kI32,     0,   [values](std::int64_t i) { return values[static_cast<std::size_t>(i)]; }};
}

std::string problems_on_device(Backend& device, const OpCase& c) {
  const Values before = c.initial();
  Values want = before;
  c.reference(want);
  Bound first(c.tensors, before, 0, &device), again(c.tensors, before, 3, &device), on_cpu(c.tensors, before);
  c.run(device, first);
  c.run(device, again);
  c.run(*make_cpu_backend({.threads = 1, .max_isa = ""}), on_cpu);
  std::string problems;
  const auto within = [&](const TensorSpec& t, double error, double limit, const char* of) {
    if (!(error <= limit)) problems += fmt::format("{} is off {} by {:.2e} (limit {:.2e})\n", t.name, of, error, limit);
  };
  for (const TensorSpec& t : c.tensors) {
    if (t.role == Role::kIn) {
      if (first.bytes(t.name) != Bound(c.tensors, before).bytes(t.name))
        problems += fmt::format("{} is an input and was written to\n", t.name);
      continue;
    }
    const std::vector<double> got = first.read(t.name);
    within(t, error_of(got, want[t.name]), c.tolerance, "the reference");
    within(t, error_of(got, on_cpu.read(t.name)), 2 * c.tolerance, "the CPU's backend");
    if (first.bytes(t.name) != again.bytes(t.name))
      problems += fmt::format("{} differs when computed again, at other addresses\n", t.name);
  }
  return problems;
}

}  // namespace banyan::kernels::test
