#include "io/safetensors.hpp"

#include <algorithm>
#include <bit>
#include <set>
#include <tuple>

#include "src/base/error.hpp"
#include "src/base/json.hpp"

namespace banyan::io {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLargestHeader = std::size_t{32} << 20;
constexpr std::size_t kLargestIndex = std::size_t{64} << 20;
constexpr std::size_t kLongestName = 4096;
constexpr std::size_t kMostAxes = 5;
constexpr std::int64_t kChunk = std::int64_t{1} << 20;  // elements converted at a time
constexpr const char* kMetadata = "__metadata__";

/// Bytes of an element; 0 for a name that is no type.
std::int64_t width_of(std::string_view dtype) {
  static const std::map<std::string_view, std::int64_t> widths{
      {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1}, {"I16", 2}, {"U16", 2}, {"F16", 2},
      {"BF16", 2}, {"I32", 4}, {"U32", 4}, {"F32", 4},     {"I64", 8},     {"U64", 8}, {"F64", 8}, {"C64", 8}};
  const auto at = widths.find(dtype);
  return at == widths.end() ? 0 : at->second;
}

SafeTensor parse_tensor(const std::string& name, const Json& entry, std::int64_t data_bytes,
                        const std::string& context) {
  const std::string where = context + ": tensor \"" + name.substr(0, 200) + "\"";
  if (name.empty() || name.size() > kLongestName)
    throw DataError("{} has a name of {} bytes; 1 to {} are allowed", where, name.size(), kLongestName);
  if (!entry.is_object() || entry.size() != 3)
    throw DataError("{} is not described by dtype, shape and data_offsets alone", where);
  SafeTensor t;
  t.name = name;
  t.dtype = get<std::string>(entry, "dtype", where);
  const std::int64_t width = width_of(t.dtype);
  if (width == 0) throw DataError("{} has the unknown dtype \"{}\"", where, t.dtype.substr(0, 40));
  const auto extents = get<std::vector<std::int64_t>>(entry, "shape", where);
  if (extents.size() > kMostAxes)
    throw DataError("{} has {} axes; at most {} are supported", where, extents.size(), kMostAxes);
  std::int64_t bytes = width;
  bool empty = false;
  for (const std::int64_t extent : extents) {
    if (extent < 0) throw DataError("{} has the extent {}", where, extent);
    empty |= extent == 0;
    if (extent > 0 && __builtin_mul_overflow(bytes, extent, &bytes))
      throw DataError("{} has more elements than can be counted", where);
    t.shape.push_back(extent);
  }
  if (empty) bytes = 0;
  const auto offsets = get<std::vector<std::int64_t>>(entry, "data_offsets", where);
  if (offsets.size() != 2) throw DataError("{} has {} data_offsets instead of 2", where, offsets.size());
  t.begin = offsets[0];
  t.end = offsets[1];
  if (t.begin < 0 || t.end < t.begin || t.end > data_bytes)
    throw DataError("{} claims the bytes {} to {} of {}; is the file cut off?", where, t.begin, t.end, data_bytes);
  if (t.end - t.begin != bytes)
    throw DataError("{} has {} bytes, but {} of {} take {}", where, t.end - t.begin, t.shape.str(), t.dtype, bytes);
  return t;
}

/// Exact: every half is a float.
float from_half(std::uint16_t h) {
  const std::uint32_t sign = std::uint32_t{h} >> 15 << 31, fraction = h & 0x3FFu;
  const int exponent = h >> 10 & 0x1F;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000u | fraction << 13);
  if (exponent > 0)
    return std::bit_cast<float>(sign | static_cast<std::uint32_t>(exponent + 112) << 23 | fraction << 13);
  const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
  return sign ? -magnitude : magnitude;
}

/// The file itself where a name leads to it by links, as in a download cache.
File open_through_links(const fs::path& path) {
  std::error_code error;
  const fs::path real = fs::canonical(path, error);
  if (error) throw DataError("{}: {}", path.string(), error.message());
  return File::open_for_reading(real);
}

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

}  // namespace

std::vector<SafeTensor> parse_safetensors_header(std::string_view json, std::int64_t data_bytes,
                                                 const std::string& context) {
  const Json root = parse_json(json, context, {.bytes = kLargestHeader, .depth = 4});
  if (!root.is_object()) throw DataError("{}: the header is no JSON object", context);
  std::vector<SafeTensor> tensors;
  for (const auto& [name, entry] : root.items()) {
    if (name != kMetadata) {
      tensors.push_back(parse_tensor(name, entry, data_bytes, context));
      continue;
    }
    if (!entry.is_object()) throw DataError("{}: {} is no JSON object", context, kMetadata);
    for (const auto& [key, value] : entry.items())
      if (!value.is_string()) throw DataError("{}: {} has a value that is no string", context, kMetadata);
  }
  std::sort(tensors.begin(), tensors.end(), [](const SafeTensor& a, const SafeTensor& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  std::int64_t at = 0;
  for (const SafeTensor& t : tensors) {
    if (t.begin != at)
      throw DataError("{}: tensor \"{}\" {} at byte {}, the one before it ends at {}", context, t.name.substr(0, 200),
                      t.begin < at ? "overlaps another: it begins" : "leaves a gap: it begins", t.begin, at);
    at = t.end;
  }
  if (at != data_bytes)
    throw DataError("{}: the file holds {} bytes of values, its header describes {}", context, data_bytes, at);
  return tensors;
}

Safetensors::Safetensors(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) {
    add_file(path);
  } else if (is_file(path / "model.safetensors.index.json")) {
    add_index(path);
  } else {
    if (!is_file(path / "model.safetensors"))
      throw DataError(
          "{} holds neither model.safetensors nor model.safetensors.index.json; models in other formats must be saved "
          "as safetensors first",
          path.string());
    add_file(path / "model.safetensors");
  }
}

void Safetensors::add_file(const fs::path& path) {
  File file = open_through_links(path);
  const std::string context = path.string();
  const std::int64_t size = file.size();
  if (size < 8) throw DataError("{} has {} bytes; that is no safetensors file", context, size);
  unsigned char raw[8];
  file.read_at(0, raw, sizeof raw);
  std::uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | raw[i];
  if (length > kLargestHeader || static_cast<std::int64_t>(length) > size - 8)
    throw DataError("{} claims a header of {} bytes (file: {}, limit: {}); it is cut off or no safetensors file",
                    context, length, size, kLargestHeader);
  std::string header(static_cast<std::size_t>(length), '\0');
  file.read_at(8, header.data(), header.size());
  const std::int64_t begin = 8 + static_cast<std::int64_t>(length);
  for (SafeTensor& t : parse_safetensors_header(header, size - begin, context)) {
    t.file = static_cast<int>(files_.size());
    const std::string name = t.name;
    if (!tensors_.emplace(name, std::move(t)).second)
      throw DataError("{}: tensor \"{}\" is in another file of the model too", context, name.substr(0, 200));
  }
  files_.push_back(std::move(file));
  data_begin_.push_back(begin);
}

void Safetensors::add_index(const fs::path& directory) {
  const std::string context = (directory / "model.safetensors.index.json").string();
  const Json index = read_json_file(context, {.bytes = kLargestIndex, .depth = 8});
  const Json& map = member(index, "weight_map", context);
  if (!map.is_object()) throw DataError("{}: weight_map is no JSON object", context);
  std::map<std::string, std::string> file_of;
  std::set<std::string> names;
  for (const auto& [tensor, file] : map.items()) {
    if (!file.is_string() || !plain_name(file.get<std::string>()))
      throw DataError("{}: \"{}\" is not in a file with a plain name beside the index", context, tensor.substr(0, 200));
    file_of[tensor] = file.get<std::string>();
    names.insert(file_of[tensor]);
  }
  std::vector<std::string> order;
  for (const std::string& name : names) {
    add_file(directory / name);
    order.push_back(name);
  }
  for (const auto& [tensor, file] : file_of) {
    const SafeTensor* found = find(tensor);
    if (!found || order[static_cast<std::size_t>(found->file)] != file)
      throw DataError("{}: tensor \"{}\" is not in {}", context, tensor.substr(0, 200), file);
  }
  for (const auto& [name, t] : tensors_)
    if (!file_of.count(name))
      throw DataError("{}: tensor \"{}\" of {} is not in the index", context, name.substr(0, 200),
                      order[static_cast<std::size_t>(t.file)]);
}

const SafeTensor* Safetensors::find(const std::string& name) const {
  const auto at = tensors_.find(name);
  return at == tensors_.end() ? nullptr : &at->second;
}

void Safetensors::read(const SafeTensor& t, std::int64_t first, std::span<float> out) const {
  const auto count = static_cast<std::int64_t>(out.size());
  if (first < 0 || count > t.shape.count() - first)
    throw BugError("elements {} to {} of {} {} were asked for", first, first + count, t.name, t.shape.str());
  const File& file = files_[static_cast<std::size_t>(t.file)];
  const std::int64_t width = width_of(t.dtype), place = data_begin_[static_cast<std::size_t>(t.file)] + t.begin;
  if (t.dtype == "F32") {
    file.read_at(place + first * width, out.data(), out.size_bytes());
    return;
  }
  const bool half = t.dtype == "F16";
  if (!half && t.dtype != "BF16")
    throw DataError("{}: tensor {} is of type {}; F32, F16 and BF16 can be read", file.path().string(), t.name,
                    t.dtype);
  std::vector<std::uint16_t> raw(static_cast<std::size_t>(std::min(kChunk, count)));
  for (std::int64_t at = 0; at < count; at += kChunk) {
    const auto n = static_cast<std::size_t>(std::min(kChunk, count - at));
    file.read_at(place + (first + at) * width, raw.data(), n * sizeof raw[0]);
    float* to = out.data() + at;
    for (std::size_t i = 0; i < n; ++i)
      to[i] = half ? from_half(raw[i]) : std::bit_cast<float>(std::uint32_t{raw[i]} << 16);
  }
}

}  // namespace banyan::io
