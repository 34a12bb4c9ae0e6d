// What is given, taken and thought lost when others do something at the same time.
#include "clients/device_plugin/allocator.h"

#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
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
constexpr Inventory::Options kImpatient = {absl::ZeroDuration(), absl::Milliseconds(20)};

class GivingTest : public PluginTest {
 protected:
  GivingTest() {
    EXPECT_TRUE(Soon([this] { return inventory_.Get().present; }));
  }

  absl::StatusOr<Allocation> Allocate(const std::vector<std::string>& devices) {
    return allocator_.Allocate(config_.resources[0], devices, [] { return false; });
  }

  const PluginConfig config_ = Config();
  ::viommu::Log log_{LogLevel::kDebug, STDERR_FILENO, RealEnv()};
  Viommud viommud_{Path("viommud.sock")};
  Inventory inventory_{&viommud_, kImpatient, &log_};
  Allocator allocator_{&config_, &viommud_, &inventory_, &log_};
};

// The inventory finds viommud through a name that a test can take away.
class GateTest : public PluginTest {
 protected:
  GateTest() { OpenGate(); }

  void OpenGate() { std::filesystem::create_symlink(Path("viommud.sock"), Path("gate.sock")); }
  void CloseGate() { std::filesystem::remove(Path("gate.sock")); }

  ::viommu::Log log_{LogLevel::kDebug, STDERR_FILENO, RealEnv()};
};

TEST_F(GivingTest, ThinksOnlyThatLostWhichNoAllocationHas) {
  const auto given = Allocate({kDevice});
  ASSERT_TRUE(given.ok()) << given.status();
  // The list of what pods have may be of before that.
  const auto lost = allocator_.LoseUnallocated({kDevice, kOther});
  ASSERT_TRUE(lost.ok()) << lost.status();
  EXPECT_THAT(*lost, ElementsAre(kOther));
  EXPECT_THAT(inventory_.Get().lost, ElementsAre(Pair(kOther, "")));
  // Given away, it is not lost.
  ASSERT_TRUE(Allocate({kOther}).ok());
  EXPECT_THAT(inventory_.Get().lost, IsEmpty());
}

TEST_F(GivingTest, TakesTheWayInOfAnAllocationThatHasLostItsState) {
  // Its listener outlived viommud, and its container still has it.
  ASSERT_TRUE(viommud_.CreateListener("alloc-former", {0666, {}, {}}).ok());
  inventory_.Lose(kDevice, "alloc-former");
  const auto given = Allocate({kDevice});
  ASSERT_TRUE(given.ok()) << given.status();
  EXPECT_THAT(Allocations(), ElementsAre(given->name));
}

TEST_F(GivingTest, ChangesNothingForWhoHasGivenUp) {
  const auto given = Allocate({kDevice});
  ASSERT_TRUE(given.ok()) << given.status();
  const size_t before = Leftovers();
  const auto refused = allocator_.Allocate(config_.resources[0], {kDevice}, [] { return true; });
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kCancelled);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("GIVEN_UP"));
  EXPECT_EQ(allocator_.Renew(config_.resources[0], {kDevice}, [] { return true; }).code(),
            absl::StatusCode::kCancelled);
  EXPECT_EQ(GetDevice(kDevice).domain(),
            absl::StrCat("owners/", given->name, "/", given->domains[0]));
  EXPECT_EQ(Leftovers(), before);
}

TEST_F(GateTest, CallsNothingLostThatTheNewViommudHasGivenAway) {
  Viommud operators(Path("viommud.sock"));
  Viommud gated(Path("gate.sock"));
  Inventory inventory(&gated, kImpatient, &log_);
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
