#include "src/base/symbols.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <fmt/format.h>
#include <link.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>

namespace banyan {
namespace {

std::string readable(const char* mangled) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> plain(abi::__cxa_demangle(mangled, nullptr, nullptr, &status),
                                                     std::free);
  return status == 0 && plain ? plain.get() : mangled;
}

std::string_view file_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }

template <class T>
bool read_at(std::ifstream& file, std::uint64_t at, T* out, std::size_t count) {
  file.seekg(static_cast<std::streamoff>(at));
  return static_cast<bool>(file.read(reinterpret_cast<char*>(out), static_cast<std::streamsize>(count * sizeof(T))));
}

}  // namespace

Symbols::Symbols() { read("/proc/self/exe"); }

// ELF, 64 bits: the header tells where the table of sections is; a section of type SYMTAB links to that of its names.
void Symbols::read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  Elf64_Ehdr header{};
  if (!read_at(file, 0, &header, 1) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_shentsize != sizeof(Elf64_Shdr))
    return;
  std::vector<Elf64_Shdr> sections(header.e_shnum);
  if (!read_at(file, header.e_shoff, sections.data(), sections.size())) return;
  const auto table = std::find_if(sections.begin(), sections.end(), [](auto& s) { return s.sh_type == SHT_SYMTAB; });
  if (table == sections.end() || table->sh_link >= sections.size()) return;
  const Elf64_Shdr& names = sections[table->sh_link];
  std::vector<Elf64_Sym> symbols(table->sh_size / sizeof(Elf64_Sym));
  names_.resize(names.sh_size);
  if (!read_at(file, table->sh_offset, symbols.data(), symbols.size()) ||
      !read_at(file, names.sh_offset, names_.data(), names_.size()))
    return;
  for (const Elf64_Sym& s : symbols)
    if (ELF64_ST_TYPE(s.st_info) == STT_FUNC && s.st_size > 0 && s.st_name < names_.size())
      functions_.push_back({s.st_value, s.st_size, s.st_name});
  std::sort(functions_.begin(), functions_.end(), [](auto& a, auto& b) { return a.begin < b.begin; });
}

std::string Symbols::describe(const void* address) const {
  Dl_info info{};
  link_map* map = nullptr;
  if (::dladdr1(address, &info, reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP) == 0 || !map) return "?";
  const auto at = reinterpret_cast<std::uint64_t>(address);
  const std::uint64_t offset = at - map->l_addr;
  const bool own = map->l_name[0] == '\0';  // as the loader marks the program itself
  const std::string place = fmt::format("({}+0x{:x})", file_name(info.dli_fname), offset);
  if (info.dli_sname)
    return fmt::format("{}+0x{:x} {}", readable(info.dli_sname), at - reinterpret_cast<std::uint64_t>(info.dli_saddr),
                       place);
  auto next = std::upper_bound(functions_.begin(), functions_.end(), offset,
                               [](std::uint64_t value, const Function& f) { return value < f.begin; });
  if (!own || next == functions_.begin()) return place;
  const Function& f = *--next;
  if (offset >= f.begin + f.size) return place;
  return fmt::format("{}+0x{:x} {}", readable(names_.c_str() + f.name), offset - f.begin, place);
}

}  // namespace banyan
