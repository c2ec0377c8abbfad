// Barriers, warp operations and fences: who waits for whom, and what each of them orders.
#include <cstdio>
#include <cstring>
#include <string>

#include "tests/cuda_host/grid.hpp"
#include "tests/cuda_host/sanitizers.hpp"

namespace emu {
namespace {

char fence_order;  // fences are one object: coarser than CUDA's memory model

std::string text(Site s) { return std::string(s.file) + ":" + std::to_string(s.line); }

void release_barrier(Block& b) {
  int& result = b.vote_result[b.generation & 1];
  result = b.vote == Vote::kAnd ? b.votes == b.arrived : b.vote == Vote::kOr ? b.votes != 0 : b.votes;
  b.arrived = b.votes = 0;
  ++b.generation;
  for (Thread* t : b.threads)
    if (t->state == State::kBarrier) wake(t);
}

}  // namespace

const char* name_of(WarpOp op) {
  constexpr const char* names[] = {"__syncwarp",       "__shfl_sync",     "__shfl_up_sync",
                                   "__shfl_down_sync", "__shfl_xor_sync", "__ballot_sync",
                                   "__reduce_sync",    "ldmatrix",        "mma"};
  return names[static_cast<int>(op)];
}

void fail(const std::string& what, Site site) {
  if (!current) {
    std::fprintf(stderr, "cuda_host: %s, outside of a kernel\n", what.c_str());
    std::abort();
  }
  const Thread* t = current;
  const auto triple = [](uint3 i) {
    return "(" + std::to_string(i.x) + "," + std::to_string(i.y) + "," + std::to_string(i.z) + ")";
  };
  report(what + " at " + text(site) + ", block " + triple(t->block->index) + " thread " + triple(t->index));
  abandon_launch();
}

unsigned lane_id() { return current->lane; }

int sync_threads(Site site, Vote vote, int predicate) {
  Thread* t = current;
  Block& b = *t->block;
  if (b.any_exited) fail("__syncthreads() after other threads of the block have exited", site);
  if (b.arrived == 0) {
    b.site = site;
    b.vote = vote;
  } else if (b.site.line != site.line || std::strcmp(b.site.file, site.file) != 0) {
    fail("divergent __syncthreads(): other threads wait at " + text(b.site) + ", this one", site);
  }
  ++b.arrived;
  b.votes += predicate != 0;
  const std::uint32_t generation = b.generation;
  t->state = State::kBarrier;
  t->site = site;
  sanitizer::release(&b.order[generation & 1]);
  if (b.arrived == b.alive) release_barrier(b);
  yield_now();
  sanitizer::acquire(&b.order[generation & 1]);
  return b.vote_result[generation & 1];
}

void try_release(Block& b, Warp& w, MaskGroup& g) {
  if (!g.arrived || ((g.arrived | w.exited) & g.mask) != g.mask) return;
  g.exchange[g.generation & 1].present = g.arrived;
  g.arrived = 0;
  ++g.generation;
  for (Thread* t : b.threads)
    if (t->warp == &w && t->state == State::kWarp && t->group == &g) wake(t);
}

const Exchange& warp_exchange(WarpOp op, unsigned mask, std::uint64_t value, Site site, const std::uint32_t* words) {
  Thread* t = current;
  Warp& w = *t->warp;
  if (!(mask >> t->lane & 1)) fail("warp operation: calling lane is not in its mask", site);
  MaskGroup* g = nullptr;
  for (int i = 0; i < w.group_count; ++i)
    if (w.groups[i].mask == mask) g = &w.groups[i];
  if (!g) {
    if (w.group_count == Warp::kMostGroups) fail("more different masks in one warp than the layer follows", site);
    g = &w.groups[w.group_count++];
    g->mask = mask;
  }
  if (!g->arrived) {
    g->op = op;
    g->site = site;
  } else if (g->op != op) {
    fail(std::string("warp divergence: other lanes are in ") + name_of(g->op) + " at " + text(g->site) +
             ", this one in " + name_of(op),
         site);
  }
  g->arrived |= 1u << t->lane;
  const std::uint32_t generation = g->generation;
  g->exchange[generation & 1].value[t->lane] = value;
  if (words) {
    volatile std::uint32_t* const to =
        g->exchange[generation & 1].word[t->lane];  // no call, which sanitizers would see
    for (int i = 0; i < 6; ++i) to[i] = words[i];
  }
  t->state = State::kWarp;
  t->group = g;
  t->site = site;
  if (op == WarpOp::kSyncwarp) sanitizer::release(&g->order[generation & 1]);  // shuffles do not order memory
  try_release(*t->block, w, *g);
  yield_now();
  if (op == WarpOp::kSyncwarp) sanitizer::acquire(&g->order[generation & 1]);
  return g->exchange[generation & 1];
}

std::uint64_t lane_value(const Exchange& all, int lane) { return all.value[lane]; }
unsigned lanes_present(const Exchange& all) { return all.present; }

void check_lane(const Exchange& all, WarpOp op, unsigned mask, int source, Site site) {
  if (all.present >> source & 1) return;
  fail(std::string(name_of(op)) + " reads lane " + std::to_string(source) +
           (mask >> source & 1 ? ", which has exited," : ", which is not in the mask,"),
       site);
}

void fence() {
  sanitizer::acquire(&fence_order);
  sanitizer::release(&fence_order);
}

}  // namespace emu
