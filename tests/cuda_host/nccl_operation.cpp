#include "tests/cuda_host/nccl_operation.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "tests/cuda_host/emulation.hpp"

namespace emu {
namespace {

/// a = a op b in the arithmetic of NCCL's kernels: each pair in fp32 where the type is narrower, and rounded.
template <class T>
void fold(T* a, const T* b, std::size_t n, ncclRedOp_t op) {
  for (std::size_t i = 0; i < n; ++i)
    a[i] = op == ncclSum ? static_cast<T>(a[i] + b[i]) : op == ncclMax ? std::max(a[i], b[i]) : std::min(a[i], b[i]);
}
void fold(__nv_bfloat16* a, const __nv_bfloat16* b, std::size_t n, ncclRedOp_t op) {
  for (std::size_t i = 0; i < n; ++i) {
    float x = __bfloat162float(a[i]);
    const float y = __bfloat162float(b[i]);
    fold(&x, &y, 1, op);
    a[i] = __float2bfloat16(x);
  }
}

template <class T>
void fold_as(char* a, const char* b, std::size_t n, ncclRedOp_t op) {
  fold(reinterpret_cast<T*>(a), reinterpret_cast<const T*>(b), n, op);
}

void fold_bytes(char* a, const char* b, std::size_t n, ncclDataType_t type, ncclRedOp_t op) {
  switch (type) {
    case ncclInt8:
      return fold_as<std::int8_t>(a, b, n, op);
    case ncclUint8:
      return fold_as<std::uint8_t>(a, b, n, op);
    case ncclInt32:
      return fold_as<std::int32_t>(a, b, n, op);
    case ncclUint32:
      return fold_as<std::uint32_t>(a, b, n, op);
    case ncclInt64:
      return fold_as<std::int64_t>(a, b, n, op);
    case ncclUint64:
      return fold_as<std::uint64_t>(a, b, n, op);
    case ncclFloat32:
      return fold_as<float>(a, b, n, op);
    case ncclFloat64:
      return fold_as<double>(a, b, n, op);
    case ncclBfloat16:
      return fold_as<__nv_bfloat16>(a, b, n, op);
    default:
      report("NCCL: a reduction of a type that is not emulated");
  }
}

/// CUDAEMU_NCCL=hangs: calls that do not fit wait for ever, as they do on GPUs, instead of being reported.
bool hangs() {
  static const bool value = std::getenv("CUDAEMU_NCCL") && std::string(std::getenv("CUDAEMU_NCCL")) == "hangs";
  return value;
}

bool reduces(NcclKind k) {
  return k == NcclKind::kAllReduce || k == NcclKind::kReduce || k == NcclKind::kReduceScatter;
}

}  // namespace

std::size_t nccl_width(ncclDataType_t type) {
  switch (type) {
    case ncclInt8:
    case ncclUint8:
      return 1;
    case ncclBfloat16:
      return 2;
    case ncclInt32:
    case ncclUint32:
    case ncclFloat32:
      return 4;
    case ncclInt64:
    case ncclUint64:
    case ncclFloat64:
      return 8;
    default:
      return 0;
  }
}

std::string nccl_text(const NcclTerms& t) {
  constexpr const char* kNames[] = {"AllReduce", "Reduce", "ReduceScatter", "AllGather", "Broadcast", "Send", "Recv"};
  std::string s = std::string("nccl") + kNames[static_cast<int>(t.kind)] + " of " + std::to_string(t.count) +
                  " elements of type " + std::to_string(t.type);
  if (reduces(t.kind)) s += ", operation " + std::to_string(t.op);
  if (t.kind == NcclKind::kReduce || t.kind == NcclKind::kBroadcast) s += ", root " + std::to_string(t.root);
  return s;
}

void NcclState::fail(ncclResult_t code, const std::string& why) {
  if (error != ncclSuccess) return;
  error = code;
  last_error = why;
}

NcclOperation::NcclOperation(std::shared_ptr<NcclState> state, std::vector<NcclCall> calls, bool grouped)
    : state_(std::move(state)), grouped_(grouped) {
  for (NcclCall& c : calls) parts_.push_back({std::move(c), {}});
  ++state_->unfinished;
}

NcclOperation::~NcclOperation() { --state_->unfinished; }

bool NcclOperation::step() {
  if (lost_ && !state_->aborted) return false;
  bool done = state_->aborted;
  if (!done) {
    if (!std::exchange(begun_, true)) {
      if (!to_itself()) return false;
      for (Part& p : parts_) begin(p);
    }
    state_->wire->progress();
    bool collectives_done = true;  // those of a group one after the other
    for (Part& p : parts_) {
      if (!p.done && (p.call.peer >= 0 || collectives_done)) p.done = advance(p);
      if (lost_) return false;
      collectives_done = collectives_done && (p.call.peer >= 0 || p.done);
    }
    done = std::all_of(parts_.begin(), parts_.end(), [](const Part& p) { return p.done; });
    if (!done && !state_->wire->failure().empty()) state_->fail(ncclRemoteError, state_->wire->failure());
  }
  return done;
}

// Messages to oneself meet inside their group, or never.
bool NcclOperation::to_itself() {
  for (Part& s : parts_) {
    if (s.done || s.call.peer != state_->rank || s.call.terms.kind != NcclKind::kSend) continue;
    const auto meets = [&](const Part& r) {
      return !r.done && r.call.peer == state_->rank && r.call.terms.kind == NcclKind::kReceive;
    };
    const auto r = std::find_if(parts_.begin(), parts_.end(), meets);
    if (r == parts_.end() || r->call.terms.count != s.call.terms.count) {
      disagree("NCCL: a send to oneself that no receive of its group meets");
      return false;
    }
    std::memmove(r->call.out, s.call.in, s.call.terms.count * nccl_width(s.call.terms.type));
    s.done = r->done = true;
  }
  return true;
}

void NcclOperation::begin(Part& part) {
  if (part.done) return;
  const NcclCall& c = part.call;
  const std::size_t width = nccl_width(c.terms.type), bytes = c.terms.count * width;
  Frame::Header header{.grouped = grouped_, .terms = c.terms};
  if (c.peer >= 0) {
    header.kind = c.terms.kind == NcclKind::kSend ? Frame::kAnnounce : Frame::kCredit;
    return state_->wire->send(c.peer, header);
  }
  header.kind = Frame::kOperand;
  const bool scatters = c.terms.kind == NcclKind::kReduceScatter;
  for (int r = 0; r < state_->size; ++r) {
    if (r == state_->rank) continue;
    // Also who needs no data is told what is asked, so that it notices when it was asked for something else.
    const bool needs = c.terms.kind == NcclKind::kReduce      ? r == c.terms.root
                       : c.terms.kind == NcclKind::kBroadcast ? state_->rank == c.terms.root
                                                              : true;
    header.bytes = needs ? bytes : 0;
    state_->wire->send(r, header, needs ? c.in + (scatters ? static_cast<std::size_t>(r) * bytes : 0) : nullptr);
  }
  // Outputs may overlap inputs.
  part.operands.resize(static_cast<std::size_t>(state_->size));
  const char* own = c.in + (scatters ? static_cast<std::size_t>(state_->rank) * bytes : 0);
  if (c.in && bytes > 0) part.operands[static_cast<std::size_t>(state_->rank)].assign(own, own + bytes);
}

bool NcclOperation::advance(Part& part) {
  switch (part.call.terms.kind) {
    case NcclKind::kSend:
      return advance_send(part);
    case NcclKind::kReceive:
      return advance_receive(part);
    default:
      return advance_collective(part);
  }
}

bool NcclOperation::advance_collective(Part& part) {
  Wire& wire = *state_->wire;
  for (int r = 0; r < state_->size; ++r) {
    if (r == state_->rank) continue;
    const auto& queue = wire.operands(r);
    if (queue.empty()) {
      for (const auto* messages : {&wire.announced(r), &wire.credits(r)})
        if (!messages->empty() && !grouped_) mismatch(part.call.terms, r, messages->front().header.terms);
      return false;
    }
    if (queue.front().header.terms != part.call.terms) {
      mismatch(part.call.terms, r, queue.front().header.terms);
      return false;
    }
  }
  for (int r = 0; r < state_->size; ++r) {
    if (r == state_->rank) continue;
    part.operands[static_cast<std::size_t>(r)] = std::move(wire.operands(r).front().data);
    wire.operands(r).pop_front();
  }
  combine(part);
  return true;
}

void NcclOperation::combine(Part& part) {
  const NcclCall& c = part.call;
  const std::size_t bytes = c.terms.count * nccl_width(c.terms.type);
  if (bytes == 0) return;
  auto& all = part.operands;
  if (c.terms.kind == NcclKind::kAllGather) {
    for (std::size_t r = 0; r < all.size(); ++r) std::memcpy(c.out + r * bytes, all[r].data(), bytes);
  } else if (c.terms.kind == NcclKind::kBroadcast) {
    std::memcpy(c.out, all[static_cast<std::size_t>(c.terms.root)].data(), bytes);
  } else if (c.terms.kind != NcclKind::kReduce || c.terms.root == state_->rank) {
    for (std::size_t r = 1; r < all.size(); ++r)
      fold_bytes(all[0].data(), all[r].data(), c.terms.count, c.terms.type, c.terms.op);
    std::memcpy(c.out, all[0].data(), bytes);
  }
}

bool NcclOperation::advance_send(Part& part) {
  Wire& wire = *state_->wire;
  const NcclCall& c = part.call;
  if (wire.credits(c.peer).empty()) {
    if (!grouped_ && !wire.announced(c.peer).empty() && !wire.announced(c.peer).front().header.grouped)
      disagree("NCCL: rank " + std::to_string(state_->rank) + " and rank " + std::to_string(c.peer) +
               " send to each other outside of a group: neither comes to its receive");
    else if (!wire.operands(c.peer).empty() && !grouped_)
      mismatch(c.terms, c.peer, wire.operands(c.peer).front().header.terms);
    return false;
  }
  const NcclTerms theirs = wire.credits(c.peer).front().header.terms;
  wire.credits(c.peer).pop_front();
  if (theirs.count != c.terms.count || theirs.type != c.terms.type) {
    mismatch(c.terms, c.peer, theirs);
    return false;
  }
  wire.send(c.peer, {.kind = Frame::kMessage, .terms = c.terms, .bytes = c.terms.count * nccl_width(c.terms.type)},
            c.in);
  return true;
}

bool NcclOperation::advance_receive(Part& part) {
  Wire& wire = *state_->wire;
  const NcclCall& c = part.call;
  if (wire.messages(c.peer).empty()) {
    if (!grouped_ && wire.announced(c.peer).empty() && !wire.operands(c.peer).empty())
      mismatch(c.terms, c.peer, wire.operands(c.peer).front().header.terms);
    return false;
  }
  const Frame message = std::move(wire.messages(c.peer).front());
  wire.messages(c.peer).pop_front();
  wire.announced(c.peer).pop_front();
  std::memcpy(c.out, message.data.data(), message.data.size());
  return true;
}

void NcclOperation::mismatch(const NcclTerms& mine, int peer, const NcclTerms& theirs) {
  disagree("NCCL: rank " + std::to_string(state_->rank) + " is in " + nccl_text(mine) + ", rank " +
           std::to_string(peer) + " in " + nccl_text(theirs));
}

void NcclOperation::disagree(const std::string& what) {
  lost_ = true;
  if (!hangs()) report(what);
}

}  // namespace emu
