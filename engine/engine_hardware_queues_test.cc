// Hardware queues of Viommus, and the pages that they pin.
#include <string>
#include <vector>

#include "engine/viommu_fixture.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr Iova kBase = 0x10000;

// 64 KiB from kBase are mapped in two areas that follow each other in memory.
class HardwareQueuesTest : public ViommuTest {
 protected:
  HardwareQueuesTest() {
    EXPECT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(kBase, 0x8000, 0x40000)).ok());
    EXPECT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(kBase + 0x8000, 0x8000, 0x48000)).ok());
  }

  std::string Make(const std::string& id, uint32_t index, Iova base = kBase,
                   uint64_t length = 0x10000, const std::string& viommu = "vm") {
    HardwareQueueRequest request;
    request.spec = {index, base, length};
    return DescribedInFull(engine_->CreateHardwareQueue(alice_, Ref(viommu), id, request).status());
  }
  std::string Delete(const std::string& id) {
    return Described(engine_->DeleteHardwareQueue(alice_, Ref("vm/hardwareQueues/" + id), ""));
  }
  absl::Status Unmap(Iova iova, uint64_t length) {
    return engine_->Unmap(alice_, Ref("as"), OneUnmap(iova, length)).status();
  }
};

TEST_F(HardwareQueuesTest, ComeInAscendingAndGoInDescendingOrder) {
  EXPECT_EQ(Make("one", 1), "FAILED_PRECONDITION QUEUE_ORDER hardware_queue.index");
  EXPECT_EQ(Make("zero", 0), "OK");
  EXPECT_EQ(Make("again", 0), "ALREADY_EXISTS HARDWARE_QUEUE_EXISTS hardware_queue.index");
  EXPECT_EQ(Make("one", 1), "OK");
  EXPECT_EQ(Make("two", 2), "INVALID_ARGUMENT INDEX_OUT_OF_RANGE hardware_queue.index");
  EXPECT_EQ(Vm().hardware_queues, (std::vector<std::string>{"viommus/vm/hardwareQueues/zero",
                                                            "viommus/vm/hardwareQueues/one"}));
  const absl::Status in_use =
      engine_->DeleteHardwareQueue(alice_, Ref("vm/hardwareQueues/zero"), "");
  EXPECT_EQ(Described(in_use), "FAILED_PRECONDITION IN_USE");
  EXPECT_EQ(DetailOf(in_use)->violations,
            std::vector<std::string>{"viommus/vm/hardwareQueues/one"});
  EXPECT_EQ(Delete("one"), "OK");
  EXPECT_EQ(Delete("zero"), "OK");
  EXPECT_EQ(LoggedAs("DestroyHardwareQueue"), 2u);
}

TEST_F(HardwareQueuesTest, RefusesQueuesInTheOrderOfTheKernel) {
  Claim("dev4");
  ASSERT_TRUE(MakeParent("other", "dev4").ok());
  ASSERT_TRUE(MakeViommu("plain", "dev4", "other").ok());
  ASSERT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(0x40000, 0x1000, 0)).ok());
  ASSERT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(0x41000, 0x1000, 0x9000)).ok());
  MapBatch written = OneMap(0x50000, 0x1000);
  written.entries[0].permission = Permission::kWrite;
  ASSERT_TRUE(engine_->Map(alice_, Ref("as"), written).ok());
  const std::string before = Everything();
  EXPECT_EQ(Make("x", 9, 0, 0, "none"), "INVALID_ARGUMENT INVALID_LENGTH hardware_queue.length");
  EXPECT_EQ(Make("x", 9, kMaxAddress, 2, "none"), "OUT_OF_RANGE IOVA_OVERFLOW hardware_queue.base");
  EXPECT_EQ(Make("x", 9, 0, 3, "none"), "NOT_FOUND VIOMMU_NOT_FOUND");
  EXPECT_EQ(Make("x", 9, 0, 3, "plain"),
            "UNIMPLEMENTED HARDWARE_QUEUES_UNAVAILABLE hardware_queue.type");
  EXPECT_EQ(Make("x", 9, 0, 3), "NOT_FOUND IOVA_NOT_COVERED hardware_queue.base");
  EXPECT_EQ(Make("x", 9, kBase, 0x10001), "NOT_FOUND IOVA_NOT_COVERED hardware_queue.base");
  EXPECT_EQ(Make("x", 9, 0x50000, 3), "PERMISSION_DENIED PERMISSION_MISSING hardware_queue.base");
  EXPECT_EQ(Make("x", 9, 0x40000, 0x2000),
            "FAILED_PRECONDITION MEMORY_UNAVAILABLE hardware_queue.base");
  EXPECT_EQ(Make("x", 9, kBase, 3), "INVALID_ARGUMENT INDEX_OUT_OF_RANGE hardware_queue.index");
  EXPECT_EQ(Make("x", 0, kBase, 3000), "INVALID_ARGUMENT INVALID_LENGTH hardware_queue.length");
  EXPECT_EQ(Make("x", 0, kBase, 256), "INVALID_ARGUMENT INVALID_LENGTH hardware_queue.length");
  EXPECT_EQ(Make("x", 0, kBase + 0x1000, 0x2000),
            "INVALID_ARGUMENT MISALIGNED hardware_queue.base");
  EXPECT_EQ(Everything(), before);
}

TEST_F(HardwareQueuesTest, PinsThePagesBelowThem) {
  ASSERT_EQ(Make("q", 0, kBase + 0x8200, 512), "OK");
  const absl::Status pinned = Unmap(kBase + 0x8000, 0x8000);
  EXPECT_EQ(Described(pinned), "FAILED_PRECONDITION IN_USE");
  EXPECT_EQ(DetailOf(pinned)->violations, std::vector<std::string>{"viommus/vm/hardwareQueues/q"});
  UnmapBatch all;
  all.all = true;
  EXPECT_EQ(Described(engine_->Unmap(alice_, Ref("as"), all).status()),
            "FAILED_PRECONDITION IN_USE");
  EXPECT_EQ(engine_->GetIoas(alice_, Ref("as"))->mapping_count, 2u) << "all or none";
  EXPECT_TRUE(Unmap(kBase, 0x8000).ok()) << "what is beside it goes";
  ASSERT_EQ(Delete("q"), "OK");
  EXPECT_TRUE(Unmap(kBase + 0x8000, 0x8000).ok());
}

TEST_F(HardwareQueuesTest, KeepsTheMemoryBelowThem) {
  ASSERT_EQ(Make("q", 0), "OK");
  EXPECT_EQ(Described(engine_->RevokeMemoryRegion(alice_, Ref("ram"), "").status()),
            "FAILED_PRECONDITION IN_USE");
  EXPECT_EQ(Described(engine_->ResizeMemoryRegion(alice_, Ref("ram"), 0x41000, "").status()),
            "FAILED_PRECONDITION IN_USE");
  EXPECT_TRUE(engine_->ResizeMemoryRegion(alice_, Ref("ram"), 0x100000, "").ok());
  ASSERT_EQ(Delete("q"), "OK");
  EXPECT_TRUE(engine_->RevokeMemoryRegion(alice_, Ref("ram"), "").ok());
  EXPECT_EQ(Make("q", 0), "FAILED_PRECONDITION MAPPING_SUSPENDED hardware_queue.base");
}

TEST_F(HardwareQueuesTest, LetsAFailedQueuePinNothing) {
  backend_.SetHook(RefuseNth("CreateHardwareQueue", 1));
  EXPECT_EQ(Make("q", 0), "RESOURCE_EXHAUSTED TEST");
  EXPECT_TRUE(Unmap(kBase, 0x10000).ok());
}

TEST_F(HardwareQueuesTest, KeepsAViommuWhileItHasOne) {
  ASSERT_EQ(Make("q", 0), "OK");
  EXPECT_EQ(DetailOf(engine_->DeleteViommu(alice_, Ref("vm"), ""))->violations,
            std::vector<std::string>{"viommus/vm/hardwareQueues/q"});
}

}  // namespace
}  // namespace viommu
