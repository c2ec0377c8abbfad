#include "comm/ucx/ucx_transport.hpp"

#include <poll.h>
#include <ucp/api/ucp.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "comm/ucx/ucx_context.hpp"
#include "src/base/error.hpp"
#include "src/base/section.hpp"

namespace banyan::comm {

class UcxTransport::Pending final : public Request {
 public:
  void renew() {
    restart();
    handle = nullptr;
    abandoned = false;
    before = after = nullptr;
  }
  void done() { finish(); }
  void broken(std::string why, bool lost = false) { fail(std::move(why), lost); }
  bool complete() const { return state() != State::kPending; }

  UcxTransport* owner = nullptr;
  void* handle = nullptr;  // UCX's request, while UCX has it
  int peer = -1;
  std::uint32_t sequence = 0;
  std::size_t bytes = 0;
  bool receives = false;
  bool abandoned = false;  // given back before UCX was done with it
  Pending *before = nullptr, *after = nullptr;
};

namespace {

//  63      44 43       21 20      0
//  [ sender ][ Tag.bits ][ number ]
constexpr int kNumberBits = 21, kTagBits = 23;
constexpr std::uint64_t kNumberMask = (std::uint64_t{1} << kNumberBits) - 1;
constexpr int kMostRanks = 1 << (64 - kNumberBits - kTagBits);
constexpr Seconds kFarewell{1.0};          // how long releasing may take
constexpr std::size_t kPinnedFrom = 8192;  // bytes; less is copied anyway

ucp_tag_t full_tag(int sender, Tag tag, std::uint32_t number) {
  return static_cast<std::uint64_t>(sender) << (kNumberBits + kTagBits) |
         static_cast<std::uint64_t>(tag.bits) << kNumberBits | (number & kNumberMask);
}

ucs_memory_type_t memory_type(MemoryKind kind) {
  return kind == MemoryKind::kDevice ? UCS_MEMORY_TYPE_CUDA : UCS_MEMORY_TYPE_HOST;
}

}  // namespace

struct UcxTransport::Callbacks {
  static void unlink(Pending& p) {
    Peer& peer = p.owner->peers_[static_cast<std::size_t>(p.peer)];
    if (p.before)
      p.before->after = p.after;
    else
      peer.receives = p.after;
    if (p.after) p.after->before = p.before;
    p.before = p.after = nullptr;
  }

  static void settle_receive(Pending& p, ucs_status_t status, const ucp_tag_recv_info_t& info) {
    if (p.complete()) return;  // failed with its peer before
    if (status == UCS_ERR_MESSAGE_TRUNCATED) {
      p.broken(fmt::format("more bytes came than the {} expected", p.bytes));
    } else if (status != UCS_OK) {
      p.broken(with_ucx_remark(ucx_text(status)), true);
    } else if (info.length != p.bytes) {
      p.broken(fmt::format("{} bytes came where {} were expected", info.length, p.bytes));
    } else if ((info.sender_tag & kNumberMask) != (p.sequence & kNumberMask)) {
      p.broken(fmt::format("message number {} came where number {} was expected; one was lost or came twice",
                           info.sender_tag & kNumberMask, p.sequence & kNumberMask));
    } else {
      p.done();
    }
  }

  // What sends and receives have in common.
  static ucp_request_param_t parameters(Pending& p, const Message& message) {
    ucp_request_param_t params{};
    params.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_MEMORY_TYPE;
    params.user_data = &p;
    params.memory_type = memory_type(message.kind);
    if (message.bytes >= kPinnedFrom)
      if (ucp_mem* handle = p.owner->pinned(message)) {
        params.op_attr_mask |= UCP_OP_ATTR_FIELD_MEMH;
        params.memh = handle;
      }
    return params;
  }

  static void receive(void* request, ucs_status_t status, const ucp_tag_recv_info_t* info, void* data) {
    auto& p = *static_cast<Pending*>(data);
    p.handle = nullptr;
    ++p.owner->endings_;
    unlink(p);
    settle_receive(p, status, *info);
    ucp_request_free(request);
    if (p.abandoned) p.owner->give(&p);
  }

  static void send(void* request, ucs_status_t status, void* data) {
    auto& p = *static_cast<Pending*>(data);
    p.handle = nullptr;
    ++p.owner->endings_;
    if (status == UCS_OK)
      p.done();
    else
      p.broken(with_ucx_remark(ucx_text(status)), true);
    ucp_request_free(request);
    if (p.abandoned) p.owner->give(&p);
  }

  static void error(void* data, ucp_ep_h endpoint, ucs_status_t status) {
    auto& self = *static_cast<UcxTransport*>(data);
    if (self.closing_) return;
    for (Peer& peer : self.peers_)
      if (peer.endpoint == endpoint && peer.broken.empty()) {
        peer.broken = with_ucx_remark(ucx_text(status));
        self.anyone_broke_ = true;
      }
  }
};

UcxTransport::UcxTransport(int rank, int size, const UcxOptions& options)
    : rank_(rank), size_(size), peers_(static_cast<std::size_t>(size)) {
  if (size > kMostRanks) throw CommError("UCX messages number at most {} ranks; start fewer", kMostRanks);
  context_ = make_ucx_context(size, options);
  try {
    ucp_worker_params_t params{};
    params.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE;
    params.thread_mode = UCS_THREAD_MODE_SERIALIZED;
    check_ucx(ucp_worker_create(context_, &params, &worker_), "ucp_worker_create");
    // Without a descriptor to sleep on waiting still works.
    if (ucp_worker_get_efd(worker_, &event_) != UCS_OK) event_ = -1;
    ucp_address_t* address = nullptr;
    std::size_t length = 0;
    check_ucx(ucp_worker_get_address(worker_, &address, &length), "ucp_worker_get_address");
    address_.assign(reinterpret_cast<const char*>(address), length);
    ucp_worker_release_address(worker_, address);
  } catch (...) {
    if (worker_) ucp_worker_destroy(worker_);
    ucp_cleanup(context_);
    throw;
  }
}

UcxTransport::~UcxTransport() {
  if (!closed_) {
    // Messages may be under way from or into memory of others; the process ends soon, so everything stays.
    for (auto& pending : all_) static_cast<void>(pending.release());
    return;
  }
  ucp_worker_destroy(worker_);
  ucp_cleanup(context_);
}

void UcxTransport::connect(std::vector<std::string> addresses) { addresses_ = std::move(addresses); }

UcxTransport::Pending* UcxTransport::take(const Message& message, bool receives) {
  Pending* p = nullptr;
  if (free_.empty()) {
    all_.push_back(std::make_unique<Pending>());
    p = all_.back().get();
  } else {
    p = free_.back();
    free_.pop_back();
    p->renew();
  }
  p->owner = this;
  p->peer = message.peer;
  p->sequence = message.sequence;
  p->bytes = message.bytes;
  p->receives = receives;
  return p;
}

void UcxTransport::give(Pending* pending) { free_.push_back(pending); }

UcxTransport::Peer& UcxTransport::reach(int rank) {
  Peer& peer = peers_[static_cast<std::size_t>(rank)];
  if (peer.endpoint || !peer.broken.empty()) return peer;
  ucp_ep_params_t params{};
  params.field_mask =
      UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE | UCP_EP_PARAM_FIELD_ERR_HANDLER;
  params.address = reinterpret_cast<const ucp_address_t*>(addresses_.at(static_cast<std::size_t>(rank)).data());
  params.err_mode = UCP_ERR_HANDLING_MODE_PEER;
  params.err_handler = {Callbacks::error, this};
  if (rank == rank_) params.err_mode = UCP_ERR_HANDLING_MODE_NONE;  // nobody to lose
  const ucs_status_t status = ucp_ep_create(worker_, &params, &peer.endpoint);
  if (status != UCS_OK) peer.broken = "no way to it was found: " + with_ucx_remark(ucx_text(status));
  return peer;
}

ucp_mem* UcxTransport::pinned(const Message& message) const {
  auto at = pinned_.upper_bound(message.data);
  if (at == pinned_.begin()) return nullptr;
  --at;
  return message.data + message.bytes <= at->first + at->second.bytes ? at->second.handle : nullptr;
}

Request* UcxTransport::send(const Message& message) {
  Pending* p = take(message, false);
  Peer& peer = reach(message.peer);
  if (!peer.broken.empty()) {
    p->broken(peer.broken, true);
    return p;
  }
  ucp_request_param_t params = Callbacks::parameters(*p, message);
  params.cb.send = Callbacks::send;
  const ucs_status_ptr_t request = ucp_tag_send_nbx(peer.endpoint, message.data, message.bytes,
                                                    full_tag(rank_, message.tag, message.sequence), &params);
  if (request == nullptr)
    p->done();
  else if (UCS_PTR_IS_ERR(request))
    p->broken(with_ucx_remark(ucx_text(UCS_PTR_STATUS(request))), true);
  else if (!p->complete())
    p->handle = request;
  return p;
}

Request* UcxTransport::receive(const Message& message) {
  Pending* p = take(message, true);
  Peer& peer = reach(message.peer);
  if (!peer.broken.empty()) {
    p->broken(peer.broken, true);
    return p;
  }
  ucp_request_param_t params = Callbacks::parameters(*p, message);
  // A message that is there already also comes through the callback: UCX 1.13 says nothing of its tag otherwise.
  params.op_attr_mask |= UCP_OP_ATTR_FLAG_NO_IMM_CMPL;
  params.cb.recv = Callbacks::receive;
  p->after = peer.receives;
  if (p->after) p->after->before = p;
  peer.receives = p;
  const ucs_status_ptr_t request = ucp_tag_recv_nbx(worker_, message.data, message.bytes,
                                                    full_tag(message.peer, message.tag, 0), ~kNumberMask, &params);
  if (UCS_PTR_IS_ERR(request)) {
    Callbacks::unlink(*p);
    p->broken(with_ucx_remark(ucx_text(UCS_PTR_STATUS(request))), true);
  } else if (!p->complete()) {
    p->handle = request;
  }
  return p;
}

// Sends to a broken peer fail by themselves; receives wait for ever.
void UcxTransport::settle_broken() {
  anyone_broke_ = false;
  for (Peer& peer : peers_) {
    if (peer.broken.empty()) continue;
    for (Pending *p = peer.receives, *next = nullptr; p; p = next) {
      next = p->after;
      if (!p->complete()) p->broken(peer.broken, true);
      if (p->handle) ucp_request_cancel(worker_, p->handle);  // its callback frees it
    }
  }
}

void UcxTransport::progress() {
  // What has ended is wanted at once; the rest of what has come waits for the next call.
  const std::uint64_t before = endings_;
  for (int i = 0; i < 64 && ucp_worker_progress(worker_) > 0 && endings_ == before; ++i) {
  }
  if (anyone_broke_) settle_broken();
}

int UcxTransport::arm() {
  if (event_ < 0) return kCannotTell;
  const ucs_status_t status = ucp_worker_arm(worker_);
  if (status == UCS_ERR_BUSY) return kHasCome;
  return status == UCS_OK ? event_ : kCannotTell;
}

bool UcxTransport::doze(Seconds longest) {
  const int woken_by = arm();
  if (woken_by == kHasCome) return true;
  if (woken_by == kCannotTell) return false;
  pollfd descriptor{woken_by, POLLIN, 0};
  poll(&descriptor, 1, std::max(1, static_cast<int>(std::ceil(longest.count() * 1000))));
  return true;
}

void UcxTransport::pin(const std::byte* data, std::size_t bytes) {
  if (bytes < kPinnedFrom) return;
  if (const auto at = pinned_.find(data); at != pinned_.end()) {
    ++at->second.uses;
    return;
  }
  ucp_mem_map_params_t params{};
  params.field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS | UCP_MEM_MAP_PARAM_FIELD_LENGTH;
  params.address = const_cast<std::byte*>(data);
  params.length = bytes;
  ucp_mem_h handle = nullptr;
  if (ucp_mem_map(context_, &params, &handle) == UCS_OK) pinned_[data] = {bytes, handle, 1};
}

void UcxTransport::unpin(const std::byte* data) {
  const auto at = pinned_.find(data);
  if (at == pinned_.end() || --at->second.uses > 0) return;
  ucp_mem_unmap(context_, at->second.handle);
  pinned_.erase(at);
}

void UcxTransport::release(Request* request) {
  auto* p = static_cast<Pending*>(request);
  if (!p->complete() && p->receives) {
    ucp_request_cancel(worker_, p->handle);
    const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(kFarewell);
    while (!p->complete() && Clock::now() < end) progress();
  }
  forget(p);
}

void UcxTransport::forget(Request* request) {
  auto* p = static_cast<Pending*>(request);
  if (p->handle)
    p->abandoned = true;
  else
    give(p);
}

void UcxTransport::close(const std::function<void(const std::function<void()>&)>& meet) {
  const auto look = [this] { progress(); };
  meet(look);  // until here others may still take their last message
  closing_ = true;
  std::vector<void*> endings;
  for (Peer& peer : peers_) {
    if (!peer.endpoint) continue;
    ucp_request_param_t params{};
    params.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
    params.flags = peer.broken.empty() ? 0 : UCP_EP_CLOSE_FLAG_FORCE;
    const ucs_status_ptr_t request = ucp_ep_close_nbx(peer.endpoint, &params);
    if (UCS_PTR_IS_PTR(request)) endings.push_back(request);
  }
  const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(kFarewell);
  for (void* request : endings) {
    while (ucp_request_check_status(request) == UCS_INPROGRESS && Clock::now() < end) progress();
    ucp_request_free(request);
  }
  for (const auto& [data, memory] : pinned_) ucp_mem_unmap(context_, memory.handle);
  pinned_.clear();
  meet(look);  // a worker that is gone could not answer the flush of a peer
  closed_ = true;
}

}  // namespace banyan::comm
