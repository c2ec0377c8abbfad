// LD_PRELOAD library that flips one bit in the memory of one rank, in a matrix product: silent data corruption.
//
//   FLIP=weight       before a product with a weight matrix: a bit of its first row; it stays flipped
//   FLIP=gradient     after a product that adds to the gradient of one: a bit of that
//   FLIP_RANK=R       world rank
//   FLIP_CALL=N       in the N-th such product of the process
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

namespace {

long due_at(const char* kind) {
  const char *wanted = getenv("FLIP"), *rank = getenv("FLIP_RANK"), *self = getenv("OMPI_COMM_WORLD_RANK");
  const char* call = getenv("FLIP_CALL");
  if (!self) self = getenv("PMI_RANK");
  const bool mine = wanted && rank && self && call && strcmp(wanted, kind) == 0 && strcmp(rank, self) == 0;
  return mine ? atol(call) : 0;
}

/// A high bit of the mantissa of the third element.
void flip(const float* matrix) { reinterpret_cast<unsigned char*>(const_cast<float*>(matrix + 2))[2] ^= 0x20; }

}  // namespace

// Linear layers are x W^T forward and dW += dY^T X backward; kinds of arguments are all that matters for passing them
// on.
extern "C" int dnnl_sgemm(char transa, char transb, long m, long n, long k, float alpha, const float* a, long lda,
                          const float* b, long ldb, float beta, float* c, long ldc) {
  using Function =
      int (*)(char, char, long, long, long, float, const float*, long, const float*, long, float, float*, long);
  static const auto real = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "dnnl_sgemm"));
  static const long weight = due_at("weight"), gradient = due_at("gradient");
  static long weights = 0, gradients = 0;
  if (weight > 0 && transa == 'N' && transb == 'T' && ++weights == weight) flip(b);
  const int status = real(transa, transb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  if (gradient > 0 && transa == 'T' && beta == 1.0f && ++gradients == gradient) flip(c);
  return status;
}
