#include "comm/loopback/loopback_transport.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "src/base/error.hpp"

namespace banyan::comm {

class LoopbackRequest final : public Request {
 public:
  LoopbackRequest(int from_rank, int to_rank, const Message& m)
      : from(from_rank), to(to_rank), tag(m.tag), sequence(m.sequence), data(m.data), bytes(m.bytes) {}
  bool meets(const LoopbackRequest& other) const { return from == other.from && tag == other.tag; }

  // Called under the box's lock; each request may be freed by its owner as soon as it is finished.
  static void exchange(LoopbackRequest* send, LoopbackRequest* receive) {
    if (send->bytes != receive->bytes) {
      receive->fail(fmt::format("{} bytes came where {} were expected", send->bytes, receive->bytes));
    } else if (send->sequence != receive->sequence) {
      receive->fail(
          fmt::format("message number {} came where number {} was expected", send->sequence, receive->sequence));
    } else {
      if (send->bytes > 0) std::memcpy(receive->data, send->data, send->bytes);
      receive->finish();
    }
    send->finish();
  }

  const int from, to;
  const Tag tag;
  const std::uint32_t sequence;
  std::byte* const data;
  const std::size_t bytes;
};

LoopbackHub::LoopbackHub(int size) {
  for (int i = 0; i < size; ++i) boxes_.push_back(std::make_unique<Box>());
}

LoopbackHub::~LoopbackHub() = default;

LoopbackTransport::LoopbackTransport(std::shared_ptr<LoopbackHub> hub, int rank) : hub_(std::move(hub)), rank_(rank) {}

LoopbackTransport::~LoopbackTransport() = default;

Request* LoopbackTransport::post(LoopbackRequest* request, bool is_send) {
  LoopbackHub::Box& box = *hub_->boxes_[static_cast<std::size_t>(request->to)];
  const std::lock_guard lock(box.mutex);
  auto& partners = is_send ? box.receives : box.sends;
  const auto partner = std::find_if(partners.begin(), partners.end(), [&](auto* p) { return p->meets(*request); });
  if (partner == partners.end()) {
    (is_send ? box.sends : box.receives).push_back(request);
    return request;
  }
  LoopbackRequest* met = *partner;
  partners.erase(partner);
  LoopbackRequest::exchange(is_send ? request : met, is_send ? met : request);
  return request;
}

Request* LoopbackTransport::send(const Message& message) {
  return post(new LoopbackRequest(rank_, message.peer, message), true);
}

Request* LoopbackTransport::receive(const Message& message) {
  return post(new LoopbackRequest(message.peer, rank_, message), false);
}

void LoopbackTransport::release(Request* request) {
  auto* mine = static_cast<LoopbackRequest*>(request);
  if (mine->state() == Request::State::kPending) {
    // A send cannot outlive its buffer here, so it is withdrawn as well.
    LoopbackHub::Box& box = *hub_->boxes_[static_cast<std::size_t>(mine->to)];
    const std::lock_guard lock(box.mutex);
    std::erase(box.sends, mine);
    std::erase(box.receives, mine);
  }
  delete mine;
}

}  // namespace banyan::comm
