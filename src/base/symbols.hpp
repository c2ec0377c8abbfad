// Names of code addresses of this process: of exported functions from the loader, of the program's own from the symbol
// table of its file, which keeps those that are not exported too.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace banyan {

class Symbols {
 public:
  /// Reads the table of /proc/self/exe; a program that was stripped of it has exported names only.
  Symbols();
  /// "banyan::train::train(banyan::job::Job&)+0x51 (banyan+0x4d0c1)"; the bracket is what addr2line -e takes.  Without
  /// a known function only the bracket, without a known file "?".
  std::string describe(const void* address) const;

 private:
  struct Function {
    std::uint64_t begin = 0, size = 0;
    std::uint32_t name = 0;  ///< where it begins in names_
  };
  void read(const std::string& path);

  std::vector<Function> functions_;  ///< by begin, relative to where the program is loaded
  std::string names_;
};

}  // namespace banyan
