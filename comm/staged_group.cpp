#include "comm/staged_group.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <deque>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

constexpr std::size_t kLeast = std::size_t{64} << 10;

bool staged(const ConstView& v) { return v.kind == MemoryKind::kDevice && v.count() > 0; }

/// A piece of host memory: taken for an operation, free again when the copy recorded then has run.
struct Buffer {
  std::shared_ptr<std::byte> memory;
  std::size_t bytes = 0;
  bool taken = false;
  Event last_use;
  View view(DType dtype, std::int64_t count) const { return View(memory.get(), dtype, {count}); }
};

class Stager;

/// What an operation is made of.
struct Call {
  const void* group = nullptr;
  std::string what;
  Queue queue;
  Event ready;                       ///< the operation may begin
  std::function<Event()> start;      ///< begins it
  std::shared_ptr<Buffer> buffer{};  ///< that it works on, or none
  View back{}, part{};  ///< where on the device which part of the buffer goes in the end; both may be empty
  Event called{};       ///< the device may write there
};

/// An operation on its way: called, begun, on the host's side done, over.
class Operation final : public Event::State {
 public:
  Operation(Stager& stager, Call call) : stager_(stager), call_(std::move(call)) {}

  const void* group() const { return call_.group; }
  const std::string& what() const { return call_.what; }
  bool ready() { return call_.ready.test(); }
  void begin() {
    inner_ = std::exchange(call_.start, {})();
    begun_ = true;
  }
  bool begun() const { return begun_; }
  /// Starts the copy back once the host's side is done; true when that is so.
  bool land();

  bool test() override;
  void wait() override;

 private:
  bool over();

  Stager& stager_;
  Call call_;
  Event inner_;
  bool begun_ = false, landed_ = false;
  Event copied_back_;
};

/// The buffers, and the operations that nobody has to look at for them to go on.
class Stager {
 public:
  explicit Stager(HostStaging staging_) : staging(std::move(staging_)) {}

  /// One of this size that is free, or a new one.
  std::shared_ptr<Buffer> take(std::size_t bytes) {
    const std::size_t rounded = std::bit_ceil(std::max(bytes, kLeast));
    for (const std::shared_ptr<Buffer>& b : buffers_)
      if (!b->taken && b->bytes == rounded && b->last_use.test()) {
        b->taken = true;
        return b;
      }
    buffers_.push_back(std::make_shared<Buffer>(Buffer{staging.allocate(rounded), rounded, true, {}}));
    return buffers_.back();
  }

  Event add(Call call) {
    auto operation = std::make_shared<Operation>(*this, std::move(call));
    called_.push_back(operation);
    return operation->test() ? Event() : Event(std::move(operation));
  }
  /// Begins what may begin, in the order of the calls, and copies back what has arrived.
  void advance() {
    while (!called_.empty() && called_.front()->ready()) begin_first();
    for (std::size_t i = 0; i < begun_.size();)
      if (begun_[i]->land())
        begun_.erase(begun_.begin() + static_cast<std::ptrdiff_t>(i));
      else
        ++i;
  }
  void look() {
    advance();
    if (!groups_.empty()) groups_.front()->progress();  // of any moves everything
  }
  /// Before any wait for others: they may wait for what this rank has not sent yet.
  void begin_all() {
    advance();
    while (!called_.empty()) {
      const Section section(fmt::format("what {} sends to be computed", called_.front()->what()), staging.limit);
      for (Backoff backoff; !called_.front()->ready(); backoff.pause()) {
        look();
        if (called_.empty()) return;
        section.check();
      }
      begin_first();
    }
  }
  void enter(Communicator* host) { groups_.push_back(host); }
  void leave(Communicator* host) {
    std::erase(groups_, host);
    const auto of_it = [&](const std::shared_ptr<Operation>& o) { return o->group() == host; };
    std::erase_if(called_, of_it);
    std::erase_if(begun_, of_it);
  }

  HostStaging staging;

 private:
  void begin_first() {
    const std::shared_ptr<Operation> first = std::move(called_.front());
    called_.pop_front();
    first->begin();
    begun_.push_back(first);
  }

  std::deque<std::shared_ptr<Operation>> called_;
  std::vector<std::shared_ptr<Operation>> begun_;
  std::vector<std::shared_ptr<Buffer>> buffers_;
  std::vector<Communicator*> groups_;
};

// A buffer whose operation nobody has seen to its end stays taken: messages may still move in it.
bool Operation::land() {
  if (landed_) return true;
  if (!begun_ || !inner_.test()) return false;
  landed_ = true;
  if (!call_.buffer) return true;
  const HostStaging& device = stager_.staging;
  if (call_.part) {
    device.wait(device.to_device, call_.called);
    device.copy(device.to_device, call_.back, call_.part);
    copied_back_ = device.record(device.to_device);
  }
  call_.buffer->last_use = copied_back_;
  call_.buffer->taken = false;
  call_.buffer.reset();
  return true;
}

bool Operation::over() {
  if (!land()) return false;
  if (call_.part) stager_.staging.wait(call_.queue, std::exchange(copied_back_, {}));
  return true;
}

bool Operation::test() {
  if (!landed_) stager_.advance();
  return over();
}

void Operation::wait() {
  stager_.begin_all();
  if (!begun_) throw BugError("{} is waited for after its group is gone", call_.what);
  inner_.wait();
  over();
}

class StagedGroup final : public Communicator {
 public:
  StagedGroup(std::unique_ptr<Communicator> host, Stager& stager) : stager_(stager), host_(std::move(host)) {
    stager_.enter(host_.get());
  }
  ~StagedGroup() override { stager_.leave(host_.get()); }

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }
  const std::string& name() const override { return host_->name(); }
  std::string peer_name(int member) const override { return host_->peer_name(member); }

  Event all_reduce(Queue q, View inout, ReduceOp op, std::string_view what) override {
    const auto start = [=, this, w = std::string(what)](View v) { return host_->all_reduce(q, v, op, w); };
    if (!staged(inout)) return hand_on(q, what, [=, v = on_host(inout)] { return start(v); });
    const auto b = stager_.take(inout.bytes());
    const View here = b->view(inout.dtype, inout.count());
    return through(b, q, what, {here, inout}, {flat(inout), here}, [=] { return start(here); });
  }

  Event reduce_scatter(Queue q, View out, View in_scratch, std::span<const std::int64_t> counts, ReduceOp op,
                       std::string_view what) override {
    const auto start = [=, this, n = copied(counts), w = std::string(what)](View to, View from) {
      return host_->reduce_scatter(q, to, from, n, op, w);
    };
    if (!staged(in_scratch))
      return hand_on(q, what, [=, to = on_host(out), from = on_host(in_scratch)] { return start(to, from); });
    const auto b = stager_.take(in_scratch.bytes());
    const View here = b->view(in_scratch.dtype, in_scratch.count()), mine = part_of(here, counts);
    return through(b, q, what, {here, in_scratch}, {flat(out), mine}, [=] { return start(mine, here); });
  }

  Event all_gather(Queue q, View out, ConstView in, std::span<const std::int64_t> counts,
                   std::string_view what) override {
    const auto start = [=, this, n = copied(counts), w = std::string(what)](View to, ConstView from) {
      return host_->all_gather(q, to, from, n, w);
    };
    if (!staged(out)) return hand_on(q, what, [=, to = on_host(out), from = on_host(in)] { return start(to, from); });
    const auto b = stager_.take(out.bytes());
    const View here = b->view(out.dtype, out.count()), mine = part_of(here, counts);
    return through(b, q, what, {mine, in}, {flat(out), here}, [=] { return start(here, mine); });
  }

  Event all_to_all_v(Queue q, View out, std::span<const std::int64_t> out_counts, ConstView in,
                     std::span<const std::int64_t> in_counts, std::string_view what) override {
    const auto start = [=, this, n_out = copied(out_counts), n_in = copied(in_counts), w = std::string(what)](
                           View to, ConstView from) { return host_->all_to_all_v(q, to, n_out, from, n_in, w); };
    if (!staged(out) && !staged(in))
      return hand_on(q, what, [=, to = on_host(out), from = on_host(in)] { return start(to, from); });
    const auto b = stager_.take(in.bytes() + out.bytes());
    const View both = b->view(in.dtype, in.count() + out.count());
    const View from = both.rows(0, in.count()), to = both.rows(in.count(), both.count());
    return through(b, q, what, {from, in}, {flat(out), to}, [=] { return start(to, from); });
  }

  Event broadcast(Queue q, View inout, int root, std::string_view what) override {
    const auto start = [=, this, w = std::string(what)](View v) { return host_->broadcast(q, v, root, w); };
    if (!staged(inout)) return hand_on(q, what, [=, v = on_host(inout)] { return start(v); });
    const auto b = stager_.take(inout.bytes());
    const View here = b->view(inout.dtype, inout.count());
    const auto begin = [=] { return start(here); };
    return root == rank() ? through(b, q, what, {here, inout}, {}, begin)
                          : through(b, q, what, {}, {flat(inout), here}, begin);
  }

  void barrier(std::string_view what) override {
    stager_.begin_all();
    host_->barrier(what);
  }

  Event send(Queue q, ConstView in, int peer, int channel, std::string_view what) override {
    const auto start = [=, this, w = std::string(what)](ConstView v) { return host_->send(q, v, peer, channel, w); };
    if (!staged(in)) return hand_on(q, what, [=, v = on_host(in)] { return start(v); });
    if (direct()) return directly(q, what, [=, v = as_host(in)] { return start(v); });
    const auto b = stager_.take(in.bytes());
    const View here = b->view(in.dtype, in.count());
    return through(b, q, what, {here, in}, {}, [=] { return start(here); });
  }

  Event receive(Queue q, View out, int peer, int channel, std::string_view what) override {
    const auto start = [=, this, w = std::string(what)](View v) { return host_->receive(q, v, peer, channel, w); };
    if (!staged(out)) return hand_on(q, what, [=, v = on_host(out)] { return start(v); });
    if (direct()) return directly(q, what, [=, v = as_host(out)] { return start(v); });
    const auto b = stager_.take(out.bytes());
    const View here = b->view(out.dtype, out.count());
    return through(b, q, what, {}, {flat(out), here}, [=] { return start(here); });
  }

  std::shared_ptr<const void> pin(ConstView memory) override {
    return memory.kind == MemoryKind::kDevice ? nullptr : host_->pin(memory);
  }
  void use_plans(const GroupPlans& plans) override { host_->use_plans(plans); }
  void progress() override { stager_.look(); }

 private:
  bool direct() const { return stager_.staging.direct_messages; }
  /// Empty views of device memory are as good as those of host memory.
  template <class V>
  static V on_host(V v) {
    if (v.count() == 0) v.kind = MemoryKind::kHost;
    return v;
  }
  /// For a transport that asks the pointer where it points to.
  template <class V>
  static V as_host(V v) {
    v.kind = MemoryKind::kHost;
    return v;
  }
  template <class V>
  static V flat(const V& v) {
    return v.count() > 0 ? v.reshaped({v.count()}) : V();
  }
  static std::vector<std::int64_t> copied(std::span<const std::int64_t> counts) {
    return {counts.begin(), counts.end()};
  }
  View part_of(const View& all, std::span<const std::int64_t> counts) const {
    const auto self = static_cast<std::ptrdiff_t>(rank());
    const std::int64_t at = std::accumulate(counts.begin(), counts.begin() + self, std::int64_t{0});
    return all.rows(at, at + counts[static_cast<std::size_t>(self)]);
  }

  Event hand_on(Queue q, std::string_view what, std::function<Event()> start) {
    return stager_.add({host_.get(), std::string(what), q, {}, std::move(start)});
  }
  Event directly(Queue q, std::string_view what, std::function<Event()> start) {
    return stager_.add({host_.get(), std::string(what), q, stager_.staging.record(q), std::move(start)});
  }
  struct Fetch {
    View to;
    ConstView from;
  };
  struct Put {
    View to, from;
  };
  /// `fetch` is copied to the host first and `put` to the device last; both may be empty.
  Event through(const std::shared_ptr<Buffer>& buffer, Queue q, std::string_view what, const Fetch& fetch,
                const Put& put, std::function<Event()> start) {
    const HostStaging& device = stager_.staging;
    Call call{host_.get(), std::string(what), q, {}, std::move(start), buffer};
    if (put.from && put.from.count() > 0) {
      call.back = put.to;
      call.part = put.from;
    }
    Event called = device.record(q);
    if (fetch.from && fetch.from.count() > 0) {
      device.wait(device.to_host, std::move(called));
      device.copy(device.to_host, fetch.to, flat(fetch.from));
      call.ready = device.record(device.to_host);
    } else {
      call.called = std::move(called);
    }
    return stager_.add(std::move(call));
  }

  Stager& stager_;
  std::unique_ptr<Communicator> host_;  ///< its messages move in the stager's buffers
};

class Staging final : public StagedWorld {
 public:
  explicit Staging(HostStaging staging) : stager_(std::move(staging)) {}
  std::unique_ptr<Communicator> group(std::unique_ptr<Communicator> host) override {
    return std::make_unique<StagedGroup>(std::move(host), stager_);
  }
  void look() override { stager_.look(); }

 private:
  Stager stager_;
};

}  // namespace

std::unique_ptr<StagedWorld> make_staged_world(HostStaging staging) {
  return std::make_unique<Staging>(std::move(staging));
}

}  // namespace banyan::comm
