#include "comm/nccl/nccl_group.hpp"

#include <algorithm>
#include <cstring>
#include <exception>
#include <numeric>

#include "comm/plans/plan.hpp"
#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

constexpr int kIdChannel = kMaxChannel;
constexpr const char* kIdLetter = "the id of a communicator of NCCL";
// Messages share the GPU with what is computed and with each other: many of their kernels wait at the same time.
constexpr int kMessageBlocks = 4;

ncclDataType_t type_of(DType dtype, std::string_view call) {
  switch (dtype) {
    case DType::kF32:
      return ncclFloat32;
    case DType::kBF16:
      return ncclBfloat16;
    case DType::kF64:
      return ncclFloat64;
    case DType::kI32:
      return ncclInt32;
    case DType::kI64:
      return ncclInt64;
    case DType::kI8:
      return ncclInt8;
    case DType::kU8:
      return ncclUint8;
    case DType::kU32:
      return ncclUint32;
    case DType::kU16:
      break;
  }
  throw BugError("{} of {}: NCCL has no such type", call, name_of(dtype));
}

ncclRedOp_t op_of(ReduceOp op) { return op == ReduceOp::kSum ? ncclSum : op == ReduceOp::kMax ? ncclMax : ncclMin; }

bool on_device(const ConstView& v) { return v.kind == MemoryKind::kDevice && v.count() > 0; }
template <class V>
V on_host(V v) {
  if (v.count() == 0) v.kind = MemoryKind::kHost;
  return v;
}

void check_view(const ConstView& v, std::int64_t count, std::string_view call) {
  if (v.count() > 0 && v.kind != MemoryKind::kDevice)
    throw BugError("{} of memory of the GPU and of the host at once", call);
  if (!v.contiguous()) throw BugError("{} of a view with gaps between its rows", call);
  if (v.count() != count) throw BugError("{}: the view has {} elements, the counts say {}", call, v.count(), count);
}

std::int64_t total(std::span<const std::int64_t> counts, int size, std::string_view call) {
  if (static_cast<int>(counts.size()) != size) throw BugError("{}: {} counts for {} ranks", call, counts.size(), size);
  for (const std::int64_t c : counts)
    if (c < 0) throw BugError("{}: negative count {}", call, c);
  return std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
}

bool all_equal(std::span<const std::int64_t> counts) {
  return std::adjacent_find(counts.begin(), counts.end(), std::not_equal_to<>()) == counts.end();
}

/// Several calls that NCCL takes as one.
class Calls {
 public:
  Calls() : result_(ncclGroupStart()) {}
  void operator()(ncclResult_t r) {
    if (r != ncclSuccess && r != ncclInProgress && result_ == ncclSuccess) result_ = r;
  }
  ncclResult_t end() {
    const ncclResult_t r = ncclGroupEnd();
    return result_ == ncclSuccess ? r : result_;
  }

 private:
  ncclResult_t result_;
};

/// EndToEnd of a buffer that lie end to end.
struct EndToEnd {
  std::vector<std::size_t> bytes;
  EndToEnd(std::span<const std::int64_t> counts, DType dtype) {
    for (const std::int64_t c : counts) bytes.push_back(static_cast<std::size_t>(c) * size_of(dtype));
  }
  /// Calls each(member, its first byte, its bytes) for parts that are not empty.
  template <class Each>
  void for_each(const Each& each) const {
    std::size_t at = 0;
    for (std::size_t r = 0; r < bytes.size(); at += bytes[r++])
      if (bytes[r] > 0) each(static_cast<int>(r), at, bytes[r]);
  }
};

RollWord word(CollectiveKind kind, DType dtype, std::int64_t count, int op = 0, int root = 0) {
  return {.kind = static_cast<std::uint32_t>(kind),
          .dtype = static_cast<std::uint32_t>(dtype),
          .op = static_cast<std::uint32_t>(op),
          .root = static_cast<std::uint32_t>(root),
          .count = static_cast<std::uint64_t>(count)};
}

}  // namespace

NcclGroup::NcclGroup(NcclShared& shared, std::unique_ptr<Communicator> host, std::function<void(NcclGroup&)> left)
    : shared_(shared),
      left_(std::move(left)),
      exceptions_(std::uncaught_exceptions()),
      ids_(std::make_unique<Mailbox>(*host, kIdChannel, sizeof(Letter))),
      roll_(std::make_unique<RollCall>(*host)),
      host_(std::move(host)) {}

NcclGroup::~NcclGroup() {
  try {
    if (std::uncaught_exceptions() == exceptions_ && shared_.failure.empty())
      for (const auto& [key, link] : links_) link->finish();
  } catch (const std::exception& e) {
    if (shared_.failure.empty()) shared_.failure = e.what();
  }
  left_(*this);
  links_.clear();
}

std::string NcclGroup::label(const char* call, std::string_view what) const {
  return fmt::format("{} {} of {} by NCCL", call, what, name());
}

void NcclGroup::look_after() {
  for (const auto& [key, link] : links_) link->advance();
  for (const auto& [key, link] : links_) link->watch(*roll_);
  host_->progress();
}

void NcclGroup::abort() noexcept {
  for (const auto& [key, link] : links_) link->abort();
}

NcclLink& NcclGroup::link(LinkKey key) {
  if (!shared_.failure.empty()) throw CommError("{}", shared_.failure);
  auto& link = links_[key];
  if (link) return *link;
  const auto [from, to, channel] = key;
  const std::uint64_t number = static_cast<std::uint64_t>(channel + 1) << 40 | static_cast<std::uint64_t>(from) << 20 |
                               static_cast<std::uint64_t>(to);
  const bool messages = channel >= 0;
  std::vector<int> members{from, to};
  if (!messages) {
    members.resize(static_cast<std::size_t>(size()));
    std::iota(members.begin(), members.end(), 0);
  }
  const int self = static_cast<int>(std::find(members.begin(), members.end(), rank()) - members.begin());
  const int first = members.front();
  NcclLink::Id id = [this, first, number] { return mailed_id(first, number); };
  if (first == rank()) {
    Letter letter{.link = number};
    if (const ncclResult_t r = ncclGetUniqueId(&letter.id); r != ncclSuccess)
      throw CommError("NCCL finds no way to the other ranks: {} ({}); NCCL_SOCKET_IFNAME names a network",
                      ncclGetErrorString(r), ncclGetLastError(nullptr));
    for (const int m : members)
      if (m != rank()) ids_->post(m, std::as_bytes(std::span(&letter, 1)), kIdLetter);
    id = [known = letter.id] { return std::optional(known); };
  }
  const std::string of = messages ? fmt::format("messages from {} to {} in {}", peer_name(from), peer_name(to), name())
                                  : name() + " in NCCL";
  link = std::make_unique<NcclLink>(shared_, number, of, std::move(members), self, std::move(id),
                                    messages ? kMessageBlocks : 0);
  return *link;
}

std::optional<ncclUniqueId> NcclGroup::mailed_id(int from, std::uint64_t link) {
  const auto known = [&]() -> std::optional<ncclUniqueId> {
    const auto at = ids_heard_.find({from, link});
    return at == ids_heard_.end() ? std::nullopt : std::optional(at->second);
  };
  if (const auto id = known()) return id;
  if (const auto mail = ids_->next(from, kIdLetter); !mail.empty()) {
    Letter letter;
    std::memcpy(&letter, mail.data(), sizeof letter);
    ids_heard_[{from, letter.link}] = letter.id;
  }
  return known();
}

Event NcclGroup::collective(Queue q, const char* call, std::string_view what, RollWord word,
                            std::function<ncclResult_t(ncclComm_t, cudaStream_t)> issue) {
  return collectives().enqueue(
      {.name = label(call, what), .word = word, .queue = shared_.stream(q), .issue = std::move(issue)});
}

Event NcclGroup::all_reduce(Queue q, View inout, ReduceOp op, std::string_view what) {
  if (!on_device(inout)) return host_->all_reduce(q, on_host(inout), op, what);
  check_view(inout, inout.count(), "all-reduce");
  const ncclDataType_t type = type_of(inout.dtype, "all-reduce");
  std::byte* data = inout.data;
  return collective(q, "all-reduce", what,
                    word(CollectiveKind::kAllReduce, inout.dtype, inout.count(), static_cast<int>(op)),
                    [=, n = static_cast<std::size_t>(inout.count())](ncclComm_t c, cudaStream_t s) {
                      return ncclAllReduce(data, data, n, type, op_of(op), c, s);
                    });
}

Event NcclGroup::reduce_scatter(Queue q, View out, View in_scratch, std::span<const std::int64_t> counts, ReduceOp op,
                                std::string_view what) {
  if (!on_device(in_scratch)) return host_->reduce_scatter(q, on_host(out), on_host(in_scratch), counts, op, what);
  const std::int64_t all = total(counts, size(), "reduce-scatter");
  check_view(in_scratch, all, "reduce-scatter");
  check_view(out, counts[static_cast<std::size_t>(rank())], "reduce-scatter");
  const ncclDataType_t type = type_of(in_scratch.dtype, "reduce-scatter");
  std::byte *to = out.data, *from = in_scratch.data;
  const RollWord w = word(CollectiveKind::kReduceScatter, in_scratch.dtype, all, static_cast<int>(op));
  if (all_equal(counts))
    return collective(q, "reduce-scatter", what, w,
                      [=, n = static_cast<std::size_t>(counts[0])](ncclComm_t c, cudaStream_t s) {
                        return ncclReduceScatter(from, to, n, type, op_of(op), c, s);
                      });
  return collective(q, "reduce-scatter", what, w,
                    [=, parts = EndToEnd(counts, in_scratch.dtype), width = size_of(in_scratch.dtype), self = rank()](
                        ncclComm_t c, cudaStream_t s) {
                      Calls calls;
                      parts.for_each([&](int r, std::size_t at, std::size_t bytes) {
                        calls(ncclReduce(from + at, r == self ? to : nullptr, bytes / width, type, op_of(op), r, c, s));
                      });
                      return calls.end();
                    });
}

Event NcclGroup::all_gather(Queue q, View out, ConstView in, std::span<const std::int64_t> counts,
                            std::string_view what) {
  if (!on_device(out)) return host_->all_gather(q, on_host(out), on_host(in), counts, what);
  const std::int64_t all = total(counts, size(), "all-gather");
  check_view(out, all, "all-gather");
  check_view(in, counts[static_cast<std::size_t>(rank())], "all-gather");
  const RollWord w = word(CollectiveKind::kAllGather, out.dtype, all);
  std::byte* to = out.data;
  const std::byte* from = in.data;
  const EndToEnd parts(counts, out.dtype);
  if (all_equal(counts))
    return collective(q, "all-gather", what, w, [=, n = parts.bytes[0]](ncclComm_t c, cudaStream_t s) {
      return ncclAllGather(from, to, n, ncclUint8, c, s);
    });
  return collective(q, "all-gather", what, w, [=, self = rank()](ncclComm_t c, cudaStream_t s) {
    Calls calls;
    parts.for_each([&](int r, std::size_t at, std::size_t bytes) {
      calls(ncclBroadcast(r == self ? from : to + at, to + at, bytes, ncclUint8, r, c, s));
    });
    return calls.end();
  });
}

Event NcclGroup::all_to_all_v(Queue q, View out, std::span<const std::int64_t> out_counts, ConstView in,
                              std::span<const std::int64_t> in_counts, std::string_view what) {
  // Where one side is empty it may be that of the other members which is not: all take the same way.
  if (out.kind != MemoryKind::kDevice) return host_->all_to_all_v(q, out, out_counts, in, in_counts, what);
  check_view(out, total(out_counts, size(), "all-to-all"), "all-to-all");
  check_view(in, total(in_counts, size(), "all-to-all"), "all-to-all");
  std::byte* to = out.data;
  const std::byte* from = in.data;
  return collective(q, "all-to-all", what, word(CollectiveKind::kAllToAll, out.dtype, 0),
                    [=, receives = EndToEnd(out_counts, out.dtype), sends = EndToEnd(in_counts, out.dtype)](
                        ncclComm_t c, cudaStream_t s) {
                      Calls calls;
                      sends.for_each([&](int r, std::size_t at, std::size_t bytes) {
                        calls(ncclSend(from + at, bytes, ncclUint8, r, c, s));
                      });
                      receives.for_each([&](int r, std::size_t at, std::size_t bytes) {
                        calls(ncclRecv(to + at, bytes, ncclUint8, r, c, s));
                      });
                      return calls.end();
                    });
}

Event NcclGroup::broadcast(Queue q, View inout, int root, std::string_view what) {
  if (!on_device(inout)) return host_->broadcast(q, on_host(inout), root, what);
  if (root < 0 || root >= size()) throw BugError("broadcast from rank {} of {}", root, size());
  check_view(inout, inout.count(), "broadcast");
  std::byte* data = inout.data;
  return collective(q, "broadcast", what, word(CollectiveKind::kBroadcast, inout.dtype, inout.count(), 0, root),
                    [=, n = inout.bytes()](ncclComm_t c, cudaStream_t s) {
                      return ncclBroadcast(data, data, n, ncclUint8, root, c, s);
                    });
}

Event NcclGroup::message(bool sends, Queue q, View data, int peer, int channel, std::string_view what) {
  const char* call = sends ? "send" : "receive";
  if (peer < 0 || peer >= size()) throw BugError("{}: no member {} of {}", name(), peer, size());
  if (channel < 0 || channel >= RollCall::kChannel)
    throw BugError("{}: channel {} is not in 0 .. {}", name(), channel, RollCall::kChannel - 1);
  check_view(data, data.count(), call);
  if (peer == rank()) return message_to_itself(sends, q, data, channel, what);
  const LinkKey key = sends ? LinkKey{rank(), peer, channel} : LinkKey{peer, rank(), channel};
  RollWord w = word(CollectiveKind::kAllToAll, DType::kU8, static_cast<std::int64_t>(data.bytes()));
  return link(key).enqueue({.name = label(call, what),
                            .word = w,
                            .queue = shared_.stream(q),
                            .issue = [=, n = data.bytes(), bytes = data.data](ncclComm_t c, cudaStream_t s) {
                              return sends ? ncclSend(bytes, n, ncclUint8, 1, c, s)
                                           : ncclRecv(bytes, n, ncclUint8, 0, c, s);
                            }});
}

Event NcclGroup::send(Queue q, ConstView in, int peer, int channel, std::string_view what) {
  if (!on_device(in)) return host_->send(q, on_host(in), peer, channel, what);
  return message(true, q, View(const_cast<std::byte*>(in.data), in.dtype, in.shape, in.kind), peer, channel, what);
}

Event NcclGroup::receive(Queue q, View out, int peer, int channel, std::string_view what) {
  if (!on_device(out)) return host_->receive(q, on_host(out), peer, channel, what);
  return message(false, q, out, peer, channel, what);
}

/// A message of a rank to itself: a copy, once both its ends are known.
class NcclGroup::Meeting final : public Event::State {
 public:
  Meeting(bool sends, View data, std::string name) : sends_(sends), data_(std::move(data)), name_(std::move(name)) {}
  bool sends() const { return sends_; }
  void meet(const View& other, cudaStream_t stream) {
    if (other.bytes() != data_.bytes()) throw CommError("{}: {} bytes meet {}", name_, data_.bytes(), other.bytes());
    const View &to = sends_ ? other : data_, &from = sends_ ? data_ : other;
    must_cuda(name_, cudaMemcpyAsync(to.data, from.data, to.bytes(), cudaMemcpyDeviceToDevice, stream));
    met_ = true;
  }
  bool test() override { return met_; }
  void wait() override {
    if (!met_) throw BugError("{}: nobody but this rank could come", name_);
  }

 private:
  const bool sends_;
  const View data_;
  const std::string name_;
  bool met_ = false;
};

Event NcclGroup::message_to_itself(bool sends, Queue q, View data, int channel, std::string_view what) {
  auto& halves = to_itself_[channel];
  if (!halves.empty() && halves.front()->sends() != sends) {
    halves.front()->meet(data, shared_.stream(q));
    halves.pop_front();
    return {};
  }
  halves.push_back(std::make_shared<Meeting>(sends, data, label(sends ? "send" : "receive", what)));
  return Event(halves.back());
}

std::shared_ptr<const void> NcclGroup::pin(ConstView memory) {
  return memory.kind == MemoryKind::kDevice ? nullptr : host_->pin(memory);
}

}  // namespace banyan::comm
