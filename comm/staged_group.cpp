#include "comm/staged_group.hpp"

#include <algorithm>
#include <bit>
#include <deque>
#include <functional>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

namespace banyan::comm {
namespace {

constexpr std::size_t kLeast = std::size_t{64} << 10;

bool staged(const ConstView& v) { return v.kind == MemoryKind::kDevice && v.count() > 0; }

/// A piece of host memory: taken for an operation, free again when the work recorded then has run.
struct Buffer {
  std::shared_ptr<std::byte> memory;
  std::size_t bytes = 0;
  bool taken = false;
  Event last_use;
  View view(DType dtype, std::int64_t count) const { return View(memory.get(), dtype, {count}); }
};

/// What a copy of the device's memory is for: begun once that is there.
struct Pending {
  const void* group = nullptr;
  Event copied;
  std::function<void()> begin;
};

}  // namespace

class Stager {
 public:
  explicit Stager(HostStaging staging_) : staging(std::move(staging_)) {}

  /// One of this size that is free, or a new one.
  std::shared_ptr<Buffer> take(std::size_t bytes) {
    const std::size_t rounded = std::bit_ceil(std::max(bytes, kLeast));
    for (const std::shared_ptr<Buffer>& b : all_)
      if (!b->taken && b->bytes == rounded && b->last_use.test()) {
        b->taken = true;
        return b;
      }
    all_.push_back(std::make_shared<Buffer>(Buffer{staging.allocate(rounded), rounded, true, {}}));
    return all_.back();
  }

  void add(Pending p) { pending_.push_back(std::move(p)); }
  /// Begins what has been copied, in the order of the calls, which is the same on all ranks.
  void advance() {
    while (!pending_.empty() && pending_.front().copied.test()) begin_first();
  }
  /// Begins everything.  Before any wait for others: they may wait for what this rank has not sent yet.
  void begin_all() {
    while (!pending_.empty()) {
      pending_.front().copied.wait();
      begin_first();
    }
  }
  void forget(const void* group) {
    std::erase_if(pending_, [&](const Pending& p) { return p.group == group; });
  }

  HostStaging staging;

 private:
  void begin_first() {
    const Pending p = std::move(pending_.front());
    pending_.pop_front();
    p.begin();
  }

  std::deque<Pending> pending_;
  std::vector<std::shared_ptr<Buffer>> all_;
};

namespace {

/// An operation on a buffer, and the copy back that ends it.
class StagedOperation final : public Event::State {
 public:
  /// `back`: where on the device the part of the buffer goes; both may be empty.
  StagedOperation(std::shared_ptr<Stager> stager, std::shared_ptr<Buffer> buffer, Queue queue, View back, View part)
      : stager_(std::move(stager)), buffer_(std::move(buffer)), queue_(queue), back_(back), part_(part) {}
  void begun(Event inner) {
    inner_ = std::move(inner);
    under_way_ = true;
  }
  // A buffer whose operation nobody has seen to its end stays taken: messages may still move in it.
  bool test() override {
    stager_->advance();
    if (!under_way_ || !inner_.test()) return false;
    finish();
    return true;
  }
  void wait() override {
    stager_->begin_all();
    inner_.wait();
    finish();
  }

 private:
  void finish() {
    if (!buffer_) return;
    buffer_->last_use = part_ ? stager_->staging.put(queue_, back_, part_) : Event();
    buffer_->taken = false;
    buffer_.reset();
  }

  std::shared_ptr<Stager> stager_;
  std::shared_ptr<Buffer> buffer_;
  Queue queue_;
  Event inner_;
  bool under_way_ = false;
  View back_, part_;
};

/// An operation on host memory: whoever waits for it begins what was called since.
class PassedOn final : public Event::State {
 public:
  PassedOn(std::shared_ptr<Stager> stager, Event inner) : stager_(std::move(stager)), inner_(std::move(inner)) {}
  bool test() override {
    stager_->advance();
    return inner_.test();
  }
  void wait() override {
    stager_->begin_all();
    inner_.wait();
  }

 private:
  std::shared_ptr<Stager> stager_;
  Event inner_;
};

class StagedGroup final : public Communicator {
 public:
  StagedGroup(std::unique_ptr<Communicator> host, std::shared_ptr<Stager> stager)
      : stager_(std::move(stager)), host_(std::move(host)) {}
  ~StagedGroup() override { stager_->forget(this); }

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }
  const std::string& name() const override { return host_->name(); }
  std::string peer_name(int member) const override { return host_->peer_name(member); }

  Event all_reduce(Queue q, View inout, ReduceOp op, std::string_view what) override {
    if (!staged(inout)) return passed_on(host().all_reduce(q, on_host(inout), op, what));
    const auto b = stager_->take(inout.bytes());
    const View here = b->view(inout.dtype, inout.count());
    return operation(b, q, flat(inout), here, fetch(q, here, inout),
                     [=, this, w = std::string(what)] { return host_->all_reduce(q, here, op, w); });
  }

  Event reduce_scatter(Queue q, View out, View in_scratch, std::span<const std::int64_t> counts, ReduceOp op,
                       std::string_view what) override {
    if (!staged(in_scratch))
      return passed_on(host().reduce_scatter(q, on_host(out), on_host(in_scratch), counts, op, what));
    const auto b = stager_->take(in_scratch.bytes());
    const View here = b->view(in_scratch.dtype, in_scratch.count()), mine = part_of(here, counts);
    return operation(b, q, flat(out), mine, fetch(q, here, in_scratch),
                     [=, this, n = copied(counts), w = std::string(what)] {
                       return host_->reduce_scatter(q, mine, here, n, op, w);
                     });
  }

  Event all_gather(Queue q, View out, ConstView in, std::span<const std::int64_t> counts,
                   std::string_view what) override {
    if (!staged(out)) return passed_on(host().all_gather(q, on_host(out), on_host(in), counts, what));
    const auto b = stager_->take(out.bytes());
    const View here = b->view(out.dtype, out.count()), mine = part_of(here, counts);
    return operation(b, q, flat(out), here, fetch(q, mine, in), [=, this, n = copied(counts), w = std::string(what)] {
      return host_->all_gather(q, here, mine, n, w);
    });
  }

  Event all_to_all_v(Queue q, View out, std::span<const std::int64_t> out_counts, ConstView in,
                     std::span<const std::int64_t> in_counts, std::string_view what) override {
    if (!staged(out) && !staged(in))
      return passed_on(host().all_to_all_v(q, on_host(out), out_counts, on_host(in), in_counts, what));
    const auto b = stager_->take(in.bytes() + out.bytes());
    const View both = b->view(in.dtype, in.count() + out.count());
    const View from = both.rows(0, in.count()), to = both.rows(in.count(), both.count());
    return operation(b, q, flat(out), to, fetch(q, from, in),
                     [=, this, n_out = copied(out_counts), n_in = copied(in_counts), w = std::string(what)] {
                       return host_->all_to_all_v(q, to, n_out, from, n_in, w);
                     });
  }

  Event broadcast(Queue q, View inout, int root, std::string_view what) override {
    if (!staged(inout)) return passed_on(host().broadcast(q, on_host(inout), root, what));
    const auto b = stager_->take(inout.bytes());
    const View here = b->view(inout.dtype, inout.count());
    const bool mine = root == rank();
    return operation(b, q, mine ? View() : flat(inout), mine ? View() : here, mine ? fetch(q, here, inout) : Event(),
                     [=, this, w = std::string(what)] { return host_->broadcast(q, here, root, w); });
  }

  void barrier(std::string_view what) override { host().barrier(what); }

  Event send(Queue q, ConstView in, int peer, int channel, std::string_view what) override {
    if (!staged(in)) return passed_on(host().send(q, on_host(in), peer, channel, what));
    const auto b = stager_->take(in.bytes());
    const View here = b->view(in.dtype, in.count());
    return operation(b, q, {}, {}, fetch(q, here, in),
                     [=, this, w = std::string(what)] { return host_->send(q, here, peer, channel, w); });
  }

  Event receive(Queue q, View out, int peer, int channel, std::string_view what) override {
    if (!staged(out)) return passed_on(host().receive(q, on_host(out), peer, channel, what));
    const auto b = stager_->take(out.bytes());
    const View here = b->view(out.dtype, out.count());
    return operation(b, q, flat(out), here, {},
                     [=, this, w = std::string(what)] { return host_->receive(q, here, peer, channel, w); });
  }

  std::shared_ptr<const void> pin(ConstView memory) override {
    return memory.kind == MemoryKind::kDevice ? nullptr : host_->pin(memory);
  }
  void use_plans(const GroupPlans& plans) override { host_->use_plans(plans); }
  void progress() override {
    stager_->advance();
    host_->progress();
  }

 private:
  /// The other communicator, for operations that begin at once: what was called before goes first.
  Communicator& host() {
    stager_->begin_all();
    return *host_;
  }
  Event passed_on(Event inner) {
    return inner.test() ? Event() : Event(std::make_shared<PassedOn>(stager_, std::move(inner)));
  }
  /// Empty views of device memory are as good as those of host memory.
  template <class V>
  static V on_host(V v) {
    if (v.count() == 0) v.kind = MemoryKind::kHost;
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
  Event fetch(Queue q, View to, const ConstView& from) {
    return from.count() > 0 ? stager_->staging.fetch(q, to, flat(from)) : Event();
  }
  /// `start` begins the operation on the host's memory once `copied` is complete and all before it have begun.
  Event operation(const std::shared_ptr<Buffer>& buffer, Queue q, View back, View part, Event copied,
                  std::function<Event()> start) {
    if (part.count() == 0) part = View();
    auto state = std::make_shared<StagedOperation>(stager_, buffer, q, back, part);
    stager_->add({this, std::move(copied), [state, start = std::move(start)] { state->begun(start()); }});
    return state->test() ? Event() : Event(std::move(state));
  }

  std::shared_ptr<Stager> stager_;
  std::unique_ptr<Communicator> host_;  ///< goes first: its messages move in the buffers
};

}  // namespace

std::shared_ptr<Stager> make_stager(HostStaging staging) { return std::make_shared<Stager>(std::move(staging)); }

std::unique_ptr<Communicator> make_staged_group(std::unique_ptr<Communicator> host, std::shared_ptr<Stager> stager) {
  return std::make_unique<StagedGroup>(std::move(host), std::move(stager));
}

}  // namespace banyan::comm
