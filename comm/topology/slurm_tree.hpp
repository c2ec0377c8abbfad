// Switches as Slurm describes them, by their own nodes and by the switches below, whatever the file is written in.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "comm/topology/fabric_builder.hpp"

namespace banyan::comm {

class SlurmTree {
 public:
  /// `source` goes in front of messages: a file's name.
  explicit SlurmTree(const std::string& source) : builder_(source) {}

  /// A switch, or a block, of that line.  `hosts` and `switches` are host lists; an upper switch may list all hosts
  /// below it, too: only those that hang from no other one are its own.  DataError when it has neither, or a host hangs
  /// from another switch already.
  void add(std::string_view name, std::string_view hosts, std::string_view switches, int line);
  [[noreturn]] void fail(int line, const std::string& what) const { builder_.fail(line, what); }

  /// The fabric, settled.  DataError when a switch was spoken of that nobody described.
  Fabric finish();

 private:
  struct Upper {
    int number, line;
    std::vector<std::string> switches, hosts;
  };
  FabricBuilder builder_;
  std::vector<Upper> uppers_;
};

}  // namespace banyan::comm
