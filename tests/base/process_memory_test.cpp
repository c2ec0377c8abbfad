#include "src/base/process_memory.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>

namespace banyan {
namespace {

TEST(PeakMemory, GrowsWithWhatIsWrittenTo) {
  const std::int64_t before = peak_memory();
  ASSERT_GT(before, 0);
  constexpr std::size_t kBytes = std::size_t{256} << 20;
  const std::unique_ptr<char[]> block(new char[kBytes]);
  std::memset(block.get(), 1, kBytes);
  const volatile char* const read = block.get();  // so that writing cannot be left out
  EXPECT_EQ(read[kBytes / 2], 1);
  EXPECT_GT(peak_memory(), before + static_cast<std::int64_t>(kBytes) / 2);
}

TEST(MachineMemory, IsMoreThanThisProcessUses) { EXPECT_GT(machine_memory(), peak_memory()); }

}  // namespace
}  // namespace banyan
