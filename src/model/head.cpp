#include "src/model/head.hpp"

#include <algorithm>

namespace banyan::model {

Head::Head(const StageSpec& spec, ParamStore& store)
    : vocab_(split_range(spec.shape.vocab, spec.tensor_rank, spec.tensor_size)),
      norm_(spec.shape, store, "norm"),
      table_(store.handle(spec.shape.tied ? "embed.token.weight" : "head.weight")) {}

void Head::forward(const Compute& c, const Room& room, const HeadActivations& a, ConstView x, ConstView targets,
                   float loss_scale, bool gradients) const {
  norm_.forward(c, a.norm, x);
  const bool spread = x.shape[0] != targets.shape[0];
  c.tensor.gather(a.norm.normed, c.scratch.gathered, "normed rows of the head");
  const View normed = spread ? c.scratch.gathered : a.norm.normed;

  const std::int64_t rows = targets.shape[0], chunk = room.logits.shape[0];
  {
    const ParamUse table = table_.acquire();
    for (std::int64_t begin = 0; begin < rows; begin += chunk) {
      const std::int64_t end = std::min(rows, begin + chunk);
      const View logits = room.logits.rows(0, end - begin);
      if (vocab_.count() > 0) c.linear_forward(logits, normed.rows(begin, end), table.view(), {});
      cross_entropy(c, room, logits, a.loss.rows(begin, end), targets.rows(begin, end), loss_scale, gradients);
      if (!gradients) continue;
      if (vocab_.count() > 0) {
        c.linear_backward_weight(table_.grad(), logits, normed.rows(begin, end));
        c.linear_backward_input(normed.rows(begin, end), logits, table.view());
      } else {
        c.backend.fill_zero(c.queue, normed.rows(begin, end));
      }
    }
  }
  if (!gradients) return;
  const View d_normed = c.tensor.reduce(normed, "gradient of the head's input");
  if (spread) c.backend.copy(c.queue, a.norm.normed, d_normed);
}

void Head::cross_entropy(const Compute& c, const Room& room, View logits, View loss, ConstView targets,
                         float loss_scale, bool gradients) const {
  const std::int64_t n = loss.shape[0];
  const View s = room.statistics;
  const View here = s.rows(0, n), sum = s.rows(n, 2 * n), target = s.rows(2 * n, 3 * n), lse = s.rows(3 * n, 4 * n);
  const View max = c.tensor.size() > 1 ? s.rows(4 * n, 5 * n) : here;
  c.backend.cross_entropy_stats(c.queue, here, sum, target, logits, targets, vocab_.begin, vocab_.count());
  if (c.tensor.size() > 1) {
    c.backend.copy(c.queue, max, here);
    c.tensor.max(max, "largest logits");
    c.backend.cross_entropy_rescale(c.queue, sum, here, max);
    c.tensor.sum(s.rows(n, 3 * n), "sums of the loss");
  }
  c.backend.cross_entropy_loss(c.queue, loss, lse, max, sum, target, targets);
  if (gradients)
    c.backend.cross_entropy_backward(c.queue, logits, lse, targets, vocab_.begin, vocab_.count(), loss_scale);
}

void Head::backward(const Compute& c, const HeadActivations& a, ConstView x, View d_stream) const {
  c.backend.fill_zero(c.queue, d_stream);
  norm_.backward(c, a.norm, d_stream, a.norm.normed, x);
}

void Head::logits(const Compute& c, const NormActivations& norm, ConstView x, View logits) const {
  if (vocab_.count() == 0) return;
  norm_.forward(c, norm, x);
  const ParamUse table = table_.acquire();
  c.linear_forward(logits, norm.normed, table.view(), {});
}

}  // namespace banyan::model
