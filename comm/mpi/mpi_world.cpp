#include "comm/mpi/mpi_world.hpp"

#include <mpi.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/group.hpp"
#include "comm/group_tree.hpp"
#include "comm/mpi/mpi_transport.hpp"
#include "comm/mpi/native_collectives.hpp"
#include "comm/tcp_lifeline.hpp"
#if BANYAN_WITH_UCX
#include "comm/ucx/ucx_transport.hpp"
#endif
#include "comm/world_base.hpp"
#include "src/base/error.hpp"
#include "src/base/log.hpp"

namespace banyan::comm {
namespace {

constexpr Seconds kShortestMeeting{60};  // before finalizing; ranks may end at different times

constexpr Seconds kLifelineDeadline{20};
[[maybe_unused]] constexpr Seconds kClosing{20};

// Where TCP is closed between the nodes: nobody can be told anything, silence must do.
class NoLifeline final : public Lifeline {
 public:
  void poll() override {}
  const std::optional<PeerFailure>& announced() const override { return nothing_; }
  void announce(const PeerFailure&) override {}
  bool meet(Seconds) override { return false; }
  void leave() override {}

 private:
  const std::optional<PeerFailure> nothing_;
};

class MpiWorld final : public WorldBase {
 public:
  MpiWorld(std::unique_ptr<Transport> transport, MpiTransport& same, std::unique_ptr<Lifeline> lifeline,
           std::vector<Place> places, TransportWrap wrap)
      : WorldBase(std::move(transport), std::move(lifeline), std::move(places)),
        transport_(same),
        wrap_(std::move(wrap)),
        exceptions_(std::uncaught_exceptions()) {}

  ~MpiWorld() override {
    end_background();
    // MPI_Finalize waits for every rank, for ever: only go there together.
    if (std::uncaught_exceptions() > exceptions_ || !healthy()) return;
    const Seconds patience = std::max({kShortestMeeting, options().peer_timeout, PatienceScope::current()});
    if (!last_barrier(patience)) return;
    try {
#if BANYAN_WITH_UCX
      if (ucx_) ucx_->close([&](const std::function<void()>& meanwhile) { meet_over_mpi(meanwhile); });
#endif
      transport_.close();
      MPI_Finalize();
    } catch (const std::exception&) {
      // Nothing is left that could be lost.
    }
  }

  // Where Slurm says the switches are; names too long to tell count as unknown.
  static std::vector<std::string> gather_leaves(int size) {
    using Name = std::array<char, 256>;
    const char *address = std::getenv("SLURM_TOPOLOGY_ADDR"), *pattern = std::getenv("SLURM_TOPOLOGY_ADDR_PATTERN");
    const std::string leaf = address && pattern ? leaf_name(address, pattern) : "";
    Name mine{};
    if (leaf.size() < mine.size()) std::copy(leaf.begin(), leaf.end(), mine.begin());
    std::vector<Name> all(static_cast<std::size_t>(size));
    check_mpi(MPI_Allgather(mine.data(), sizeof(Name), MPI_BYTE, all.data(), sizeof(Name), MPI_BYTE, MPI_COMM_WORLD),
              "MPI_Allgather");
    std::vector<std::string> leaves;
    for (const Name& name : all) leaves.emplace_back(name.data());
    return leaves;
  }

  // Reads what the constructor needs from all ranks; blocking calls are fine before anything is under way.
  static std::vector<Place> gather_places(int size) {
    using HostName = std::array<char, MPI_MAX_PROCESSOR_NAME>;
    HostName mine{};
    int length = 0;
    check_mpi(MPI_Get_processor_name(mine.data(), &length), "MPI_Get_processor_name");
    std::vector<HostName> hosts(static_cast<std::size_t>(size));
    check_mpi(MPI_Allgather(mine.data(), sizeof(HostName), MPI_BYTE, hosts.data(), sizeof(HostName), MPI_BYTE,
                            MPI_COMM_WORLD),
              "MPI_Allgather");

    // A node is what shares memory; its first rank stands for it.
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm shared = MPI_COMM_NULL;
    check_mpi(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &shared),
              "MPI_Comm_split_type");
    int leader = rank;
    check_mpi(MPI_Bcast(&leader, 1, MPI_INT, 0, shared), "MPI_Bcast");
    MPI_Comm_free(&shared);
    std::vector<int> leaders(static_cast<std::size_t>(size));
    check_mpi(MPI_Allgather(&leader, 1, MPI_INT, leaders.data(), 1, MPI_INT, MPI_COMM_WORLD), "MPI_Allgather");
    std::vector<int> nodes = leaders;
    std::sort(nodes.begin(), nodes.end());
    nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());

    const std::vector<int> leaves = number_places(gather_leaves(size));
    std::vector<Place> places;
    for (std::size_t r = 0; r < hosts.size(); ++r) {
      const auto node = std::lower_bound(nodes.begin(), nodes.end(), leaders[r]) - nodes.begin();
      places.push_back({std::string(hosts[r].data()), static_cast<int>(node), leaves[r]});
    }
    return places;
  }

 protected:
  Transport& choose_transport(const WorldOptions& options) override {
    const std::string& name = options.host_transport;
    if (name != "auto" && name != "ucx" && name != "mpi")
      throw ConfigError("comm.host_transport = {} is not known; use auto, ucx or mpi", name);
#if BANYAN_WITH_UCX
    if (name != "mpi" && (over_ucx_ || start_ucx(options))) return *over_ucx_;
#else
    if (name == "ucx")
      throw ConfigError(
          "comm.host_transport = ucx, but this program was built without UCX; build it where UCX (libucx-dev) is "
          "installed, or use auto or mpi");
#endif
    return first_transport();
  }

  std::unique_ptr<NativeCollectives> native_collectives(const std::vector<int>& world_ranks, int id) override {
    return std::make_unique<MpiCollectives>(world_ranks, id);
  }

  std::unique_ptr<NodeMemory> share_memory(const WorldOptions& options) override {
    auto memory = std::make_unique<NodeMemory>();
    memory->of.resize(static_cast<std::size_t>(size()));
    std::string mine;
    try {
      memory->own = Arena::inviting();
      mine = fmt::format("+{}", memory->own->invitation());
    } catch (const CommError& e) {
      mine = fmt::format("-{}", e.what());
    }
    const std::vector<std::string> invitations = tell_all(options, mine, "invitations to shared memory");
    if (!all_agree(invitations, "share memory with its node")) return nullptr;
    mine.assign(1, '+');
    try {
      for (int r = 0; r < size(); ++r) {
        if (node(r) != node(rank())) continue;
        memory->of[static_cast<std::size_t>(r)] =
            r == rank() ? memory->own : Arena::join(invitations[static_cast<std::size_t>(r)].substr(1));
      }
    } catch (const CommError& e) {
      mine = fmt::format("-{}", e.what());
    }
    if (!all_agree(tell_all(options, mine, "shared memory"), "share memory with its node")) return nullptr;
    return memory;
  }

 private:
  // What every rank has to say, over MPI and before anything else is under way.
  std::vector<std::string> tell_all(const WorldOptions& options, const std::string& mine, const char* what) {
    std::vector<int> everyone(static_cast<std::size_t>(size()));
    std::iota(everyone.begin(), everyone.end(), 0);
    Engine plain(transport_, lifeline(), peer_names());
    Group world(plain, {.peer_timeout = options.peer_timeout, .reduce = {}, .copy = copy_host_bytes},
                std::move(everyone), kLeavingGroup, "all ranks");
    try {
      return all_gather_strings(world, mine, what);
    } catch (const std::exception&) {
      learn(plain);
      throw;
    }
  }

  // Whether all answers are "+...".  The first that is not says why after its "-": in the log, where it is a loss only.
  bool all_agree(const std::vector<std::string>& answers, const char* what) const {
    const std::string why = refusal(answers, what);
    if (!why.empty() && rank() == 0) log::warning("{}; messages do instead", why);
    return why.empty();
  }
  std::string refusal(const std::vector<std::string>& answers, const char* what) const {
    for (std::size_t r = 0; r < answers.size(); ++r)
      if (answers[r][0] != '+') return fmt::format("{} cannot {}: {}", peer_names()[r], what, answers[r].substr(1));
    return {};
  }

#if BANYAN_WITH_UCX
  // Everybody learns everybody's address or that somebody has none; then all go together or none goes.
  bool start_ucx(const WorldOptions& options) {
    const bool demanded = options.host_transport == "ucx";
    std::string mine;
    std::unique_ptr<UcxTransport> made;
    try {
      made = std::make_unique<UcxTransport>(
          rank(), size(), UcxOptions{.rendezvous = options.rendezvous, .keepalive = options.peer_timeout / 4});
      mine = fmt::format("+{}", made->address());
    } catch (const CommError& e) {
      mine = fmt::format("-{}", e.what());
    }
    std::vector<std::string> answers = tell_all(options, mine, "their UCX addresses");
    if (demanded && !refusal(answers, "start UCX").empty())
      throw ConfigError("comm.host_transport = ucx, but {}; mend that, or use auto or mpi",
                        refusal(answers, "start UCX"));
    if (!all_agree(answers, "start UCX")) return false;
    for (std::string& answer : answers) answer.erase(0, 1);
    made->connect(std::move(answers));
    ucx_ = made.get();
    over_ucx_ = wrap_(std::move(made));
    return true;
  }

  // All ranks; UCX goes on meanwhile.
  static void meet_over_mpi(const std::function<void()>& meanwhile) {
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(MPI_Ibarrier(MPI_COMM_WORLD, &request), "MPI_Ibarrier");
    const Section section("all ranks to close their connections", kClosing);
    Backoff backoff;
    for (int done = 0;;) {
      check_mpi(MPI_Test(&request, &done, MPI_STATUS_IGNORE), "MPI_Test");
      if (done) return;
      meanwhile();
      section.check();
      backoff.pause();
    }
  }

  std::unique_ptr<Transport> over_ucx_;  // a UcxTransport, perhaps wrapped
  UcxTransport* ucx_ = nullptr;          // the same
#endif
  MpiTransport& transport_;  // the base's, perhaps wrapped
  const TransportWrap wrap_;
  const int exceptions_;
};

// Every rank learns every address and the key, once.  All or none: a lifeline with holes would name the wrong culprit.
std::unique_ptr<Lifeline> connect_lifeline(int rank, int size, bool one_host) {
  std::array<char, 32> key{};
  std::random_device random;
  for (char& c : key) c = static_cast<char>('a' + random() % 26);
  check_mpi(MPI_Bcast(key.data(), key.size(), MPI_BYTE, 0, MPI_COMM_WORLD), "MPI_Bcast");
  auto lifeline = std::make_unique<TcpLifeline>(rank, size, std::string(key.data(), key.size()), one_host);

  using Address = std::array<char, TcpLifeline::kAddressBytes>;
  Address mine{};
  std::copy(lifeline->address().begin(), lifeline->address().end(), mine.begin());
  std::vector<Address> all(static_cast<std::size_t>(size));
  check_mpi(
      MPI_Allgather(mine.data(), sizeof(Address), MPI_BYTE, all.data(), sizeof(Address), MPI_BYTE, MPI_COMM_WORLD),
      "MPI_Allgather");
  std::vector<std::string> addresses;
  for (const Address& a : all) addresses.emplace_back(a.data());
  int connected = lifeline->connect(addresses, kLifelineDeadline);
  check_mpi(MPI_Allreduce(MPI_IN_PLACE, &connected, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD), "MPI_Allreduce");
  if (connected) return lifeline;
  if (rank == 0)
    log::warning("the ranks cannot reach each other by TCP: a lost rank will be noticed after comm.peer_timeout only");
  return std::make_unique<NoLifeline>();
}

/// The level of threads that MPI provides.
int start_mpi(int wanted) {
  int initialized = 0;
  MPI_Initialized(&initialized);
  if (initialized) throw BugError("make_mpi_world was called twice in one process");
  int provided = 0;
  check_mpi(MPI_Init_thread(nullptr, nullptr, wanted, &provided), "MPI_Init_thread");
  return provided;
}

}  // namespace

std::unique_ptr<World> make_simulated_world(const TransportWrap& wrap) {
  start_mpi(MPI_THREAD_SINGLE);
  auto transport = std::make_unique<MpiTransport>(MPI_COMM_WORLD, MpiWaiting::kBlocks);
  MpiTransport& same = *transport;
  auto places = MpiWorld::gather_places(same.size());
  return std::make_unique<MpiWorld>(wrap(std::move(transport)), same, std::make_unique<NoLifeline>(), std::move(places),
                                    wrap);
}

std::unique_ptr<World> make_mpi_world() {
  return make_mpi_world_wrapped([](std::unique_ptr<Transport> t) { return t; });
}

std::unique_ptr<World> make_mpi_world_wrapped(const TransportWrap& wrap) {
  if (start_mpi(MPI_THREAD_SERIALIZED) < MPI_THREAD_SERIALIZED)
    throw CommError(
        "this MPI library gives no MPI_THREAD_SERIALIZED; use one that does, for example Debian's Open MPI");
  auto transport = std::make_unique<MpiTransport>(MPI_COMM_WORLD);
  MpiTransport& same = *transport;
  auto places = MpiWorld::gather_places(same.size());
  const bool one_host = std::all_of(places.begin(), places.end(), [](const auto& p) { return p.node == 0; });
  auto lifeline = connect_lifeline(same.rank(), same.size(), one_host);
  return std::make_unique<MpiWorld>(wrap(std::move(transport)), same, std::move(lifeline), std::move(places), wrap);
}

}  // namespace banyan::comm
