#include "comm/group.hpp"

#include <algorithm>
#include <exception>
#include <numeric>
#include <utility>

#include "comm/plans/choose.hpp"
#include "comm/plans/to_messages.hpp"
#include "comm/shared/window_operation.hpp"
#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

constexpr std::size_t kPlansKept = 256;
constexpr std::size_t kQuickBytes = 8 << 10;
constexpr int kQuickLooks = 100;                // at a window, before waiting is put up as an operation
constexpr int kQuickMessageLooks = 50;          // at a message that was posted just now: less than half a microsecond
constexpr unsigned kQuickPerLook = 32;          // at everything else that is under way
constexpr std::uint32_t kNumberStride = 40503;  // between the uses of a tag; odd, and more than a collective's messages

std::int64_t sum(std::span<const std::int64_t> counts) {
  return std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
}

void check_memory(const ConstView& view, std::string_view call) {
  if (view.kind == MemoryKind::kDevice) throw BugError("{} of device memory needs a host copy first", call);
  if (!view.contiguous()) throw BugError("{} of a view with gaps between its rows", call);
  if (!view.data && view.count() > 0) throw BugError("{} of a view without memory", call);
}

void check_view(const ConstView& view, std::int64_t count, std::string_view call) {
  check_memory(view, call);
  if (view.count() != count)
    throw BugError("{}: the view has {} elements, the counts say {}", call, view.count(), count);
}

void check_counts(std::span<const std::int64_t> counts, int size, std::string_view call) {
  if (static_cast<int>(counts.size()) != size) throw BugError("{}: {} counts for {} ranks", call, counts.size(), size);
  for (std::int64_t c : counts)
    if (c < 0) throw BugError("{}: negative count {}", call, c);
}

// Plans read their input through a View; only a reduce-scatter, whose caller hands in a View, writes to it.
View readable(const ConstView& v) { return View(const_cast<std::byte*>(v.data), v.dtype, {v.count()}, v.kind); }

// Stands for a collective that is left to the library.
const std::shared_ptr<const Plan> kLibrary =
    std::make_shared<const Plan>(Plan{.name = std::string(kNative), .steps = {}});

}  // namespace

Group::Group(Engine& engine, GroupOptions options, std::vector<int> world_ranks, int id, std::string name)
    : engine_(engine),
      options_(std::move(options)),
      world_ranks_(std::move(world_ranks)),
      id_(id),
      name_(std::make_shared<const std::string>(std::move(name))),
      exceptions_(std::uncaught_exceptions()) {
  const Transport& transport = engine_.transport();
  if (id < 0 || id > kLeavingGroup) throw BugError("{}: group id {} is not in 0 .. {}", *name_, id, kMaxGroupId);
  for (std::size_t i = 0; i < world_ranks_.size(); ++i) {
    const int r = world_ranks_[i];
    if (r < 0 || r >= transport.size()) throw BugError("{}: no rank {} in a world of {}", *name_, r, transport.size());
    if (std::count(world_ranks_.begin(), world_ranks_.end(), r) != 1) throw BugError("{}: rank {} twice", *name_, r);
    if (r == transport.rank()) rank_ = static_cast<int>(i);
  }
  if (rank_ < 0) throw BugError("{}: rank {} makes a group it is not in", *name_, transport.rank());
}

Group::~Group() {
  // While an exception unwinds, buffers of operations in flight may be gone before this.
  if (std::uncaught_exceptions() > exceptions_) engine_.give_up(*name_ + " was left in the middle of its work");
  for (const auto& weak : in_flight_)
    if (const auto operation = weak.lock()) engine_.drop(operation);
  for (const auto& message : messages_) engine_.drop(message);
}

std::string Group::peer_name(int member) const {
  return engine_.peer_name(world_ranks_.at(static_cast<std::size_t>(member)));
}

void Group::progress() {
  try {
    engine_.progress();
  } catch (...) {
    const Section section("messages of " + *name_);
    throw;
  }
}

void Group::start(const std::shared_ptr<Operation>& operation) {
  try {
    engine_.start(operation);
  } catch (...) {
    const Section section(operation->what());
    throw;
  }
}

void Group::remember(std::shared_ptr<Operation> operation) {
  if (operation->done()) return;
  if (in_flight_.size() >= 64 && in_flight_.size() == in_flight_.capacity())
    std::erase_if(in_flight_, [](const auto& weak) {
      const auto o = weak.lock();
      return !o || o->done();
    });
  in_flight_.push_back(std::move(operation));
}

void Group::use_plans(const GroupPlans& plans) {
  if (plans.size != size()) throw BugError("{}: plans for {} members, the group has {}", *name_, plans.size, size());
  bool native = false;
  for (const auto& ranges : plans.ranges)
    native |= std::any_of(ranges.begin(), ranges.end(), [](const auto& r) { return r.recipe.algorithm == kNative; });
  const std::lock_guard lock(engine_.mutex());
  if (engine_.failed()) engine_.progress();  // throws why
  if (native && !native_ && size() > 1) {
    if (!options_.native) throw BugError("{}: no library for collectives was given", *name_);
    native_ = options_.native(world_ranks_, id_);
  }
  chosen_ = plans;
  plans_.clear();
  recent_ = {};
}

Recipe Group::recipe(const Call& call) const {
  return chosen_ ? chosen_->recipe(call.kind, total_bytes(call)) : choose(call, !options_.arenas.empty());
}

std::shared_ptr<const Plan> Group::make(const Recipe& recipe, const Call& call) const {
  if (recipe.algorithm == kNative && native_) return kLibrary;
  // A group of one has nobody to ask the library with.
  const bool window = !options_.arenas.empty();
  Recipe done = recipe.algorithm == kNative ? choose(call, window) : recipe;
  // A plan recorded where messages carried it may have larger pieces; in "direct" no bit depends on their size.
  if (window && done.algorithm == "direct")
    done.piece_bytes = std::min(done.piece_bytes, static_cast<std::int64_t>(SharedWindow::kPieceBytes));
  Plan plan = make_plan(done, call, chosen_ ? chosen_->tree : GroupTree{}, rank_);
  return std::make_shared<const Plan>(window ? std::move(plan) : to_messages(std::move(plan)));
}

Call Group::call(const Asked& asked) const {
  return {.kind = asked.kind,
          .size = size(),
          .counts = {asked.counts.begin(), asked.counts.end()},
          .in_counts = {asked.in_counts.begin(), asked.in_counts.end()},
          .root = asked.root,
          .element_bytes = asked.element_bytes};
}

std::shared_ptr<const Plan> Group::plan(const Asked& asked) {
  const auto fresh = [&] {
    const Call c = call(asked);
    return make(recipe(c), c);
  };
  Recent& recent = recent_[static_cast<std::size_t>(asked.kind)];
  if (recent.plan && recent.element_bytes == asked.element_bytes && recent.root == asked.root &&
      std::ranges::equal(asked.counts, recent.counts) && std::ranges::equal(asked.in_counts, recent.in_counts))
    return recent.plan;
  recent = {asked.element_bytes,
            asked.root,
            {asked.counts.begin(), asked.counts.end()},
            {asked.in_counts.begin(), asked.in_counts.end()},
            {}};
  // Counts known at run time hardly come again later.
  if (asked.kind == Kind::kAllToAll) return recent.plan = fresh();
  std::vector<std::int64_t> key{static_cast<std::int64_t>(asked.kind), static_cast<std::int64_t>(asked.element_bytes),
                                asked.root};
  key.insert(key.end(), asked.counts.begin(), asked.counts.end());
  const auto found = plans_.find(key);
  if (found != plans_.end()) return recent.plan = found->second;
  if (plans_.size() >= kPlansKept) plans_.clear();
  return recent.plan = plans_[key] = fresh();
}

Event Group::collective(const Asked& asked, std::string_view what, Execution execution) {
  const char* name = name_of(asked.kind).data();  // of a literal
  execution.plan = plan(asked);
  if (execution.plan != kLibrary) return execute(name, what, std::move(execution));
  Call c = call(asked);
  NativeCall native{.kind = c.kind,
                    .input = execution.input,
                    .output = execution.output,
                    .counts = c.counts,
                    .in_counts = c.in_counts,
                    .root = c.root,
                    .op = execution.op};
  if (!native_->takes(native)) {
    execution.plan = make(choose(c, !options_.arenas.empty()), c);
    return execute(name, what, std::move(execution));
  }
  const std::lock_guard lock(engine_.mutex());
  if (engine_.failed()) engine_.progress();  // throws why
  auto operation = native_->make(engine_, std::move(native), label(name, what), options_.peer_timeout);
  start(operation);
  if (operation->done()) return {};
  remember(operation);
  return Event(operation);
}

Event Group::execute(const char* call, std::string_view what, Execution execution) {
  execution.world_ranks = &world_ranks_;
  execution.reduce = &options_.reduce;
  execution.copy = &options_.copy;
  if (execution.plan->folds()) return execute_on_window(call, what, std::move(execution));
  const std::uint64_t sequence = sequence_++;
  // Tags repeat after kSequences collectives: the one that used this tag before must be over.
  auto& same_tag = by_sequence_[sequence % kSequences];
  if (const auto before = same_tag.lock(); before && !before->done()) before->wait();
  execution.tag = Tag::collective(id_, sequence);
  // A message left over from the tag's last use must not pass for one of this use.
  execution.first_number = static_cast<std::uint32_t>(sequence / kSequences) * kNumberStride;
  auto operation =
      std::make_shared<PlanOperation>(engine_, std::move(execution), label(call, what), options_.peer_timeout);
  start(operation);
  if (operation->done()) return {};
  same_tag = operation;
  remember(operation);
  return Event(operation);
}

// Little data among ranks that are all there takes less time than putting an operation up: that is looked for first.
Event Group::execute_on_window(const char* call, std::string_view what, Execution execution) {
  const std::lock_guard lock(engine_.mutex());
  if (!window_) window_ = std::make_shared<SharedWindow>(options_.arenas, rank_, options_.window_key);
  const bool quick = execution.output.bytes() + execution.input.bytes() <= kQuickBytes;
  WindowRun run(engine_, std::move(execution), window_);
  try {
    if (engine_.failed() || ++quick_ % kQuickPerLook == 0) engine_.progress();
    for (int i = 0; quick && i < kQuickLooks; ++i) {
      if (!run.advance()) spin_once();
      if (run.done()) return {};
    }
  } catch (const std::exception& e) {
    engine_.give_up(e.what());
    throw;
  }
  auto operation = std::make_shared<WindowOperation>(engine_, std::move(run), label(call, what), options_.peer_timeout);
  start(operation);
  if (operation->done()) return {};
  remember(operation);
  return Event(operation);
}

Event Group::all_reduce(Queue q, View inout, ReduceOp op, std::string_view what) {
  check_view(inout, inout.count(), "all-reduce");
  if (!options_.reduce) throw BugError("all-reduce before World::configure gave a reduction");
  const std::int64_t count = inout.count();
  return collective({Kind::kAllReduce, size_of(inout.dtype), 0, {&count, 1}}, what,
                    {.plan = {}, .tag = {}, .input = {}, .output = inout, .op = op, .queue = q});
}

Event Group::reduce_scatter(Queue q, View out, View in_scratch, std::span<const std::int64_t> counts, ReduceOp op,
                            std::string_view what) {
  check_counts(counts, size(), "reduce-scatter");
  check_view(in_scratch, sum(counts), "reduce-scatter");
  check_view(out, counts[static_cast<std::size_t>(rank_)], "reduce-scatter");
  if (out.dtype != in_scratch.dtype)
    throw BugError("reduce-scatter from {} to {}", name_of(in_scratch.dtype), name_of(out.dtype));
  if (!options_.reduce) throw BugError("reduce-scatter before World::configure gave a reduction");
  return collective({Kind::kReduceScatter, size_of(out.dtype), 0, counts}, what,
                    {.plan = {}, .tag = {}, .input = in_scratch, .output = out, .op = op, .queue = q});
}

Event Group::all_gather(Queue q, View out, ConstView in, std::span<const std::int64_t> counts, std::string_view what) {
  check_counts(counts, size(), "all-gather");
  check_view(in, counts[static_cast<std::size_t>(rank_)], "all-gather");
  check_view(out, sum(counts), "all-gather");
  if (out.dtype != in.dtype) throw BugError("all-gather from {} to {}", name_of(in.dtype), name_of(out.dtype));
  return collective({Kind::kAllGather, size_of(out.dtype), 0, counts}, what,
                    {.plan = {}, .tag = {}, .input = readable(in), .output = out, .queue = q});
}

Event Group::all_to_all_v(Queue q, View out, std::span<const std::int64_t> out_counts, ConstView in,
                          std::span<const std::int64_t> in_counts, std::string_view what) {
  check_counts(out_counts, size(), "all-to-all");
  check_counts(in_counts, size(), "all-to-all");
  check_view(in, sum(in_counts), "all-to-all");
  check_view(out, sum(out_counts), "all-to-all");
  if (out.dtype != in.dtype) throw BugError("all-to-all from {} to {}", name_of(in.dtype), name_of(out.dtype));
  const auto self = static_cast<std::size_t>(rank_);
  if (out_counts[self] != in_counts[self])
    throw BugError("all-to-all: {} elements to itself, {} from itself", in_counts[self], out_counts[self]);
  return collective({Kind::kAllToAll, size_of(out.dtype), 0, out_counts, in_counts}, what,
                    {.plan = {}, .tag = {}, .input = readable(in), .output = out, .queue = q});
}

Event Group::broadcast(Queue q, View inout, int root, std::string_view what) {
  check_view(inout, inout.count(), "broadcast");
  if (root < 0 || root >= size()) throw BugError("broadcast from rank {} of {}", root, size());
  const std::int64_t count = inout.count();
  return collective({Kind::kBroadcast, size_of(inout.dtype), root, {&count, 1}}, what,
                    {.plan = {}, .tag = {}, .input = {}, .output = inout, .queue = q});
}

void Group::barrier(std::string_view what) {
  collective({Kind::kBarrier, 1, 0}, what, {.plan = {}, .tag = {}, .input = {}, .output = {}, .queue = {}}).wait();
}

Event Group::message(bool sends, std::span<std::byte> data, int peer, int channel, std::string_view what) {
  if (peer < 0 || peer >= size()) throw BugError("{}: no member {} of {}", *name_, peer, size());
  if (channel < 0 || channel > kMaxChannel)
    throw BugError("{}: channel {} is not in 0 .. {}", *name_, channel, kMaxChannel);
  const std::lock_guard lock(engine_.mutex());
  if (engine_.failed()) progress();  // throws why
  const std::uint64_t stream =
      static_cast<std::uint64_t>(peer) << 11 | static_cast<std::uint64_t>(channel) << 1 | sends;
  // Most messages go or come where the last one did.
  Stream& last = last_stream_[sends];
  if (!last.count || last.key != stream) last = {stream, &streams_[stream]};
  std::uint32_t& sequence = *last.count;
  Transport& transport = engine_.transport();
  Message message{
      .peer = world_ranks_[static_cast<std::size_t>(peer)], .tag = Tag::channel(id_, channel), .data = data.data()};
  std::shared_ptr<MessageOperation> operation;
  for (std::size_t left = data.size();; left -= message.bytes, message.data += message.bytes) {
    message.bytes = std::min(kLargestMessage, left);
    message.sequence = sequence++;
    Request* request = sends ? transport.send(message) : transport.receive(message);
    // Little that is about to come takes less time than putting an operation up.
    for (int i = 0;
         i < kQuickMessageLooks && message.bytes <= kQuickBytes && request->state() == Request::State::kPending; ++i)
      transport.progress();
    if (!operation) {
      if (left == message.bytes && request->state() == Request::State::kDone) {
        transport.release(request);
        return {};
      }
      operation = idle_message();
      operation->reuse(message.peer, sends ? "send of" : "receive of", what);
    }
    operation->add(request);
    if (left == message.bytes) break;
  }
  // A message that was not there when it was asked for is not there now.
  if (sends)
    start(operation);
  else
    engine_.adopt(operation);
  return operation->done() ? Event{} : Event(std::move(operation));
}

std::shared_ptr<MessageOperation> Group::idle_message() {
  for (std::size_t i = 0; i < messages_.size(); ++i, next_message_ = (next_message_ + 1) % messages_.size())
    if (messages_[next_message_].use_count() == 1) return messages_[next_message_];
  next_message_ = messages_.size();
  return messages_.emplace_back(
      std::make_shared<MessageOperation>(engine_, std::vector<Request*>{}, -1, label("", ""), options_.peer_timeout));
}

Event Group::send(Queue, ConstView in, int peer, int channel, std::string_view what) {
  check_memory(in, "send");
  return message(true, {const_cast<std::byte*>(in.data), in.bytes()}, peer, channel, what);
}

Event Group::receive(Queue, View out, int peer, int channel, std::string_view what) {
  check_memory(out, "receive");
  return message(false, {out.data, out.bytes()}, peer, channel, what);
}

std::shared_ptr<const void> Group::pin(ConstView memory) {
  check_memory(memory, "pin");
  const std::lock_guard lock(engine_.mutex());
  if (engine_.failed() || memory.bytes() == 0) return {};
  engine_.transport().pin(memory.data, memory.bytes());
  return {memory.data, [&engine = engine_](const void* data) {
            const std::lock_guard until_done(engine.mutex());
            // After a failure messages may be under way still; the process ends soon.
            if (!engine.failed() && std::uncaught_exceptions() == 0)
              engine.transport().unpin(static_cast<const std::byte*>(data));
          }};
}

}  // namespace banyan::comm
