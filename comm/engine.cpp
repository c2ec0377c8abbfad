#include "comm/engine.hpp"

#include <algorithm>
#include <utility>

#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

constexpr Seconds kLongestLook{0.1};
constexpr int kShortWait = 32;  // glances
constexpr int kGlance = 8;      // looks
constexpr unsigned kLooksPerPoll = 8;
constexpr std::chrono::milliseconds kLifelineEvery{2};
constexpr std::chrono::milliseconds kLifelineKnows{1000};  // who died: when its sockets were closed
constexpr Seconds kNap{0.002};                             // the lifeline does not wake anybody
thread_local Seconds patience{0};

/// Adds the time of its own life, and one to `waiting` meanwhile.
class WaitClock {
 public:
  WaitClock(std::atomic<double>& seconds, std::atomic<int>& waiting)
      : seconds_(seconds), waiting_(waiting), start_(Clock::now()) {
    waiting_.fetch_add(1, std::memory_order_relaxed);
  }
  ~WaitClock() {
    waiting_.fetch_sub(1, std::memory_order_relaxed);
    seconds_.fetch_add(Seconds(Clock::now() - start_).count(), std::memory_order_relaxed);
  }
  WaitClock(const WaitClock&) = delete;
  WaitClock& operator=(const WaitClock&) = delete;

 private:
  std::atomic<double>& seconds_;
  std::atomic<int>& waiting_;
  const Clock::time_point start_;
};

}  // namespace

PatienceScope::PatienceScope(Seconds silence) : outer_(patience) { patience = std::max(patience, silence); }
PatienceScope::~PatienceScope() { patience = outer_; }
Seconds PatienceScope::current() { return patience; }

Operation::Operation(Engine& engine, Label label, Seconds silence)
    : engine_(engine), label_(std::move(label)), silence_limit_(silence) {}

// Whoever asks in what a failure was noticed finds the operation, though it opens no section before it takes long.
bool Operation::test() {
  const std::lock_guard lock(engine_.mutex_);
  try {
    return engine_.look(*this);
  } catch (...) {
    const Section section(what());
    throw;
  }
}

void Operation::restart(const char* call, std::string_view what) {
  label_.call = call;
  label_.what.assign(what);
  done_ = false;
  told_ = false;
  silence_ = Seconds::zero();
  last_look_ = {};
}

void Operation::wait() {
  if (engine_.glance(*this)) return;
  const WaitClock clock(engine_.waited_, engine_.waiting_);
  const Section section(what());
  Backoff backoff = Backoff::yielding();
  while (true) {
    {
      const std::lock_guard lock(engine_.mutex_);
      const Seconds silence_before = silence_;
      if (engine_.look(*this)) return;
      if (section.expired()) {
        const int peer = waits_for();
        try {
          section.check();
        } catch (Error& e) {
          if (peer >= 0) e.add_context("no answer from " + engine_.peer_name(peer));
          engine_.give_up(e.what());
          throw;
        }
      }
      if (silence_ < silence_before) backoff.reset();
    }
    // A rank that waits for long makes room for others on its core, and comes back with its message.
    if (!backoff.sleeps() || !woken_by_messages() || !engine_.nap()) backoff.pause();
  }
}

// Most waits are short; naming them, and even asking for the time, costs more than looking.
bool Engine::glance(Operation& operation) {
  for (int i = 0; i < kShortWait; ++i) {
    const std::lock_guard lock(mutex_);
    if (operation.done_) return true;
    try {
      advance_all(&operation);
    } catch (...) {
      const Section section(operation.what());
      throw;
    }
    if (operation.done_) return true;
  }
  return false;
}

bool Engine::nap() {
  const std::lock_guard lock(mutex_);
  return transport_->doze(kNap);
}

ScratchPool::Block ScratchPool::take(std::size_t bytes) {
  if (bytes == 0) return {};
  const std::lock_guard lock(mutex_);
  auto best = free_.end();
  for (auto i = free_.begin(); i != free_.end(); ++i)
    if (i->bytes >= bytes && (best == free_.end() || i->bytes < best->bytes)) best = i;
  if (best == free_.end()) {
    // Not value-initialised: pages are touched when they are used.
    const std::size_t size = std::max<std::size_t>(4096, bytes);
    return {std::unique_ptr<std::byte[]>(new std::byte[size]), size};
  }
  Block block = std::move(*best);
  free_.erase(best);
  return block;
}

void ScratchPool::give(Block block) {
  const std::lock_guard lock(mutex_);
  if (block.memory) free_.push_back(std::move(block));
}

Engine::Engine(Transport& transport, Lifeline& lifeline, std::vector<std::string> peer_names)
    : transport_(&transport), lifeline_(lifeline), peer_names_(std::move(peer_names)) {}

void Engine::use(Transport& transport) {
  const std::lock_guard lock(mutex_);
  drop_done();
  if (!active_.empty()) throw BugError("another transport while {} is in flight", active_.front()->what());
  transport_ = &transport;
}

void Engine::start(std::shared_ptr<Operation> operation) {
  const std::lock_guard lock(mutex_);
  adopt(std::move(operation));
  if (!advancing_) advance_all();
}

void Engine::adopt(std::shared_ptr<Operation> operation) {
  if (failure_) throw CommError("{}", *failure_);
  give_sign();
  active_.push_back(std::move(operation));
  if (idle_.load(std::memory_order_relaxed)) wake_idle();
}

bool Engine::progress() {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  return lock && advance_all();
}

Engine::Look Engine::move() noexcept {
  const std::lock_guard lock(mutex_);
  if (failure_) return {Found::kFailure};
  if (active_.empty()) {
    idle_ = true;
    return {Found::kIdle};
  }
  try {
    if (advance_all(nullptr, false)) return {Found::kSomething};
    return {Found::kNothing, transport_->arm()};
  } catch (const std::exception& e) {
    give_up(e.what());
    return {Found::kFailure};
  }
}

void Engine::sleep_while_idle(const std::atomic<bool>& stop) {
  while (idle_ && !stop) idle_.wait(true);
}

void Engine::wake_idle() {
  idle_ = false;
  idle_.notify_all();
}

bool Engine::advance_all(const Operation* awaited, bool ask_for_failures) {
  if (failure_) throw CommError("{}", *failure_);
  if (advancing_) return false;  // called from inside a reduction or copy
  advancing_ = true;
  bool moved = false;
  try {
    // A system call, and even the time costs more than a look: now and then is enough.
    if (ask_for_failures && looks_++ % kLooksPerPoll == 0)
      if (const auto now = Clock::now(); now >= next_poll_) {
        next_poll_ = now + kLifelineEvery;
        lifeline_.poll();
      }
    if (ask_for_failures) ask_lifeline();
    transport_->progress();
    for (int i = 1; i < kGlance && awaited && !awaited->can_advance(); ++i) transport_->progress();
    if (std::exchange(ended_, false)) drop_done();
    for (std::size_t i = 0; i < active_.size(); ++i) {
      if (active_[i]->done_ || !active_[i]->advance()) continue;
      moved = true;
      active_[i]->silence_ = Seconds::zero();
      if (std::exchange(active_[i]->told_, false)) lifeline_.waits(-1);
    }
  } catch (const PeerLostError& e) {
    advancing_ = false;
    std::string why = e.what();
    try {
      ask_lifeline(Clock::now() + kLifelineKnows);
    } catch (const std::exception& known) {
      why = known.what();
    }
    if (!lifeline_.announced()) verdict_ = PeerFailure{e.rank(), static_cast<int>(ExitCode::kPeerLost), e.reason()};
    give_up(why);
    throw CommError("{}", why);
  } catch (const std::exception& e) {
    advancing_ = false;
    give_up(e.what());
    throw;
  }
  if (awaited && awaited->done_)
    ended_ = true;  // whoever waited for it is not to wait for its burial, too
  else if (moved)
    drop_done();
  advancing_ = false;
  return moved;
}

void Engine::drop_done() {
  std::erase_if(active_, [](const auto& operation) { return operation->done(); });
}

void Engine::ask_lifeline() {
  const auto& word = lifeline_.announced();
  if (!word) return;
  if (word->hang) hang_found();
  throw CommError("{} failed: {}", peer_name(word->rank), word->message);
}

void Engine::on_hang(std::function<void()> call) {
  const std::lock_guard lock(mutex_);
  on_hang_ = std::move(call);
}

void Engine::hang_found() {
  if (const auto call = std::exchange(on_hang_, nullptr)) call();
}

void Engine::ask_lifeline(Clock::time_point until) {
  for (Backoff backoff;; backoff.pause()) {
    ask_lifeline();
    if (Clock::now() >= until) return;
    lifeline_.poll();
  }
}

bool Engine::look(Operation& operation) {
  if (operation.done_) return true;
  give_sign();
  advance_all();
  if (operation.done_) return true;
  const auto now = Clock::now();
  if (operation.last_look_ == Clock::time_point{}) operation.last_look_ = now;  // the first
  operation.silence_ += std::min(Seconds(now - operation.last_look_), kLongestLook);
  operation.last_look_ = now;
  const Seconds limit = std::max(operation.silence_limit_, patience);
  if (!operation.told_ && (operation.silence_ > limit / 2 || lifeline_.is_waited_for()))
    if (const int peer = operation.waits_for(); peer >= 0) {
      operation.told_ = true;
      lifeline_.waits(peer);
    }
  if (operation.silence_ > limit) {
    if (!gets_ahead(operation, limit)) blame(operation, limit);
    operation.silence_ = limit / 2;
  }
  return false;
}

int Engine::suspect(const Operation& operation) const {
  const int peer = operation.waits_for();
  return peer >= 0 ? lifeline_.suspect(peer) : -1;
}

bool Engine::gets_ahead(const Operation& operation, Seconds limit) const {
  const Beat* beat = lifeline_.last_beat(suspect(operation));
  return beat && Seconds(Clock::now() - beat->when) < limit / 2;
}

void Engine::blame(const Operation& operation, Seconds limit) {
  const int peer = operation.waits_for();
  const int guilty = suspect(operation);
  const std::string trail = Section::trail(), what = operation.what();
  std::string why =
      fmt::format("no answer from {} for {:.1f} s while waiting for {}", guilty >= 0 ? peer_name(guilty) : "the peers",
                  limit.count(), trail.starts_with(what) ? trail : what);
  if (guilty != peer) why += fmt::format(" of {}, which waits for it in turn", peer_name(peer));
  const Beat* beat = lifeline_.last_beat(guilty);
  const std::string heard = beat ? "; " + last_heard(*beat) : "";
  why += heard;
  if (guilty >= 0)
    verdict_ = PeerFailure{
        guilty, static_cast<int>(ExitCode::kPeerLost),
        fmt::format("it gave no answer for {:.1f} s, found while waiting for {}{}", limit.count(), what, heard), true};
  hang_found();
  why += "; it died, hangs or cannot be reached: see its host and its log, then start the job again";
  give_up(why);
  throw CommError("{}", why);
}

void Engine::give_up(const std::string& why) noexcept {
  const std::lock_guard lock(mutex_);
  if (!failure_) failure_ = why;
  failed_ = true;
  for (const auto& operation : active_) operation->give_up(true);
  active_.clear();
}

void Engine::drop(const std::shared_ptr<Operation>& operation) noexcept {
  const std::lock_guard lock(mutex_);
  const auto at = std::find(active_.begin(), active_.end(), operation);
  if (at == active_.end()) return;
  operation->give_up(failure_.has_value());
  active_.erase(at);
}

}  // namespace banyan::comm
