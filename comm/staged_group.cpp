#include "comm/staged_group.hpp"

#include <bit>
#include <numeric>
#include <utility>
#include <vector>

namespace banyan::comm {
namespace {

constexpr std::size_t kLeast = std::size_t{64} << 10;

bool staged(const ConstView& v) { return v.kind == MemoryKind::kDevice && v.count() > 0; }

/// Buffers of host memory: taken for an operation, free again when the work recorded then has run.
class Buffers {
 public:
  explicit Buffers(HostStaging staging) : staging_(std::move(staging)) {}

  struct Buffer {
    std::shared_ptr<std::byte> memory;
    std::size_t bytes = 0;
    bool taken = false;
    Event last_use;
    View view(DType dtype, std::int64_t count) const { return View(memory.get(), dtype, {count}); }
  };
  /// The smallest that is large enough and free, or a new one.
  std::shared_ptr<Buffer> take(std::size_t bytes) {
    const std::size_t rounded = std::bit_ceil(std::max(bytes, kLeast));
    for (const std::shared_ptr<Buffer>& b : all_)
      if (!b->taken && b->bytes == rounded && b->last_use.test()) {
        b->taken = true;
        return b;
      }
    all_.push_back(std::make_shared<Buffer>(Buffer{staging_.allocate(rounded), rounded, true, {}}));
    return all_.back();
  }
  void give_back(Buffer& b, Queue q, bool still_read) {
    b.last_use = still_read ? staging_.record(q) : Event();
    b.taken = false;
  }
  /// From the device, finished when it returns.
  void fetch(Queue q, View out, ConstView in) {
    staging_.copy(q, out, in);
    staging_.record(q).wait();
  }
  /// Whether messages do without; then the queue has come to them when it returns.
  bool direct(Queue q) {
    if (staging_.direct_messages) staging_.record(q).wait();
    return staging_.direct_messages;
  }
  void put(Queue q, View out, ConstView in) { staging_.copy(q, out, in); }

 private:
  HostStaging staging_;
  std::vector<std::shared_ptr<Buffer>> all_;
};

/// An operation on a buffer, and the copy back that ends it.
class StagedOperation final : public Event::State {
 public:
  /// `back`: where on the device the part of the buffer goes; both may be empty.
  StagedOperation(std::shared_ptr<Buffers> buffers, std::shared_ptr<Buffers::Buffer> buffer, Queue queue, Event inner,
                  View back, ConstView part)
      : buffers_(std::move(buffers)),
        buffer_(std::move(buffer)),
        queue_(queue),
        inner_(std::move(inner)),
        back_(std::move(back)),
        part_(std::move(part)) {}
  // A buffer whose operation nobody has seen to its end stays taken: messages may still move in it.
  bool test() override {
    if (!inner_.test()) return false;
    finish();
    return true;
  }
  void wait() override {
    inner_.wait();
    finish();
  }

 private:
  void finish() {
    if (!buffer_) return;
    if (part_) buffers_->put(queue_, back_, part_);
    buffers_->give_back(*buffer_, queue_, static_cast<bool>(part_));
    buffer_.reset();
  }

  std::shared_ptr<Buffers> buffers_;
  std::shared_ptr<Buffers::Buffer> buffer_;
  Queue queue_;
  Event inner_;
  View back_;
  ConstView part_;
};

class StagedGroup final : public Communicator {
 public:
  StagedGroup(std::unique_ptr<Communicator> host, HostStaging staging)
      : buffers_(std::make_shared<Buffers>(std::move(staging))), host_(std::move(host)) {}

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }
  const std::string& name() const override { return host_->name(); }
  std::string peer_name(int member) const override { return host_->peer_name(member); }

  Event all_reduce(Queue q, View inout, ReduceOp op, std::string_view what) override {
    if (!staged(inout)) return host_->all_reduce(q, on_host(inout), op, what);
    const auto b = buffers_->take(inout.bytes());
    const View here = b->view(inout.dtype, inout.count());
    buffers_->fetch(q, here, flat(inout));
    return operation(b, q, host_->all_reduce(q, here, op, what), flat(inout), here);
  }

  Event reduce_scatter(Queue q, View out, View in_scratch, std::span<const std::int64_t> counts, ReduceOp op,
                       std::string_view what) override {
    if (!staged(in_scratch)) return host_->reduce_scatter(q, on_host(out), on_host(in_scratch), counts, op, what);
    const auto b = buffers_->take(in_scratch.bytes());
    const View here = b->view(in_scratch.dtype, in_scratch.count()), mine = part_of(here, counts);
    buffers_->fetch(q, here, flat(in_scratch));
    return operation(b, q, host_->reduce_scatter(q, mine, here, counts, op, what), flat(out), mine);
  }

  Event all_gather(Queue q, View out, ConstView in, std::span<const std::int64_t> counts,
                   std::string_view what) override {
    if (!staged(out)) return host_->all_gather(q, on_host(out), on_host(in), counts, what);
    const auto b = buffers_->take(out.bytes());
    const View here = b->view(out.dtype, out.count()), mine = part_of(here, counts);
    if (in.count() > 0) buffers_->fetch(q, mine, flat(in));
    return operation(b, q, host_->all_gather(q, here, mine, counts, what), flat(out), here);
  }

  Event all_to_all_v(Queue q, View out, std::span<const std::int64_t> out_counts, ConstView in,
                     std::span<const std::int64_t> in_counts, std::string_view what) override {
    if (!staged(out) && !staged(in))
      return host_->all_to_all_v(q, on_host(out), out_counts, on_host(in), in_counts, what);
    const auto b = buffers_->take(in.bytes() + out.bytes());
    const View both = b->view(in.dtype, in.count() + out.count());
    const View from = both.rows(0, in.count()), to = both.rows(in.count(), both.count());
    if (in.count() > 0) buffers_->fetch(q, from, flat(in));
    return operation(b, q, host_->all_to_all_v(q, to, out_counts, from, in_counts, what), flat(out),
                     out.count() > 0 ? ConstView(to) : ConstView());
  }

  Event broadcast(Queue q, View inout, int root, std::string_view what) override {
    if (!staged(inout)) return host_->broadcast(q, on_host(inout), root, what);
    const auto b = buffers_->take(inout.bytes());
    const View here = b->view(inout.dtype, inout.count());
    const bool mine = root == rank();
    if (mine) buffers_->fetch(q, here, flat(inout));
    return operation(b, q, host_->broadcast(q, here, root, what), flat(inout), mine ? ConstView() : ConstView(here));
  }

  void barrier(std::string_view what) override { host_->barrier(what); }

  Event send(Queue q, ConstView in, int peer, int channel, std::string_view what) override {
    if (!staged(in) || buffers_->direct(q)) return host_->send(q, as_host(in), peer, channel, what);
    const auto b = buffers_->take(in.bytes());
    const View here = b->view(in.dtype, in.count());
    buffers_->fetch(q, here, flat(in));
    return operation(b, q, host_->send(q, here, peer, channel, what), {}, {});
  }

  Event receive(Queue q, View out, int peer, int channel, std::string_view what) override {
    if (!staged(out) || buffers_->direct(q)) return host_->receive(q, as_host(out), peer, channel, what);
    const auto b = buffers_->take(out.bytes());
    const View here = b->view(out.dtype, out.count());
    return operation(b, q, host_->receive(q, here, peer, channel, what), flat(out), here);
  }

  std::shared_ptr<const void> pin(ConstView memory) override {
    return memory.kind == MemoryKind::kDevice ? nullptr : host_->pin(memory);
  }
  void use_plans(const GroupPlans& plans) override { host_->use_plans(plans); }
  void progress() override { host_->progress(); }

 private:
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
    return v.reshaped({v.count()});
  }
  View part_of(const View& all, std::span<const std::int64_t> counts) const {
    const auto self = static_cast<std::ptrdiff_t>(rank());
    const std::int64_t at = std::accumulate(counts.begin(), counts.begin() + self, std::int64_t{0});
    return all.rows(at, at + counts[static_cast<std::size_t>(self)]);
  }
  Event operation(std::shared_ptr<Buffers::Buffer> buffer, Queue q, Event inner, View back, ConstView part) {
    if (part.count() == 0) part = {};
    auto state =
        std::make_shared<StagedOperation>(buffers_, std::move(buffer), q, std::move(inner), std::move(back), part);
    return state->test() ? Event() : Event(std::move(state));
  }

  std::shared_ptr<Buffers> buffers_;
  std::unique_ptr<Communicator> host_;  ///< goes first: its messages move in the buffers
};

}  // namespace

std::unique_ptr<Communicator> make_staged_group(std::unique_ptr<Communicator> host, HostStaging staging) {
  return std::make_unique<StagedGroup>(std::move(host), std::move(staging));
}

}  // namespace banyan::comm
