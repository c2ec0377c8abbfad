#include "comm/nccl/nccl_world.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "comm/nccl/nccl_group.hpp"
#include "comm/nccl/nccl_link.hpp"
#include "comm/nccl/version.hpp"
#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

/// How long the host is given to tell who died, when NCCL notices first.
constexpr Seconds kHostKnows{1};

int version() {
  int code = 0;
  if (ncclGetVersion(&code) != ncclSuccess) throw BugError("NCCL does not say which version it is");
  return code;
}

class Links final : public NcclWorld {
 public:
  Links(NcclOptions options, int version) : version_(version) {
    shared_.peer_timeout = options.peer_timeout;
    shared_.device = options.device;
    shared_.stream = [of = std::move(options.stream)](Queue q) { return static_cast<cudaStream_t>(of(q)); };
    shared_.check = [this] { check(); };
  }

  std::string describe() const override { return "NCCL " + nccl_version_text(version_); }

  std::unique_ptr<Communicator> group(std::unique_ptr<Communicator> host) override {
    auto group = std::make_unique<NcclGroup>(shared_, std::move(host), [this](NcclGroup& gone) {
      if (!shared_.failure.empty()) abort(shared_.failure);
      std::erase(groups_, &gone);
    });
    groups_.push_back(group.get());
    return group;
  }

  void check() override {
    if (!shared_.failure.empty()) throw CommError("{}", shared_.failure);
    try {
      for (NcclGroup* g : groups_) g->look_after();
    } catch (const CommError& e) {
      ask_host();
      abort(e.what());
      throw;
    } catch (const std::exception& e) {
      abort(e.what());
      throw;
    }
  }

  void abort(const std::string& why) noexcept override {
    if (shared_.failure.empty()) shared_.failure = why.empty() ? "NCCL was given up" : why;
    for (NcclGroup* g : groups_) g->abort();
  }

 private:
  /// Throws what the host knows better.
  void ask_host() {
    const auto until = Clock::now() + kHostKnows;
    try {
      for (Backoff backoff; Clock::now() < until && !groups_.empty(); backoff.pause()) groups_.front()->ask_host();
    } catch (const std::exception& e) {
      abort(e.what());
      throw;
    }
  }

  const int version_;
  NcclShared shared_;
  std::vector<NcclGroup*> groups_;
};

}  // namespace

std::string nccl_problem() { return nccl_version_problem(NCCL_VERSION_CODE, version()); }

std::unique_ptr<NcclWorld> make_nccl_world(NcclOptions options) {
  if (const std::string problem = nccl_problem(); !problem.empty()) throw ConfigError("{}", problem);
  return std::make_unique<Links>(std::move(options), version());
}

}  // namespace banyan::comm
