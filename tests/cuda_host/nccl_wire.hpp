// Connections between the members of an emulated communicator of NCCL: sockets of the host, each member with each other
// one, opened and read without blocking.  Who leaves closes them, which the others notice.
#pragma once

#include <nccl.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

namespace emu {

enum class NcclKind : std::uint32_t { kAllReduce, kReduce, kReduceScatter, kAllGather, kBroadcast, kSend, kReceive };

/// What members of a communicator must agree on.
struct NcclTerms {
  NcclKind kind = NcclKind::kSend;
  ncclDataType_t type = ncclInt8;
  ncclRedOp_t op = ncclSum;
  int root = 0;             ///< of a broadcast or a reduction
  std::uint64_t count = 0;  ///< as the call was given it
  bool operator==(const NcclTerms&) const = default;
};

struct Frame {
  enum Kind : std::uint32_t {
    kHello,     ///< the first
    kOperand,   ///< of a collective
    kAnnounce,  ///< a send has begun
    kCredit,    ///< the receive that it meets has
    kMessage,   ///< its data
    kBye        ///< nothing more comes
  };
  struct Header {
    Kind kind = kHello;
    int rank = 0, size = 0, device = 0;  ///< of who says hello
    bool grouped = false;                ///< the send is part of a group
    NcclTerms terms;
    std::uint64_t bytes = 0;
  } header;
  std::vector<char> data;
};

class Wire {
 public:
  /// Member `rank` of `size`; `name` is the same on all members and no other communicator's.
  Wire(const std::string& name, int rank, int size, int device);
  ~Wire();
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  /// Opens, sends and takes in what can be now.
  void progress();
  /// Whether all members are there.
  bool connected() const { return missing_ == 0; }
  /// What is wrong: a member that left without a word or does not belong here.  Empty: nothing.
  const std::string& failure() const { return failure_; }
  void send(int to, const Frame::Header& header, const void* data = nullptr);
  /// Whether all that was sent has left.
  bool flushed() const;
  bool all_said_bye() const;

  // What has come from a member, in order, by kind.
  std::deque<Frame>& operands(int from) { return peers_[static_cast<std::size_t>(from)].operands; }
  std::deque<Frame>& announced(int from) { return peers_[static_cast<std::size_t>(from)].announced; }
  std::deque<Frame>& credits(int from) { return peers_[static_cast<std::size_t>(from)].credits; }
  std::deque<Frame>& messages(int from) { return peers_[static_cast<std::size_t>(from)].messages; }

 private:
  struct Peer {
    int socket = -1;
    bool left = false, bye = false;
    std::string out, in;
    std::deque<Frame> operands, announced, credits, messages;
  };
  void accept_some();
  void dial(int to);
  void read(int from);
  void write(int to);
  void take(int from, Frame frame);
  void greet(int from, const Frame::Header& hello);
  void lose(int peer);

  const std::string name_;
  const int rank_, size_, device_;
  int listener_ = -1, missing_;
  std::vector<Peer> peers_;
  std::deque<Peer> strangers_;  ///< have not said yet who they are
  std::string failure_;
};

}  // namespace emu
