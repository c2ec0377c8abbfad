#include "io/manifest.hpp"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <tuple>

#include "io/atomic_file.hpp"
#include "src/base/error.hpp"

namespace banyan::io {
namespace {

using nlohmann::json;

constexpr std::int64_t kMaxInteger = std::int64_t{1} << 62;
constexpr std::size_t kMaxItems = 1'000'000, kMaxRank = 5;
constexpr int kMaxDepth = 6;
constexpr std::string_view kDigestHead = "\"digest\": \"", kDigestTail = "\"\n}\n";
constexpr std::size_t kDigestChars = 32;

std::string json_text(const std::string& text) {
  return json(text).dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string joined(const Shape& shape, const char* separator) {
  std::string s;
  for (int i = 0; i < shape.rank(); ++i) s += (i ? separator : "") + std::to_string(shape[i]);
  return s;
}

std::string json_text(const std::map<std::string, std::string>& map) {
  std::string s = "{";
  for (const auto& [key, value] : map) s += (s.size() > 1 ? ", " : "") + json_text(key) + ": " + json_text(value);
  return s + "}";
}

/// One manifest being read; `where` names the place in messages.
class Reader {
 public:
  explicit Reader(std::string source) : source_(std::move(source)) {}

  template <class... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    throw DataError("{} is not a usable manifest: {}", source_, fmt::format(format, std::forward<Args>(args)...));
  }

  /// An object with exactly these members.
  void members(const json& object, const std::string& where, std::span<const std::string_view> names) const {
    if (!object.is_object()) fail("{} is not an object", where);
    for (std::string_view name : names)
      if (!object.contains(name)) fail("{} has no member '{}'", where, name);
    if (object.size() != names.size()) fail("{} has members this version does not know", where);
  }
  const json& array(const json& value, const std::string& where, std::size_t limit) const {
    if (!value.is_array()) fail("{} is not a list", where);
    if (value.size() > limit) fail("{} has {} entries, at most {} are allowed", where, value.size(), limit);
    return value;
  }
  std::int64_t integer(const json& value, const std::string& where, std::int64_t low = 0) const {
    if (!value.is_number_integer()) fail("{} is not an integer", where);
    if (value.is_number_unsigned() ? value.get<std::uint64_t>() > static_cast<std::uint64_t>(kMaxInteger)
                                   : value.get<std::int64_t>() < 0)
      fail("{} is out of range", where);
    const auto number = value.get<std::int64_t>();
    if (number < low) fail("{} is {}, at least {} is expected", where, number, low);
    return number;
  }
  std::string text(const json& value, const std::string& where) const {
    if (!value.is_string()) fail("{} is not a text", where);
    return value.get<std::string>();
  }
  std::string digest(const json& value, const std::string& where) const {
    std::string s = text(value, where);
    std::uint64_t ignored;
    if (s.size() != kDigestChars || !parse_hex64(std::string_view(s).substr(0, 16), ignored) ||
        !parse_hex64(std::string_view(s).substr(16), ignored))
      fail("{} is not a digest", where);
    return s;
  }
  std::map<std::string, std::string> texts(const json& value, const std::string& where) const {
    if (!value.is_object() || value.size() > kMaxItems) fail("{} is not an object of texts", where);
    std::map<std::string, std::string> map;
    for (const auto& [key, entry] : value.items()) map[key] = text(entry, where);
    return map;
  }

 private:
  std::string source_;
};

DType dtype_named(const Reader& r, const std::string& name, const std::string& where) {
  for (DType d :
       {DType::kF32, DType::kBF16, DType::kF64, DType::kI32, DType::kI64, DType::kU8, DType::kU16, DType::kU32})
    if (name == name_of(d)) return d;
  r.fail("{} has the unknown dtype '{}'", where, name);
}

TensorKind kind_named(const Reader& r, const std::string& name, const std::string& where) {
  for (TensorKind k : {TensorKind::kParam, TensorKind::kM, TensorKind::kV})
    if (name == name_of(k)) return k;
  r.fail("{} has the unknown kind '{}'", where, name);
}

std::vector<ManifestFile> read_files(const Reader& r, const json& list) {
  std::vector<ManifestFile> files;
  std::set<std::string> names;
  for (const json& entry : r.array(list, "files", kMaxItems)) {
    if (r.array(entry, "a file", 3).size() != 3) r.fail("a file has not name, size and digest");
    ManifestFile f;
    f.name = r.text(entry[0], "the name of a file");
    if (!plain_name(f.name)) r.fail("{} is not allowed as the name of a file", json_text(f.name));
    if (!names.insert(f.name).second) r.fail("the file {} is listed twice", f.name);
    f.size = r.integer(entry[1], "the size of " + f.name);
    f.digest = r.digest(entry[2], "the digest of " + f.name);
    files.push_back(std::move(f));
  }
  return files;
}

/// [file, byte offset, offset..., count..., "checksum"]
Shard read_shard(const Reader& r, const json& entry, const Tensor& tensor, const std::vector<ManifestFile>& files,
                 const std::string& where) {
  const int rank = tensor.shape.rank();
  const std::size_t fields = 3 + 2 * static_cast<std::size_t>(rank);
  if (r.array(entry, where, fields).size() != fields) r.fail("{} has not {} fields", where, fields);
  Shard shard;
  const std::int64_t file = r.integer(entry[0], where);
  if (file >= std::ssize(files)) r.fail("{} names file {}, there are {}", where, file, files.size());
  shard.file = static_cast<int>(file);
  shard.byte_offset = r.integer(entry[1], where);
  for (int i = 0; i < rank; ++i) shard.slab.offset.push_back(r.integer(entry[2 + static_cast<std::size_t>(i)], where));
  for (int i = 0; i < rank; ++i)
    shard.slab.count.push_back(r.integer(entry[2 + static_cast<std::size_t>(rank + i)], where, 1));
  if (!parse_hex64(r.text(entry[fields - 1], where), shard.checksum)) r.fail("{} has a malformed checksum", where);
  for (int i = 0; i < rank; ++i)
    if (shard.slab.count[i] > tensor.shape[i] || shard.slab.offset[i] > tensor.shape[i] - shard.slab.count[i])
      r.fail("{} leaves the tensor: offset {} count {} of {}", where, shard.slab.offset.str(), shard.slab.count.str(),
             tensor.shape.str());
  // Inside the tensor, whose volume was checked: no overflow.
  const std::int64_t bytes = shard.slab.elements() * static_cast<std::int64_t>(size_of(tensor.dtype));
  const std::int64_t size = files[static_cast<std::size_t>(file)].size;
  if (bytes > size || shard.byte_offset > size - bytes)
    r.fail("{} reaches beyond the end of {}", where, files[static_cast<std::size_t>(file)].name);
  return shard;
}

Tensor read_tensor(const Reader& r, const json& entry, const std::vector<ManifestFile>& files) {
  static constexpr std::string_view kMembers[] = {"name", "kind", "dtype", "shape", "shards"};
  r.members(entry, "a tensor", kMembers);
  Tensor t;
  t.name = r.text(entry["name"], "the name of a tensor");
  if (!plain_name(t.name)) r.fail("{} is not allowed as the name of a tensor", json_text(t.name));
  t.kind = kind_named(r, r.text(entry["kind"], t.name), t.name);
  const std::string where = t.key();
  t.dtype = dtype_named(r, r.text(entry["dtype"], where), where);
  std::int64_t bytes = static_cast<std::int64_t>(size_of(t.dtype));
  for (const json& extent : r.array(entry["shape"], "the shape of " + where, kMaxRank)) {
    t.shape.push_back(r.integer(extent, "the shape of " + where, 1));
    if (__builtin_mul_overflow(bytes, t.shape[t.shape.rank() - 1], &bytes) || bytes > kMaxInteger)
      r.fail("{} has an impossible size", where);
  }
  std::vector<Slab> slabs;
  for (const json& shard : r.array(entry["shards"], "the shards of " + where, kMaxItems)) {
    t.shards.push_back(read_shard(r, shard, t, files, "a shard of " + where));
    slabs.push_back(t.shards.back().slab);
  }
  if (const std::string problem = coverage_problem(t.shape, slabs); !problem.empty()) r.fail("{}: {}", where, problem);
  return t;
}

/// No byte of a file belongs to two shards.
void check_bytes(const Reader& r, const Manifest& m) {
  std::vector<std::tuple<int, std::int64_t, std::int64_t>> ranges;  // file, begin, end
  for (const Tensor& t : m.tensors)
    for (const Shard& s : t.shards)
      ranges.emplace_back(s.file, s.byte_offset,
                          s.byte_offset + s.slab.elements() * static_cast<std::int64_t>(size_of(t.dtype)));
  std::sort(ranges.begin(), ranges.end());
  for (std::size_t i = 1; i < ranges.size(); ++i) {
    const auto& [file, begin, end] = ranges[i];
    if (file == std::get<0>(ranges[i - 1]) && begin < std::get<2>(ranges[i - 1]))
      r.fail("two shards share bytes of {}", m.files[static_cast<std::size_t>(file)].name);
  }
}

json parse_json(const Reader& r, std::string_view text) {
  const auto limit_depth = [&](int depth, json::parse_event_t, json&) {
    if (depth > kMaxDepth) r.fail("it is nested too deeply");
    return true;
  };
  try {
    return json::parse(text, limit_depth);
  } catch (const json::exception& e) {
    r.fail("{}", e.what());
  }
}

}  // namespace

std::string_view name_of(TensorKind kind) {
  switch (kind) {
    case TensorKind::kParam:
      return "param";
    case TensorKind::kM:
      return "m";
    case TensorKind::kV:
      return "v";
  }
  return "?";
}

const Tensor* Manifest::find(TensorKind kind, std::string_view name) const {
  const auto at = std::lower_bound(tensors.begin(), tensors.end(), std::pair(kind, name),
                                   [](const Tensor& t, const std::pair<TensorKind, std::string_view>& wanted) {
                                     return std::pair(t.kind, std::string_view(t.name)) < wanted;
                                   });
  return at != tensors.end() && at->kind == kind && at->name == name ? &*at : nullptr;
}

std::uint64_t shard_seed(const Manifest& m, const std::string& tensor_key, const Slab& slab) {
  const std::string domain = fmt::format("{} {} {} {} {} {}", m.run_uuid, m.epoch, m.step, tensor_key,
                                         joined(slab.offset, ","), joined(slab.count, ","));
  Checksum64 sum;
  sum.update(domain.data(), domain.size());
  return sum.value();
}

std::string dataset_path(const std::string& tensor_key, const Slab& slab) {
  return "/" + tensor_key + "/" + (slab.offset.rank() == 0 ? "0" : joined(slab.offset, ","));
}

std::string write_manifest(const Manifest& m) {
  std::string s = fmt::format(
      "{{\n\"format\": {},\n\"run\": {},\n\"epoch\": {},\n\"step\": {},\n\"tokens\": {},\n\"cursor\": {},\n"
      "\"base\": [{}, {}],\n\"model\": {},\n\"config\": {},\n\"mesh\": {},\n\"plans\": {},\n\"extra\": {},\n"
      "\"versions\": {},\n\"files\": [\n",
      m.format, json_text(m.run_uuid), m.epoch, m.step, m.tokens, m.cursor, json_text(m.base.name),
      json_text(m.base.digest), json_text(m.model_hash), json_text(m.config_text), json_text(m.mesh_text),
      json_text(m.plans_text), json_text(m.extra), json_text(m.versions));
  for (std::size_t i = 0; i < m.files.size(); ++i)
    s += fmt::format("{}[{}, {}, \"{}\"]", i ? ",\n" : "", json_text(m.files[i].name), m.files[i].size,
                     m.files[i].digest);
  s += "\n],\n\"tensors\": [\n";
  for (std::size_t i = 0; i < m.tensors.size(); ++i) {
    const Tensor& t = m.tensors[i];
    s += fmt::format("{}{{\"name\": {}, \"kind\": \"{}\", \"dtype\": \"{}\", \"shape\": [{}], \"shards\": [",
                     i ? ",\n" : "", json_text(t.name), name_of(t.kind), name_of(t.dtype), joined(t.shape, ", "));
    for (std::size_t k = 0; k < t.shards.size(); ++k) {
      const Shard& shard = t.shards[k];
      s += fmt::format("{}[{}, {}", k ? ", " : "", shard.file, shard.byte_offset);
      for (int a = 0; a < t.shape.rank(); ++a) s += fmt::format(", {}", shard.slab.offset[a]);
      for (int a = 0; a < t.shape.rank(); ++a) s += fmt::format(", {}", shard.slab.count[a]);
      s += fmt::format(", \"{}\"]", hex64(shard.checksum));
    }
    s += "]}";
  }
  s += "\n],\n";
  const HexDigest digest = digest_bytes(s);
  return s.append(kDigestHead).append(digest).append(kDigestTail);
}

Manifest parse_manifest(std::string_view text, const std::string& source) {
  const Reader r(source);
  constexpr std::size_t kTailChars = kDigestHead.size() + kDigestChars + kDigestTail.size();
  if (text.size() > kManifestLimit) r.fail("it has {} bytes", text.size());
  if (text.size() < kTailChars) r.fail("it is truncated");
  const std::string_view body = text.substr(0, text.size() - kTailChars), tail = text.substr(body.size());
  const std::string digest(tail.substr(kDigestHead.size(), kDigestChars));
  if (!tail.starts_with(kDigestHead) || !tail.ends_with(kDigestTail))
    r.fail("it does not end with its digest, so it is truncated or altered");
  if (digest != digest_bytes(body)) r.fail("its digest does not match its contents, so it was altered");

  const json root = parse_json(r, text);
  if (!root.is_object() || !root.contains("format")) r.fail("it has no format version");
  if (const std::int64_t format = r.integer(root["format"], "format"); format != kCheckpointFormat)
    r.fail("it has format version {}, this program reads version {}; use the program that wrote it", format,
           kCheckpointFormat);
  static constexpr std::string_view kMembers[] = {"format",   "run",   "epoch",   "step",  "tokens", "cursor",
                                                  "base",     "model", "config",  "mesh",  "plans",  "extra",
                                                  "versions", "files", "tensors", "digest"};
  r.members(root, "it", kMembers);
  Manifest m;
  m.run_uuid = r.text(root["run"], "run");
  m.epoch = r.integer(root["epoch"], "epoch");
  m.step = r.integer(root["step"], "step");
  m.tokens = r.integer(root["tokens"], "tokens");
  m.cursor = r.integer(root["cursor"], "cursor");
  if (r.array(root["base"], "base", 2).size() != 2) r.fail("base has not name and digest");
  m.base = {r.text(root["base"][0], "base"), r.text(root["base"][1], "base")};
  m.model_hash = r.text(root["model"], "model");
  m.config_text = r.text(root["config"], "config");
  m.mesh_text = r.text(root["mesh"], "mesh");
  m.plans_text = r.text(root["plans"], "plans");
  m.extra = r.texts(root["extra"], "extra");
  m.versions = r.texts(root["versions"], "versions");
  m.files = read_files(r, root["files"]);
  for (const json& entry : r.array(root["tensors"], "tensors", kMaxItems)) {
    Tensor t = read_tensor(r, entry, m.files);
    if (!m.tensors.empty() && std::tie(m.tensors.back().kind, m.tensors.back().name) >= std::tie(t.kind, t.name))
      r.fail("{} is listed twice or out of order", t.key());
    m.tensors.push_back(std::move(t));
  }
  check_bytes(r, m);
  m.digest = digest;
  return m;
}

}  // namespace banyan::io
