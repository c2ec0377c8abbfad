#include "src/job/local_level.hpp"

#include <algorithm>
#include <exception>
#include <map>
#include <utility>

#include "io/lease.hpp"
#include "src/base/error.hpp"
#include "src/base/log.hpp"
#include "src/base/units.hpp"
#include "src/job/file_exchange.hpp"
#include "src/job/partners.hpp"
#include "src/job/save.hpp"

namespace banyan::job {
namespace {

namespace fs = std::filesystem;

/// Room asked for beyond what is written, as in the run directory.
constexpr double kHeadroom = 1.1;

std::size_t at(int i) { return static_cast<std::size_t>(i); }

}  // namespace

void set_places(LocalOptions& options, const comm::World& world, const std::vector<int>& world_ranks) {
  std::map<int, int> number;  // of the world's nodes, by which they come
  options.node.clear();
  options.leaf.clear();
  for (const int r : world_ranks) {
    const auto [node, fresh] = number.try_emplace(world.node(r), static_cast<int>(number.size()));
    if (fresh) options.leaf.push_back(world.leaf(r));
    options.node.push_back(node->second);
  }
}

LocalLevel::LocalLevel(comm::Communicator& ranks, LocalOptions options, const fs::path& run_dir,
                       const std::string& run_uuid, std::int64_t epoch, Seconds io_limit)
    : ranks_(ranks),
      options_(std::move(options)),
      io_limit_(io_limit),
      epoch_(epoch),
      store_(std::make_shared<io::LocalStore>(options_.directory, run_uuid)),
      leader_(options_.leaf.size(), -1),
      to_(rank_partners(options_.node, options_.leaf)) {
  for (int r = ranks_.size() - 1; r >= 0; --r) leader_[at(options_.node[at(r)])] = r;
  for (int r = 0; r < ranks_.size(); ++r)
    if (to_[at(r)] == ranks_.rank()) sources_.push_back(r);
  const std::string word = leads() ? io::LeaseOwner::self().nonce : "";
  Verdict verdict =
      run_together(ranks_, "the directory of node-local checkpoints", io_limit_, [&](const std::atomic<bool>&) {
        if (!leads()) return;
        store_->open(run_dir, epoch_);
        store_->sign(word);
      });
  if (verdict.ok())
    verdict = run_together(ranks_, "the directory of node-local checkpoints", io_limit_, [&](const std::atomic<bool>&) {
      if (!leads()) return;
      if (store_->shares(word)) throw IoError("{} is the same directory on several nodes", options_.directory);
      for (const std::string& name : store_->sweep_others())
        log::info("removed {} from {}: its run has newer checkpoints, or is gone", name, options_.directory);
    });
  usable_ = verdict.ok();
  if (ranks_.rank() != 0) return;
  if (usable_)
    tell_plan();
  else
    log::warning(
        "no node-local checkpoints, those of run.dir alone: {}; checkpoint.local must name a directory that "
        "every node has for itself",
        verdict.first().message);
}

LocalLevel::~LocalLevel() = default;

std::vector<int> LocalLevel::ranks_of(int node) const {
  std::vector<int> members;
  for (int r = 0; r < ranks_.size(); ++r)
    if (options_.node[at(r)] == node) members.push_back(r);
  return members;
}

void LocalLevel::tell_plan() const {
  const char* const where = io::in_memory(options_.directory) ? " (memory of the nodes)" : "";
  const std::vector<int> partner = node_partners(options_.leaf);
  if (partner.size() < 2) {
    log::info("node-local checkpoints in {}{}: all ranks are on one node, so there are no copies on another",
              options_.directory, where);
    return;
  }
  std::int64_t near = 0;
  for (std::size_t n = 0; n < partner.size(); ++n) near += options_.leaf[n] == options_.leaf[at(partner[n])];
  log::info("node-local checkpoints in {}{}: each of {} nodes has a copy of its part on another one, {}",
            options_.directory, where, partner.size(),
            near == 0 ? "below another switch" : fmt::format("{} of them below the same switch", near));
}

Verdict LocalLevel::reserve(const Save& s, const std::function<void()>& first) {
  std::vector<std::int64_t> all(at(ranks_.size()));
  const std::vector<std::int64_t> ones(all.size(), 1);
  ranks_
      .all_gather({}, View(all.data(), Shape{ranks_.size()}), ConstView(&s.bytes, Shape{1}), ones, "the sizes of files")
      .wait();
  return run_together(ranks_, "preparing a node-local checkpoint", io_limit_, [&](const std::atomic<bool>&) {
    first();
    if (!leads()) return;
    if (tidying_ && !tidying_->wait(io_limit_)) throw IoError("removing old node-local checkpoints does not end");
    tidying_.reset();
    io::remove_tree(s.tmp);
    if (!io::make_directory(s.tmp)) throw IoError("cannot create {}: it is there again", s.tmp.string());
    std::int64_t wanted = 0;
    for (int r = 0; r < ranks_.size(); ++r) {
      if (options_.node[at(r)] == my_node()) wanted += all[at(r)];
      if (to_[at(r)] >= 0 && options_.node[at(to_[at(r)])] == my_node()) wanted += all[at(r)];
    }
    wanted = static_cast<std::int64_t>(static_cast<double>(wanted) * kHeadroom);
    if (const std::int64_t free = io::free_bytes(s.tmp); free < wanted)
      throw IoError("{} has {} free, a node-local checkpoint needs {} there", options_.directory,
                    format_bytes(static_cast<double>(free)), format_bytes(static_cast<double>(wanted)));
  });
}

void LocalLevel::write(Save& s, const std::atomic<bool>& cancel) {
  // Who has nothing to send still has to say so, and to take what others send.
  std::exception_ptr own;
  if (to_[at(ranks_.rank())] >= 0) s.verify = false;  // by who reads it to send it
  try {
    s.write(cancel);
  } catch (const Error&) {
    own = std::current_exception();
  }
  if (options_.leaf.size() > 1) {
    const comm::PatienceScope patience(io_limit_);
    Outgoing out{to_[at(ranks_.rank())], {}, s.written};
    if (!own && !s.mine.empty()) out.path = s.tmp / s.file;
    std::vector<Incoming> in;
    for (const int source : sources_) in.push_back({source, s.tmp});
    const Exchanged passed = exchange_files(*options_.copies, std::span(&out, 1), in, *abandon_);
    if (!own && !passed.problem().empty()) throw IoError("{}", passed.problem());
    if (!own) io::fsync_dir(s.tmp);
  }
  if (own) std::rethrow_exception(own);
}

Verdict LocalLevel::commit(const Save& s, const std::string& manifest) {
  const std::string text = comm::broadcast_string(ranks_, manifest, 0, "the manifest of a node-local checkpoint");
  const Verdict verdict =
      run_together(ranks_, "committing a node-local checkpoint", io_limit_, [&](const std::atomic<bool>&) {
        if (!leads()) return;
        io::write_atomic(s.tmp / io::kManifestName, text);
        store_->store().commit(s.result.name);
      });
  // Only now: before, the one that is to be removed may be the newest that all nodes have.
  if (verdict.ok() && leads())
    tidying_ = std::make_unique<Task>(
        [store = store_, epoch = epoch_, keep = options_.keep, spared = spared_](const std::atomic<bool>&) {
          try {
            store->prune(epoch, keep, spared);
          } catch (const Error& e) {
            log::warning("removing old node-local checkpoints: {}", e.what());
          }
        });
  return verdict;
}

void LocalLevel::discard(const Save& s) {
  run_together(ranks_, "removing an unfinished node-local checkpoint", io_limit_, [&](const std::atomic<bool>&) {
    if (!leads()) return;
    try {
      io::remove_tree(s.tmp);
      io::remove_tree(store_->store().path_of(s.result.name));  // where this node had committed it
    } catch (const Error& e) {
      log::warning("removing an unfinished node-local checkpoint: {}", e.what());
    }
  });
}

void LocalLevel::leave() {
  if (!leads()) return;
  try {
    if (tidying_) tidying_->wait(io_limit_);
    store_->remove();
  } catch (const Error& e) {
    log::warning("removing node-local checkpoints: {}", e.what());
  }
}

}  // namespace banyan::job
