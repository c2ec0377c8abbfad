#include "src/base/exit_code.hpp"

#include <gtest/gtest.h>

#include <set>

#include "src/base/error.hpp"

namespace banyan {
namespace {

TEST(ExitCode, TheTableIsSortedCompleteAndSaysWhatToRequeue) {
  std::set<std::string_view> names;
  int last = -1;
  for (const ExitCodeRow& row : kExitCodes) {
    const int code = static_cast<int>(row.code);
    EXPECT_GT(code, last);
    last = code;
    EXPECT_EQ(row.requeue, code == 69 || code == 74 || code == 75) << code;
    EXPECT_TRUE(row.sentence.ends_with('.'));
    EXPECT_TRUE(names.insert(row.name).second);
  }
}

TEST(Error, CarriesItsCodeAndTakesContext) {
  try {
    try {
      throw IoError("cannot write {}: {}", "x.h5", "No space left on device");
    } catch (Error& e) {
      e.add_context("checkpoint of step 12");
      throw;
    }
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::kIoFailed);
    EXPECT_STREQ(e.what(), "checkpoint of step 12: cannot write x.h5: No space left on device");
  }
}

}  // namespace
}  // namespace banyan
