#include "src/model/embedding.hpp"

#include "src/model/params.hpp"

namespace banyan::model {

Embedding::Embedding(const StageSpec& spec, ParamStore& store)
    : vocab_begin_(split_range(spec.shape.vocab, spec.tensor_rank, spec.tensor_size).begin),
      has_rows_(split_range(spec.shape.vocab, spec.tensor_rank, spec.tensor_size).count() > 0),
      token_(store.handle("embed.token.weight")),
      position_(store.handle("embed.position.weight")) {}

void Embedding::forward(const Compute& c, const Rows& rows, ConstView tokens, View out) const {
  // With sequence parallelism every rank looks up all rows in its part of the table and keeps the sum of its own rows.
  const bool spread = rows.stream_count != rows.count;
  const View looked_up = spread ? matrix_in(c.scratch.partial, rows.count, out.shape[1]) : out;
  if (has_rows_) {
    const ParamUse table = token_.acquire();
    c.backend.embedding_forward(c.queue, looked_up, tokens, table.view(), vocab_begin_);
  } else {
    c.backend.fill_zero(c.queue, looked_up);
  }
  const View sum = c.tensor.reduce(looked_up, "embedded tokens");
  if (spread) c.backend.copy(c.queue, out, sum);

  if (position_) {
    const ParamUse table = position_.acquire();
    c.backend.position_forward(c.queue, out, rows.stream_position(), table.view());
  }
  const kernels::Dropout dropout = rows.stream_dropout(rng::Purpose::kEmbedding, 0);
  if (dropout.p > 0) c.backend.dropout(c.queue, out, out, dropout);
}

void Embedding::backward(const Compute& c, const Rows& rows, ConstView tokens, View d_out) const {
  const kernels::Dropout dropout = rows.stream_dropout(rng::Purpose::kEmbedding, 0);
  if (dropout.p > 0) c.backend.dropout(c.queue, d_out, d_out, dropout);
  if (position_) c.backend.embedding_backward(c.queue, position_.grad(), rows.stream_position(), d_out, 0);
  const ConstView d_rows = c.tensor.gather(d_out, c.scratch.gathered, "gradient of the embedded tokens");
  if (has_rows_) c.backend.embedding_backward(c.queue, token_.grad(), tokens, d_rows, vocab_begin_);
  c.advance();
}

}  // namespace banyan::model
