#include "src/job/manifest_parts.hpp"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "src/base/error.hpp"

namespace banyan::job {
namespace {

using nlohmann::json;

/// Adds a part.  Tensors are found by kind and name; all ranks must agree on dtype and shape.
void add_part(const std::string& text, io::Manifest& m,
              std::map<std::pair<io::TensorKind, std::string>, io::Tensor>& tensors) {
  if (text.empty()) return;
  const json part = json::parse(text);
  const int file = static_cast<int>(m.files.size());
  m.files.push_back({part["file"][0], part["file"][1], part["file"][2]});
  for (const json& row : part["shards"]) {
    const auto kind = static_cast<io::TensorKind>(row[1].get<int>());
    const auto dtype = static_cast<DType>(row[2].get<int>());
    const auto rank = row[5].get<std::size_t>();
    Shape parts[3];
    for (std::size_t k = 0; k < 3; ++k)
      for (std::size_t a = 0; a < rank; ++a) parts[k].push_back(row[6 + k * rank + a].get<std::int64_t>());
    auto [at, fresh] = tensors.try_emplace({kind, row[0].get<std::string>()});
    io::Tensor& t = at->second;
    if (fresh)
      t = {row[0].get<std::string>(), kind, dtype, parts[0], {}};
    else if (t.dtype != dtype || t.shape != parts[0])
      throw BugError("ranks disagree on the shape or dtype of {}", t.key());
    t.shards.push_back({file, row[3], {parts[1], parts[2]}, row[4]});
  }
}

}  // namespace

std::string encode_part(const io::WrittenFile& written, std::span<const io::ShardData> tensors) {
  json shards = json::array();
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const io::ShardData& t = tensors[i];
    const io::Shard& s = written.shards[i];
    json row = {t.name,     static_cast<int>(t.kind), static_cast<int>(t.data.dtype), s.byte_offset,
                s.checksum, t.global_shape.rank()};
    for (const Shape* shape : {&t.global_shape, &s.slab.offset, &s.slab.count})
      for (int a = 0; a < shape->rank(); ++a) row.push_back((*shape)[a]);
    shards.push_back(std::move(row));
  }
  return json{{"file", {written.file.name, written.file.size, written.file.digest}}, {"shards", std::move(shards)}}
      .dump();
}

io::Manifest join_parts(io::Manifest m, std::span<const std::string> parts) {
  std::map<std::pair<io::TensorKind, std::string>, io::Tensor> tensors;
  for (const std::string& part : parts) add_part(part, m, tensors);
  for (auto& [key, t] : tensors) {
    std::sort(t.shards.begin(), t.shards.end(), [](const io::Shard& a, const io::Shard& b) {
      for (int i = 0; i < a.slab.offset.rank(); ++i)
        if (a.slab.offset[i] != b.slab.offset[i]) return a.slab.offset[i] < b.slab.offset[i];
      return false;
    });
    m.tensors.push_back(std::move(t));
  }
  return m;
}

}  // namespace banyan::job
