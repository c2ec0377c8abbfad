#include "tests/fuzz/readers.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>

namespace banyan::fuzz {
namespace {

constexpr std::size_t kLongestKept = 16384, kMostKept = 32768;

}  // namespace

const std::vector<Reader>& readers() {
  static const std::vector<Reader> all = [] {
    std::vector<Reader> list;
    for (auto some : {fabric_readers, checkpoint_readers, data_readers, run_readers, import_readers})
      for (Reader& reader : some()) list.push_back(std::move(reader));
    return list;
  }();
  return all;
}

const Reader* find_reader(std::string_view name) {
  const auto at = std::find_if(readers().begin(), readers().end(), [&](const Reader& r) { return r.name == name; });
  return at == readers().end() ? nullptr : &*at;
}

std::filesystem::path corpus_folder() { return std::filesystem::path(BANYAN_SOURCE_DIR) / "tests/fuzz/corpus"; }

std::vector<std::string> kept_inputs(const std::string& name) {
  std::vector<std::string> inputs;
  std::ifstream in(corpus_folder() / (name + ".inputs"), std::ios::binary);
  for (std::string line; std::getline(in, line);) {
    std::size_t size = 0;
    const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), size);
    must(error == std::errc() && end == line.data() + line.size() && size <= kLongestKept, "a length of a kept input");
    std::string& input = inputs.emplace_back(size, '\0');
    in.read(input.data(), static_cast<std::streamsize>(size));
    must(in.gcount() == static_cast<std::streamsize>(size) && in.get() == '\n', "a kept input is cut short");
  }
  return inputs;
}

void keep_inputs(const std::string& name, std::vector<std::string> inputs) {
  std::sort(inputs.begin(), inputs.end(),
            [](const auto& a, const auto& b) { return std::pair(a.size(), a) < std::pair(b.size(), b); });
  std::string text;
  for (const std::string& input : inputs) {
    if (input.size() > kLongestKept || text.size() + input.size() > kMostKept) break;
    text += std::to_string(input.size()) + "\n" + input + "\n";
  }
  put(corpus_folder() / (name + ".inputs"), text);
}

std::pair<std::string_view, std::string_view> two_parts(std::string_view input) {
  constexpr std::string_view line = "\n--\n";
  const std::size_t cut = input.find(line);
  if (cut == std::string_view::npos) return {input, {}};
  return {input.substr(0, cut), input.substr(cut + line.size())};
}

void put(const std::filesystem::path& path, std::string_view bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

}  // namespace banyan::fuzz
