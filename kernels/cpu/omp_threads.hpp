// oneDNN takes as many threads as OpenMP would give the caller: this says how many, for as long as it lives.
#pragma once

#include <omp.h>

namespace banyan::kernels::cpu {

class OmpThreads {
 public:
  explicit OmpThreads(int threads) : before_(omp_get_max_threads()) {
    omp_set_dynamic(0);  // or OMP_DYNAMIC could take threads away, and with them the same bits
    if (threads != before_) omp_set_num_threads(threads);
  }
  ~OmpThreads() { omp_set_num_threads(before_); }
  OmpThreads(const OmpThreads&) = delete;
  OmpThreads& operator=(const OmpThreads&) = delete;

 private:
  int before_;
};

}  // namespace banyan::kernels::cpu
