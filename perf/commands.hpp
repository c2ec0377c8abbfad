// The subcommands of `bench`.  Each is one file that parses its own options with Options and returns an exit code.
#pragma once

#include <string>
#include <vector>

namespace banyan::perf {

/// `--name value` and `--name=value`; UsageError for what was not asked for.
class Options {
 public:
  Options(std::vector<std::string> words, std::vector<std::string> known);
  std::string text(const std::string& name, const std::string& otherwise) const;
  long number(const std::string& name, long otherwise) const;

 private:
  std::vector<std::pair<std::string, std::string>> values_;
};

int bench_ops(const std::vector<std::string>& words);
int bench_step(const std::vector<std::string>& words);
int bench_generate(const std::vector<std::string>& words);
int bench_comm(const std::vector<std::string>& words);
int bench_checkpoint(const std::vector<std::string>& words);
int bench_schedule(const std::vector<std::string>& words);
int bench_plan(const std::vector<std::string>& words);
int bench_watch(const std::vector<std::string>& words);

}  // namespace banyan::perf
