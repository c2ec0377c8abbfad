#include "io/safetensors_writer.hpp"

#include <algorithm>

#include "src/base/error.hpp"
#include "src/base/json.hpp"

namespace banyan::io {

SafetensorsWriter::SafetensorsWriter(std::filesystem::path path, std::vector<Entry> entries)
    : path_(std::move(path)), tmp_(path_.string() + ".tmp") {
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.name < b.name; });
  Json header = Json::object();
  header["__metadata__"] = {{"format", "pt"}};
  for (const Entry& e : entries) {
    Json shape = Json::array();
    for (int i = 0; i < e.shape.rank(); ++i) shape.push_back(e.shape[i]);
    const std::int64_t bytes = e.shape.count() * static_cast<std::int64_t>(sizeof(float));
    header[e.name] = {
        {"dtype", "F32"}, {"shape", shape}, {"data_offsets", Json::array({value_bytes_, value_bytes_ + bytes})}};
    if (!places_.emplace(e.name, Place{value_bytes_, e.shape.count(), 0}).second)
      throw BugError("{} would hold two tensors {}", path_.string(), e.name);
    value_bytes_ += bytes;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::string start;
  for (std::uint64_t length = text.size(), i = 0; i < 8; ++i) start += static_cast<char>(length >> (8 * i) & 0xFF);
  start += text;
  for (auto& [name, place] : places_) place.begin += static_cast<std::int64_t>(start.size());

  remove_tree(tmp_);
  file_ = File::create(tmp_);
  const std::int64_t size = static_cast<std::int64_t>(start.size()) + value_bytes_;
  file_.resize(size);
  file_.reserve(size);
  file_.write_at(0, start.data(), start.size());
}

SafetensorsWriter::~SafetensorsWriter() {
  if (committed_) return;
  try {
    remove_tree(tmp_);
  } catch (const Error&) {  // an error is on its way already
  }
}

void SafetensorsWriter::write(const std::string& name, std::int64_t first, std::span<const float> values) {
  const auto at = places_.find(name);
  const auto count = static_cast<std::int64_t>(values.size());
  if (at == places_.end() || first < 0 || count > at->second.elements - first)
    throw BugError("{} has no room for {} elements of {} at {}", path_.string(), count, name, first);
  file_.write_at(at->second.begin + first * static_cast<std::int64_t>(sizeof(float)), values.data(),
                 values.size_bytes());
  at->second.written += count;
}

void SafetensorsWriter::commit() {
  for (const auto& [name, place] : places_)
    if (place.written != place.elements)
      throw BugError("{} of the {} elements of {} were written to {}", place.written, place.elements, name,
                     path_.string());
  file_.sync();
  file_.close();
  rename_path(tmp_, path_);
  committed_ = true;
  fsync_dir(std::filesystem::absolute(path_).parent_path());
}

}  // namespace banyan::io
