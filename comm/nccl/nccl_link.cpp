#include "comm/nccl/nccl_link.hpp"

#include <algorithm>
#include <utility>

#include "comm/plans/catalog.hpp"
#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

constexpr Seconds kLongestLook{0.1};
constexpr Seconds kForEver{1e9};  // who looks at letters decides by itself how long

std::string text(const RollWord& w) {
  constexpr const char* kReductions[] = {"sum", "maximum", "minimum"};
  const auto kind = static_cast<CollectiveKind>(w.kind);
  std::string s = fmt::format("{} of {} {}", name_of(kind), w.count, name_of(static_cast<DType>(w.dtype)));
  if (kind == CollectiveKind::kBroadcast) s += fmt::format(" from member {}", w.root);
  if (kind == CollectiveKind::kAllReduce || kind == CollectiveKind::kReduceScatter)
    s += fmt::format(" ({})", kReductions[w.op % 3]);
  return s;
}

}  // namespace

void must_cuda(const std::string& what, cudaError_t e) {
  if (e != cudaSuccess) throw BugError("{}: CUDA says: {}", what, cudaGetErrorString(e));
}

NcclEvents::~NcclEvents() {
  for (const cudaEvent_t e : idle_) cudaEventDestroy(e);
}

std::shared_ptr<CUevent_st> NcclEvents::record(cudaStream_t stream) {
  cudaEvent_t e = nullptr;
  if (idle_.empty()) {
    must_cuda("event", cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
  } else {
    e = idle_.back();
    idle_.pop_back();
  }
  std::shared_ptr<CUevent_st> owned(e, [this](cudaEvent_t used) { idle_.push_back(used); });
  must_cuda("event", cudaEventRecord(e, stream));
  return owned;
}

/// What the caller of a collective holds.
class NcclLink::WorkEvent final : public Event::State {
 public:
  WorkEvent(NcclShared& shared, std::shared_ptr<NcclWork> work)
      : shared_(shared), events_(shared.events), work_(std::move(work)) {}
  bool test() override {
    shared_.check();
    if (!work_->end) return false;
    const cudaError_t e = cudaEventQuery(work_->end.get());
    if (e != cudaErrorNotReady) must_cuda(work_->name, e);
    return e == cudaSuccess;
  }
  void wait() override {
    if (!shared_.failure.empty()) throw CommError("{}", shared_.failure);
    if (!work_->end) {
      const Section section(work_->name);
      for (Backoff backoff; !work_->end; backoff.pause()) {
        shared_.check();
        section.check();
      }
    }
    must_cuda(work_->name, cudaStreamWaitEvent(work_->queue, work_->end.get(), 0));
  }

 private:
  NcclShared& shared_;
  const std::shared_ptr<NcclEvents> events_;  // outlive what is given back to them
  const std::shared_ptr<NcclWork> work_;
};

NcclLink::NcclLink(NcclShared& shared, std::uint64_t number, std::string name, std::vector<int> members, int rank,
                   Id id, int most_blocks)
    : shared_(shared),
      number_(number),
      name_(std::move(name)),
      members_(std::move(members)),
      rank_(rank),
      id_(std::move(id)),
      most_blocks_(most_blocks) {
  must_cuda("device", cudaSetDevice(shared_.device));
  must_cuda("stream", cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
}

NcclLink::~NcclLink() {
  abort();
  cudaStreamDestroy(stream_);
}

void NcclLink::start(const ncclUniqueId& id) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  if (most_blocks_ > 0) config.maxCTAs = most_blocks_;
  must_cuda("device", cudaSetDevice(shared_.device));
  phase_ = Phase::kStarting;
  check(ncclCommInitRankConfig(&comm_, static_cast<int>(members_.size()), id, rank_, &config));
}

void NcclLink::check(ncclResult_t result) {
  if (result == ncclSuccess || result == ncclInProgress) return;
  const NcclWork* work = oldest();
  const std::string why =
      fmt::format("{}: {} ({})", work ? work->name : name_, ncclGetErrorString(result), ncclGetLastError(comm_));
  if (result == ncclRemoteError || result == ncclSystemError || result == ncclUnhandledCudaError)
    throw CommError("{}", why);
  if (phase_ == Phase::kStarting)
    throw ConfigError(
        "{}; NCCL needs a GPU of its own for each rank of a node: start as many ranks as there are GPUs, "
        "or write comm.device = staged",
        why);
  throw BugError("{}", why);
}

ncclResult_t NcclLink::ask() {
  ncclResult_t state = ncclSuccess;
  check(ncclCommGetAsyncError(comm_, &state));
  check(state);
  return state;
}

Event NcclLink::enqueue(NcclWork work) {
  work.word.link = number_;
  work.word.number = given_++;
  work.begin = shared_.events->record(work.queue);
  waiting_.push_back(std::make_shared<NcclWork>(std::move(work)));
  Event event(std::make_shared<WorkEvent>(shared_, waiting_.back()));
  try {
    advance();
  } catch (const CommError&) {
    shared_.check();  // finds the same, and asks the host who died
    throw;
  }
  return event;
}

void NcclLink::advance() {
  if (phase_ == Phase::kGone) return;
  if (phase_ == Phase::kNoId) {
    const std::optional<ncclUniqueId> id = id_();
    if (!id) return;
    start(*id);
  }
  while (ask() == ncclSuccess) {
    if (phase_ == Phase::kStarting) phase_ = Phase::kReady;
    if (issuing_) {
      issuing_->end = shared_.events->record(stream_);
      under_way_.push_back(std::exchange(issuing_, nullptr));
    }
    if (waiting_.empty()) break;
    issuing_ = waiting_.front();
    waiting_.pop_front();
    must_cuda(issuing_->name, cudaStreamWaitEvent(stream_, issuing_->begin.get(), 0));
    check(issuing_->issue(comm_, stream_));
  }
}

bool NcclLink::moves() {
  while (!under_way_.empty()) {
    const cudaError_t e = cudaEventQuery(under_way_.front()->end.get());
    if (e == cudaErrorNotReady) break;
    must_cuda(under_way_.front()->name, e);
    under_way_.pop_front();
    ++done_;
  }
  const NcclWork* work = oldest();
  if (!work) return true;
  // What has not begun waits for this rank's own computing.
  const cudaError_t e = cudaEventQuery(work->begin.get());
  if (e != cudaErrorNotReady) must_cuda(work->name, e);
  return e == cudaErrorNotReady;
}

const NcclWork* NcclLink::oldest() const {
  return !under_way_.empty() ? under_way_.front().get()
         : issuing_          ? issuing_.get()
         : !waiting_.empty() ? waiting_.front().get()
                             : nullptr;
}

void NcclLink::watch(RollCall& roll) {
  const auto now = Clock::now();
  if (moves() || std::exchange(silent_since_, done_) != done_) {
    silence_ = Seconds::zero();
    last_look_ = now;
    return;
  }
  silence_ += std::min(Seconds(now - last_look_), kLongestLook);
  last_look_ = now;
  const Seconds limit = std::max(shared_.peer_timeout, PatienceScope::current());
  if (silence_ < limit / 2) return;
  const RollWord mine = oldest()->word;
  const std::string name = oldest()->name;
  const Section section(name);
  for (std::size_t m = 0; m < members_.size(); ++m) {
    if (static_cast<int>(m) == rank_) continue;
    roll.tell(members_[m], mine, name);
    // From the limit on who does not answer is to blame.  Who has said that it is here, too, has nothing to add.
    const std::optional<RollWord> theirs = roll.heard(members_[m], number_);
    const bool answered = theirs && theirs->number == mine.number;
    const PatienceScope patience(silence_ > limit && !answered ? PatienceScope::current() : kForEver);
    roll.look(members_[m], name);
  }
  judge(mine, roll);
  if (silence_ > 2 * limit)
    throw CommError("{}: nothing has moved for {:.0f} s, though all its ranks are in it; NCCL_DEBUG=INFO tells more",
                    name, silence_.count());
}

void NcclLink::judge(const RollWord& mine, RollCall& roll) {
  for (std::size_t m = 0; m < members_.size(); ++m) {
    const std::optional<RollWord> theirs = roll.heard(members_[m], number_);
    if (!theirs || theirs->number != mine.number || *theirs == mine) continue;  // unheard, elsewhere, or together
    throw BugError("{}: this rank is in {}, {} in {}", oldest()->name, text(mine), roll.name_of(members_[m]),
                   text(*theirs));
  }
}

void NcclLink::abort() noexcept {
  if (phase_ != Phase::kGone && comm_) ncclCommAbort(comm_);
  phase_ = Phase::kGone;
  comm_ = nullptr;
}

void NcclLink::finish() {
  if (phase_ == Phase::kGone) return;
  const Section section("the end of " + name_, shared_.peer_timeout);
  const auto until = [&](auto&& done) {
    for (Backoff backoff; !done(); backoff.pause()) {
      shared_.check();
      section.check();
    }
  };
  until([&] { return moves() && !oldest(); });
  if (phase_ != Phase::kReady) return abort();
  phase_ = Phase::kFinishing;
  check(ncclCommFinalize(comm_));
  until([&] { return ask() == ncclSuccess; });
  phase_ = Phase::kGone;
  check(ncclCommDestroy(std::exchange(comm_, nullptr)));
}

}  // namespace banyan::comm
