// A Lifeline of TCP connections: a tree over the ranks, rank r below rank (r-1)/8.  The kernel closes a dead process's
// connections, so its neighbours know within milliseconds, and tell the others.
//
// A message:  [ kind u32 ][ rank i32 ][ code i32 ][ length u32 ][ text: length bytes ]   in the host's byte order
//   hello    first on a connection, from the lower rank: its rank; text: the job's key (strangers are turned away)
//   failure  rank left with code, to which kHangs is added when it hangs; text: why.  Passed on to all other
//            connections, the first one only.
//   here     to the upper rank: all ranks below have come to leave; code 1: none is missing
//   go       to the lower ranks: all have come; code as above
//   waits    rank has waited long for rank `code` (-1: no longer).  Passed on to all other connections.
//   heard    answers waits: this process looks at its connections
//   silent   rank does not answer its neighbour (code 1), or does again (0); text: its last beat.  Passed on likewise.
//   beat     rank is at what the text says (Beats::pack).  Passed on while somebody waits for that rank.
//   bye      this process ends in good order
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "comm/lifeline.hpp"
#include "comm/wait_graph.hpp"

namespace banyan::comm {

class TcpLifeline final : public Lifeline {
 public:
  /// Opens the port; nothing is connected yet.  `key` is a secret that all ranks of the job share.  `one_host`: all
  /// ranks are on this host, so nobody else can reach the port.
  TcpLifeline(int rank, int size, std::string key, bool one_host = false);
  ~TcpLifeline() override;

  /// Where this rank is reached, for everyone; at most kAddressBytes long.
  const std::string& address() const { return address_; }
  static constexpr std::size_t kAddressBytes = 256;
  /// Connects the tree; `addresses` are all ranks'.  True when the connections to the upper and all lower ranks stand.
  bool connect(const std::vector<std::string>& addresses, Seconds deadline);

  void poll() override;
  const std::optional<PeerFailure>& announced() const override { return announced_; }
  void announce(const PeerFailure& failure) override;
  bool meet(Seconds deadline) override;
  void waits(int for_rank) override;
  bool is_waited_for() const override { return waited_for(rank_); }
  int suspect(int waited) const override { return culprit(graph_, rank_, waited); }
  void beat(std::string_view where) override;
  const Beat* last_beat(int rank) const override { return beats_.of(rank); }
  void leave() override;

 private:
  enum class Kind : std::uint32_t { kHello = 0x62790002, kFailure, kHere, kGo, kBye, kWaits, kHeard, kSilent, kBeat };
  struct Header {
    Kind kind;
    std::int32_t rank, code;
    std::uint32_t length;
  };
  struct Link {
    int fd = -1;  ///< -1: gone
    int rank = -1;
    std::string in = {}, out = {};  ///< bytes not yet understood, not yet sent
    std::optional<bool> here = {};  ///< it and all below it have come; whether none is missing
    bool bye = false;
    std::optional<Clock::time_point> asked = {};  ///< the first word that it has not answered
    bool silent = false;
  };

  bool connect_upper(const std::string& address, Clock::time_point end);
  void accept_lower(Clock::time_point end);
  bool take_hello(Link& link, Clock::time_point end);
  Link& link_to(int rank) {
    return links_[static_cast<std::size_t>(rank == upper_ ? 0 : rank - first_lower_ + (rank_ > 0))];
  }

  void queue(Link& link, Kind kind, int rank, int code, std::string_view text);
  void flush(Link& link);
  void read(Link& link);
  void understand(Link& link);
  void lose(Link& link);
  void hear(const PeerFailure& failure, int from_rank);
  void note_wait(int rank, int for_rank, int from_rank);
  void note_silence(int rank, bool silent, int from_rank);
  void note_beat(int rank, const Beat& beat, int from_rank);
  bool waited_for(int rank) const;
  void watch_answers();
  void flush_all(Clock::time_point end);

  const int rank_, size_, upper_, first_lower_;
  int lowers_ = 0;
  const std::string key_;
  int listener_ = -1;
  std::string address_;
  std::vector<Link> links_;  ///< upper first (except at the root), then the lower ones
  std::optional<PeerFailure> announced_;
  WaitGraph graph_;
  Beats beats_;
  Clock::time_point next_beat_{};  ///< that neighbours hear of though nobody waits
  bool told_ = false;              ///< a failure was passed on
  bool leaving_ = false;           ///< in meet()
  std::optional<bool> go_;
};

}  // namespace banyan::comm
