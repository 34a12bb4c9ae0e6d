// What is given, taken and thought lost when others do something at the same time.
#include "clients/device_plugin/allocator.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "clients/device_plugin/inventory.h"
#include "clients/device_plugin/viommud.h"
#include "engine/base/env.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/log.h"
#include "tests/device_plugin/plugin_fixture.h"

namespace viommu {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

constexpr char kDevice[] = "0000:01:00.0";
constexpr char kOther[] = "0000:03:00.0";

class AllocatorTest : public PluginTest {
 protected:
  AllocatorTest()
      : log_fd_(open(Path("plugin.log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)),
        log_(LogLevel::kDebug, log_fd_, RealEnv()) {
    // Through a name that a test can take away.
    OpenGate();
  }
  ~AllocatorTest() override { close(log_fd_); }

  void OpenGate() { std::filesystem::create_symlink(Path("viommud.sock"), Path("gate.sock")); }
  void CloseGate() { std::filesystem::remove(Path("gate.sock")); }

  Inventory::Options Impatient() { return {absl::ZeroDuration(), absl::Milliseconds(20)}; }

  const int log_fd_;
  ::viommu::Log log_;
};

TEST_F(AllocatorTest, ThinksOnlyThatLostWhichNoAllocationHas) {
  const PluginConfig config = Config();
  Viommud viommud(Path("viommud.sock"));
  Inventory inventory(&viommud, Impatient(), &log_);
  ASSERT_TRUE(Soon([&] { return inventory.Get().present; }));
  Allocator allocator(&config, &viommud, &inventory, &log_);
  const auto given = allocator.Allocate(config.resources[0], {kDevice}, [] { return false; });
  ASSERT_TRUE(given.ok()) << given.status();
  // The list of what pods have may be of before that.
  const auto lost = allocator.LoseUnallocated({kDevice, kOther});
  ASSERT_TRUE(lost.ok()) << lost.status();
  EXPECT_THAT(*lost, ElementsAre(kOther));
  EXPECT_THAT(inventory.Get().lost, ElementsAre(Pair(kOther, "")));
  // Given away, it is not lost.
  ASSERT_TRUE(allocator.Allocate(config.resources[0], {kOther}, [] { return false; }).ok());
  EXPECT_THAT(inventory.Get().lost, IsEmpty());
}

TEST_F(AllocatorTest, TakesTheWayInOfAnAllocationThatHasLostItsState) {
  const PluginConfig config = Config();
  Viommud viommud(Path("viommud.sock"));
  Inventory inventory(&viommud, Impatient(), &log_);
  ASSERT_TRUE(Soon([&] { return inventory.Get().present; }));
  // Its listener outlived viommud, and its container still has it.
  ASSERT_TRUE(viommud.CreateListener("alloc-former", {0666, {}, {}}).ok());
  inventory.Lose(kDevice, "alloc-former");
  Allocator allocator(&config, &viommud, &inventory, &log_);
  const auto given = allocator.Allocate(config.resources[0], {kDevice}, [] { return false; });
  ASSERT_TRUE(given.ok()) << given.status();
  EXPECT_THAT(Allocations(), ElementsAre(given->name));
}

TEST_F(AllocatorTest, ChangesNothingForWhoHasGivenUp) {
  const PluginConfig config = Config();
  Viommud viommud(Path("viommud.sock"));
  Inventory inventory(&viommud, Impatient(), &log_);
  ASSERT_TRUE(Soon([&] { return inventory.Get().present; }));
  Allocator allocator(&config, &viommud, &inventory, &log_);
  const auto given = allocator.Allocate(config.resources[0], {kDevice}, [] { return false; });
  ASSERT_TRUE(given.ok()) << given.status();
  const size_t before = Leftovers();
  const auto refused = allocator.Allocate(config.resources[0], {kDevice}, [] { return true; });
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kCancelled);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("GIVEN_UP"));
  EXPECT_EQ(allocator.Renew(config.resources[0], {kDevice}, [] { return true; }).code(),
            absl::StatusCode::kCancelled);
  EXPECT_EQ(GetDevice(kDevice).domain(),
            absl::StrCat("owners/", given->name, "/", given->domains[0]));
  EXPECT_EQ(Leftovers(), before);
}

TEST_F(AllocatorTest, CallsNothingLostThatTheNewViommudHasGivenAway) {
  Viommud operators(Path("viommud.sock"));
  Viommud gated(Path("gate.sock"));
  Inventory inventory(&gated, Impatient(), &log_);
  ASSERT_TRUE(operators.Claim(kDevice, "alloc-1", "").ok());
  ASSERT_TRUE(operators.Claim(kOther, "alloc-2", "").ok());
  ASSERT_TRUE(Soon([&] {
    const InventoryState state = inventory.Get();
    return state.present && state.devices.at(kDevice).device.claimed_by() == "alloc-1" &&
           state.devices.at(kOther).device.claimed_by() == "alloc-2";
  }));
  const std::string before = inventory.Get().boot_id;
  CloseGate();
  StopViommud();
  StartViommud();
  // Before the inventory has heard of the new one.
  ASSERT_TRUE(operators.Claim(kDevice, "alloc-3", "").ok());
  OpenGate();
  ASSERT_TRUE(Soon([&] {
    const InventoryState state = inventory.Get();
    return state.present && state.boot_id != before;
  }));
  EXPECT_THAT(inventory.Get().lost, ElementsAre(Pair(kOther, "alloc-2")));
}

}  // namespace
}  // namespace viommu
