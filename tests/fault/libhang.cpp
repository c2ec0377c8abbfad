// LD_PRELOAD library that makes one function of another library hang, or end the process, on one rank, once a file is
// there.
//
//   HANG=FUNCTION     dnnl_sgemm (computing) or MPI_Testsome (inside the transport)
//   HANG_RANK=R       world rank; 0 without a launcher
//   HANG_WHEN=PATH
//   HANG_IN=SECTION   only where the program says that it is in a section of that name, of this thread
//   HANG_FOR=US       microseconds of each call; without it for ever
//   HANG_AS=WAY       instead: segv, abort, exit0, exit1, bad_alloc, throw, mpi_abort
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <new>
#include <stdexcept>

namespace {

bool chosen(const char* function) {
  const char *wanted = getenv("HANG"), *rank = getenv("HANG_RANK"), *self = getenv("OMPI_COMM_WORLD_RANK");
  if (!self) self = getenv("PMI_RANK");
  if (!self) self = "0";
  return wanted && rank && self && strcmp(wanted, function) == 0 && strcmp(rank, self) == 0;
}

void end(const char* way) {
  if (strcmp(way, "segv") == 0) *static_cast<volatile int*>(nullptr) = 1;
  if (strcmp(way, "abort") == 0) abort();
  if (strncmp(way, "exit", 4) == 0) exit(way[4] - '0');
  if (strcmp(way, "bad_alloc") == 0) throw std::bad_alloc();
  if (strcmp(way, "throw") == 0) throw std::runtime_error("thrown in the middle of a matrix product");
  // Of Open MPI, where communicators are addresses.
  using Abort = int (*)(void*, int);
  const auto mpi_abort = reinterpret_cast<Abort>(dlsym(RTLD_DEFAULT, "MPI_Abort"));
  if (void* world = dlsym(RTLD_DEFAULT, "ompi_mpi_comm_world"); mpi_abort && world) mpi_abort(world, 5);
  abort();
}

/// A function of the program itself, which exports none: from its table of symbols.
void* own_function(const char* name) {
  const int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  struct stat s {};
  if (fd < 0 || fstat(fd, &s) != 0) return nullptr;
  const char* file =
      static_cast<const char*>(mmap(nullptr, static_cast<size_t>(s.st_size), PROT_READ, MAP_PRIVATE, fd, 0));
  close(fd);
  if (file == MAP_FAILED) return nullptr;
  const auto* head = reinterpret_cast<const ElfW(Ehdr)*>(file);
  const auto* sections = reinterpret_cast<const ElfW(Shdr)*>(file + head->e_shoff);
  ElfW(Addr) found = 0;
  for (int i = 0; i < head->e_shnum; ++i) {
    if (sections[i].sh_type != SHT_SYMTAB) continue;
    const auto* symbols = reinterpret_cast<const ElfW(Sym)*>(file + sections[i].sh_offset);
    const char* names = file + sections[sections[i].sh_link].sh_offset;
    for (size_t k = 0; k < sections[i].sh_size / sizeof(*symbols); ++k)
      if (strcmp(names + symbols[k].st_name, name) == 0) found = symbols[k].st_value;
  }
  munmap(const_cast<char*>(file), static_cast<size_t>(s.st_size));
  ElfW(Addr) base = 0;  // of the program, which is told first
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* out) {
        *static_cast<ElfW(Addr)*>(out) = info->dlpi_addr;
        return 1;
      },
      &base);
  return found == 0 ? nullptr : reinterpret_cast<void*>(base + found);
}

/// Whether this thread is in the section that is asked for.
bool in_section() {
  static const char* const wanted = getenv("HANG_IN");
  if (!wanted || !*wanted) return true;
  // Section::copy_trail (src/base/section.hpp)
  using Trail = void (*)(char*, size_t);
  static const auto trail = reinterpret_cast<Trail>(own_function("_ZN6banyan7Section10copy_trailEPcm"));
  if (!trail) abort();
  char text[512];
  trail(text, sizeof text);
  return strstr(text, wanted) != nullptr;
}

void hang_if_due() {
  static const char* const path = getenv("HANG_WHEN");
  if (!path || access(path, F_OK) != 0 || !in_section()) return;
  static const char *const time = getenv("HANG_FOR"), *const way = getenv("HANG_AS");
  if (way && *way) end(way);
  if (time && *time) {
    usleep(static_cast<useconds_t>(atoi(time)));
    return;
  }
  for (volatile bool for_ever = true; for_ever;) usleep(1000);
}

}  // namespace

extern "C" {

// Kinds of arguments are all that matters for passing them on.
int dnnl_sgemm(char transa, char transb, long m, long n, long k, float alpha, const float* a, long lda, const float* b,
               long ldb, float beta, float* c, long ldc) {
  using Function =
      int (*)(char, char, long, long, long, float, const float*, long, const float*, long, float, float*, long);
  static const auto real = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "dnnl_sgemm"));
  static const bool mine = chosen("dnnl_sgemm");
  if (mine) hang_if_due();
  return real(transa, transb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

int MPI_Testsome(int count, void* requests, int* done, int* indices, void* statuses) {
  using Function = int (*)(int, void*, int*, int*, void*);
  static const auto real = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "MPI_Testsome"));
  static const bool mine = chosen("MPI_Testsome");
  if (mine) hang_if_due();
  return real(count, requests, done, indices, statuses);
}

}  // extern "C"
