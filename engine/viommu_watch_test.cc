// Viommus, and what belongs to them, as somebody who watches sees them.
#include <memory>
#include <string>
#include <variant>

#include "absl/time/time.h"
#include "engine/viommu_fixture.h"
#include "engine/watch_mirror.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

class ViommuWatchTest : public ViommuTest {
 protected:
  std::unique_ptr<Watch> Open(const CallContext& caller, WatchOptions options = {}) {
    auto watch = engine_->OpenWatch(caller, options);
    EXPECT_TRUE(watch.ok()) << watch.status();
    return *std::move(watch);
  }
  // A vdevice, a queue of each kind.
  void MakeChildren() {
    ASSERT_TRUE(MakeVdevice("nic", "dev0", 9).ok());
    ASSERT_TRUE(
        engine_->CreateEventQueue(alice_, Ref("vm"), "q", ViommuEventType::kArmSmmuV3, 4).ok());
    ASSERT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(0, 0x1000)).ok());
    HardwareQueueRequest request;
    request.spec.length_bytes = 0x1000;
    ASSERT_TRUE(engine_->CreateHardwareQueue(alice_, Ref("vm"), "cmdq", request).ok());
  }
  void DeleteChildren() {
    ASSERT_TRUE(engine_->DeleteHardwareQueue(alice_, Ref("vm/hardwareQueues/cmdq"), "").ok());
    ASSERT_TRUE(engine_->DeleteEventQueue(alice_, Ref("vm/eventQueues/q"), "").ok());
    ASSERT_TRUE(engine_->ReleaseDevice(alice_, "dev0", "").ok());
  }
};

TEST_F(ViommuWatchTest, ShowsThemInSnapshotsAndAsTheyChange) {
  WatchMirror early;
  const auto watch = Open(alice_);
  ASSERT_TRUE(early.Drain(*watch).ok());
  MakeChildren();
  ASSERT_TRUE(early.Drain(*watch).ok());
  EXPECT_EQ(early.Text(), Listed(*engine_, alice_));
  EXPECT_NE(early.Text().find("vm/hardwareQueues/cmdq"), std::string::npos);
  WatchMirror late;
  ASSERT_TRUE(late.Drain(*Open(operator_)).ok());
  EXPECT_EQ(late.Text(), Listed(*engine_, operator_));
  DeleteChildren();
  ASSERT_TRUE(early.Drain(*watch).ok());
  EXPECT_EQ(early.Text(), Listed(*engine_, alice_));
  EXPECT_EQ(early.deleted.size(), 3u) << "the vdevice went with its device";
}

TEST_F(ViommuWatchTest, ShowsNoneToOthers) {
  MakeChildren();
  WatchMirror mirror;
  ASSERT_TRUE(mirror.Drain(*Open(bob_)).ok());
  EXPECT_EQ(mirror.Text().find("vm"), std::string::npos);
}

TEST_F(ViommuWatchTest, ShowsOnlyTheKindThatIsAskedFor) {
  MakeChildren();
  WatchOptions options;
  options.kinds = {WatchKind::kVdevice};
  const auto watch = Open(alice_, options);
  WatchEvent event;
  ASSERT_TRUE(*watch->Next(absl::Seconds(20), &event));
  EXPECT_EQ(std::get<VdeviceView>(event.body).object.id, "vm/vdevices/nic");
  ASSERT_TRUE(*watch->Next(absl::Seconds(20), &event));
  EXPECT_EQ(event.type, WatchEvent::Type::kSync);
}

}  // namespace
}  // namespace viommu
