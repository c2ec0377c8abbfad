// Messages over UCX: RDMA where there is RDMA, shared memory inside a node, TCP elsewhere.  Tag matching; the matched
// tag is (sender, Tag), the sequence number rides in the bits that the match ignores.
//
// A context and a worker of its own, beside whatever UCX the MPI library may use.  UCX reads its variables as always,
// and BANYAN_UCX_X wins over UCX_X.  Endpoints are made when a peer is first sent to or received from.  An endpoint
// that breaks (its process died, its network went) fails what is posted to or from that peer.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "comm/transport.hpp"

struct ucp_context;
struct ucp_ep;
struct ucp_mem;
struct ucp_worker;

namespace banyan::comm {

struct UcxOptions {
  /// Bytes from which a message is fetched by its receiver instead of being pushed; 0: UCX decides for each link.
  std::size_t rendezvous = 0;
  /// How often UCX looks whether idle peers are alive.
  Seconds keepalive{5};
};

class UcxTransport final : public Transport {
 public:
  /// CommError when UCX cannot start here.
  UcxTransport(int rank, int size, const UcxOptions& options);
  /// Frees what can be freed without peers; after close() everything.
  ~UcxTransport() override;
  /// How others reach this rank: opaque bytes, some hundred.
  const std::string& address() const { return address_; }
  /// Everybody's address by rank; before the first message.
  void connect(std::vector<std::string> addresses);
  /// Ends in good order: all ranks call it with nothing in flight.  `meet` returns when all ranks have come to it and
  /// calls its argument while it waits.
  void close(const std::function<void(const std::function<void()>&)>& meet);

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string name() const override { return "ucx"; }
  bool carries_sequence() const override { return true; }
  Request* send(const Message& message) override;
  Request* receive(const Message& message) override;
  void progress() override;
  bool doze(Seconds longest) override;
  int arm() override;
  void pin(const std::byte* data, std::size_t bytes) override;
  void unpin(const std::byte* data) override;
  void release(Request* request) override;
  void forget(Request* request) override;

 private:
  class Pending;
  struct Callbacks;  // what UCX calls; ucp.h stays out of this header
  struct Peer {
    ucp_ep* endpoint = nullptr;
    std::string broken;           // why nothing comes or goes any more
    Pending* receives = nullptr;  // posted and not complete, a ring of neighbours
  };
  struct Pinned {
    std::size_t bytes;
    ucp_mem* handle;
    int uses;
  };
  Pending* take(const Message& message, bool receives);
  void give(Pending* pending);
  Peer& reach(int rank);
  ucp_mem* pinned(const Message& message) const;
  void settle_broken();

  const int rank_, size_;
  ucp_context* context_ = nullptr;
  ucp_worker* worker_ = nullptr;
  int event_ = -1;
  bool closed_ = false, closing_ = false, anyone_broke_ = false;
  std::uint64_t endings_ = 0;  ///< requests that ended in a call of progress
  std::string address_;
  std::vector<std::string> addresses_;
  std::vector<Peer> peers_;
  std::map<const std::byte*, Pinned> pinned_;
  std::vector<std::unique_ptr<Pending>> all_;
  std::vector<Pending*> free_;
};

}  // namespace banyan::comm
