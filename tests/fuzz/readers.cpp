#include "tests/fuzz/readers.hpp"

#include <algorithm>
#include <fstream>

namespace banyan::fuzz {

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
