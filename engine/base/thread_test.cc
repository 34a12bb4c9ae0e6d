#include "engine/base/thread.h"

#include <sys/resource.h>

#include <atomic>

#include "absl/base/config.h"
#include "absl/status/status.h"
#include "engine/base/errors.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

TEST(StartThreadTest, RunsTheBody) {
  std::atomic<bool> ran{false};
  auto thread = StartThread([&] { ran = true; });
  ASSERT_TRUE(thread.ok()) << thread.status();
  thread->join();
  EXPECT_TRUE(ran);
}

#if !defined(ABSL_HAVE_ADDRESS_SANITIZER) && !defined(ABSL_HAVE_THREAD_SANITIZER)
// Sanitizers need addresses of their own, and are the end of the process without.
TEST(StartThreadTest, SaysWhenThereIsNoMemoryForAStack) {
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_AS, &before), 0);
  rlimit none = before;
  none.rlim_cur = 4096;
  ASSERT_EQ(setrlimit(RLIMIT_AS, &none), 0);
  // Twice: glibc keeps the stack of one that has ended.
  auto first = StartThread([] {});
  auto second = StartThread([] {});
  ASSERT_EQ(setrlimit(RLIMIT_AS, &before), 0);
  if (first.ok()) first->join();
  if (second.ok()) second->join();
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(DetailOf(second.status())->reason, "TOO_MANY_THREADS");
}
#endif

}  // namespace
}  // namespace viommu
