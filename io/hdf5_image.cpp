#include "io/hdf5_image.hpp"

#include <algorithm>
#include <array>
#include <bitset>
#include <cstring>
#include <map>
#include <vector>

#include "src/base/error.hpp"

namespace banyan::io {

/// Pages that were written, with the bytes that were.
struct Hdf5Image::Memory {
  static constexpr haddr_t kPage = 4096;
  struct Page {
    std::array<std::byte, kPage> bytes{};
    std::bitset<kPage> written;
  };
  std::map<haddr_t, Page> pages;  // by address / kPage
  haddr_t end = 0;

  void write(haddr_t at, const std::byte* data, std::size_t size) {
    while (size > 0) {
      Page& page = pages[at / kPage];
      const std::size_t begin = at % kPage, n = std::min<std::size_t>(size, kPage - begin);
      std::memcpy(page.bytes.data() + begin, data, n);
      for (std::size_t i = begin; i < begin + n; ++i) page.written.set(i);
      at += n;
      data += n;
      size -= n;
    }
  }
  void read(haddr_t at, std::byte* data, std::size_t size) const {
    while (size > 0) {
      const std::size_t begin = at % kPage, n = std::min<std::size_t>(size, kPage - begin);
      if (const auto page = pages.find(at / kPage); page != pages.end())
        std::memcpy(data, page->second.bytes.data() + begin, n);
      else
        std::memset(data, 0, n);
      at += n;
      data += n;
      size -= n;
    }
  }
};

namespace {

/// What HDF5 holds of an open file: its own part first.
struct DriverFile {
  H5FD_t base;
  Hdf5Image::Memory* memory;
  haddr_t end_of_allocation;
};

DriverFile* cast(H5FD_t* f) { return reinterpret_cast<DriverFile*>(f); }
const DriverFile* cast(const H5FD_t* f) { return reinterpret_cast<const DriverFile*>(f); }

H5FD_t* driver_open(const char*, unsigned, hid_t access, haddr_t) {
  const void* info = H5Pget_driver_info(access);
  if (!info) return nullptr;
  auto* f = new DriverFile{};
  std::memcpy(&f->memory, info, sizeof f->memory);
  return &f->base;
}
herr_t driver_close(H5FD_t* f) {
  delete cast(f);
  return 0;
}
int driver_compare(const H5FD_t* a, const H5FD_t* b) {
  return std::less<>()(cast(a)->memory, cast(b)->memory) ? -1 : cast(a)->memory != cast(b)->memory;
}
herr_t driver_query(const H5FD_t*, unsigned long* flags) {
  if (flags) *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA;
  return 0;
}
haddr_t driver_get_eoa(const H5FD_t* f, H5FD_mem_t) { return cast(f)->end_of_allocation; }
herr_t driver_set_eoa(H5FD_t* f, H5FD_mem_t, haddr_t address) {
  cast(f)->end_of_allocation = address;
  return 0;
}
haddr_t driver_get_eof(const H5FD_t* f, H5FD_mem_t) { return cast(f)->memory->end; }
herr_t driver_read(H5FD_t* f, H5FD_mem_t, hid_t, haddr_t address, size_t size, void* buffer) {
  cast(f)->memory->read(address, static_cast<std::byte*>(buffer), size);
  return 0;
}
herr_t driver_write(H5FD_t* f, H5FD_mem_t, hid_t, haddr_t address, size_t size, const void* buffer) {
  Hdf5Image::Memory& m = *cast(f)->memory;
  m.write(address, static_cast<const std::byte*>(buffer), size);
  m.end = std::max<haddr_t>(m.end, address + size);
  return 0;
}
herr_t driver_truncate(H5FD_t* f, hid_t, hbool_t) {
  cast(f)->memory->end = cast(f)->end_of_allocation;
  return 0;
}

hid_t driver() {
  static const H5FD_class_t kClass = [] {
    H5FD_class_t c{};
    c.name = "image";
    c.maxaddr = (haddr_t{1} << 62) - 1;
    c.fc_degree = H5F_CLOSE_STRONG;
    c.fapl_size = sizeof(Hdf5Image::Memory*);
    c.open = driver_open;
    c.close = driver_close;
    c.cmp = driver_compare;
    c.query = driver_query;
    c.get_eoa = driver_get_eoa;
    c.set_eoa = driver_set_eoa;
    c.get_eof = driver_get_eof;
    c.read = driver_read;
    c.write = driver_write;
    c.truncate = driver_truncate;
    const H5FD_mem_t map[H5FD_MEM_NTYPES] = H5FD_FLMAP_DICHOTOMY;
    std::copy(std::begin(map), std::end(map), std::begin(c.fl_map));
    return c;
  }();
  static const hid_t id = H5FDregister(&kClass);
  return id;
}

hid_t create(const std::string& name, const Hdf5Image::Memory* memory, std::size_t user_block) {
  Hdf5Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, "access properties");
  hdf5_require(H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110) >= 0 &&
                   H5Pset_file_locking(access, false, true) >= 0 && H5Pset_driver(access, driver(), &memory) >= 0 &&
                   H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) >= 0,
               "access properties");
  Hdf5Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose, "creation properties");
  hdf5_require(H5Pset_userblock(creation, user_block) >= 0 && H5Pset_obj_track_times(creation, false) >= 0,
               "creation properties");
  return H5Fcreate(name.c_str(), H5F_ACC_TRUNC, creation, access);
}

}  // namespace

Hdf5Image::Hdf5Image(const std::string& name, std::size_t user_block) : memory_(std::make_unique<Memory>()) {
  hdf5_quiet();
  file_ = std::make_unique<Hdf5Handle>(create(name, memory_.get(), user_block), H5Fclose, name);
}

Hdf5Image::~Hdf5Image() = default;

void Hdf5Image::finish() {
  if (file_) file_->close();
  file_.reset();
}

std::int64_t Hdf5Image::size() const { return static_cast<std::int64_t>(memory_->end); }

void Hdf5Image::read(std::int64_t at, void* out, std::size_t bytes) const {
  memory_->read(static_cast<haddr_t>(at), static_cast<std::byte*>(out), bytes);
}

void Hdf5Image::write_to(File& out) const {
  if (file_) throw BugError("an HDF5 image is written before it is finished");
  for (auto page = memory_->pages.rbegin(); page != memory_->pages.rend(); ++page) {
    const auto& [number, contents] = *page;
    for (std::size_t begin = 0; begin < Memory::kPage;) {
      std::size_t end = begin;
      while (end < Memory::kPage && contents.written[end] == contents.written[begin]) ++end;
      if (contents.written[begin])
        out.write_at(static_cast<std::int64_t>(number * Memory::kPage + begin), contents.bytes.data() + begin,
                     end - begin);
      begin = end;
    }
  }
}

}  // namespace banyan::io
