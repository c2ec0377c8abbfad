#include "src/job/causes.hpp"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "io/atomic_file.hpp"

namespace banyan::job {

std::string_view name_of(ExitCode code) {
  for (const ExitCodeRow& row : kExitCodes)
    if (row.code == code) return row.name;
  return "unknown";
}

std::string cause_json(const Cause& c) {
  nlohmann::ordered_json j;
  j["attempt"] = c.attempt;
  j["rank"] = c.rank;
  j["host"] = c.host;
  j["code"] = static_cast<int>(c.code);
  j["name"] = std::string(name_of(c.code));
  j["message"] = c.message;
  if (!c.reason.empty()) j["reason"] = c.reason;
  if (!c.waiting_for.empty()) j["waiting_for"] = c.waiting_for;
  if (c.peer >= 0) j["peer"] = c.peer;
  if (!c.peer_host.empty()) j["peer_host"] = c.peer_host;
  if (c.step >= 0) j["step"] = c.step;
  return j.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace) + "\n";
}

bool write_cause(const std::filesystem::path& run_dir, const Cause& cause) noexcept {
  try {
    const std::filesystem::path dir = run_dir / "causes";
    io::make_directories(dir);
    io::write_atomic(dir / fmt::format("{}.{}.json", cause.attempt, cause.rank), cause_json(cause));
    return true;
  } catch (...) {
    return false;
  }
}

}  // namespace banyan::job
