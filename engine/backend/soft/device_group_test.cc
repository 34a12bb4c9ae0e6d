#include "engine/backend/soft/device_group.h"

#include <functional>
#include <memory>
#include <vector>

#include "engine/backend/soft/hardware/vtd_model.h"
#include "engine/backend/soft/physical_memory.h"
#include "engine/backend/soft/soft_domain.h"
#include "engine/backend/soft/vtd_capability.h"
#include "engine/backend/soft/vtd_registers.h"
#include "engine/backend/soft/vtd_unit.h"
#include "engine/base/address.h"
#include "engine/pagetable/store.h"
#include "engine/pagetable/table_arena.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint16_t kMembers[] = {0x0100, 0x0101, 0x0102};

std::vector<VtdUnit::Requester> Requesters() {
  std::vector<VtdUnit::Requester> requesters;
  for (const uint16_t source_id : kMembers) requesters.push_back({source_id});
  return requesters;
}

// Hardware that stops answering in the middle of things.
class DeviceGroupTest : public testing::Test {
 protected:
  DeviceGroupTest() {
    const auto window = *memory_.AddWindow(128 * kPage, kPage);
    arena_ = std::make_unique<TableArena>(window.data, window.base, window.size_bytes);
    unit_ = *VtdUnit::Create(IommuSpec{}, Requesters(), &memory_, arena_.get());
    EXPECT_TRUE(unit_->EnableTranslation().ok());
    group_ = std::make_unique<DeviceGroup<ObservedStore>>(
        unit_.get(), std::vector<uint16_t>(std::begin(kMembers), std::end(kMembers)),
        ObservedStore(&observer_));
    domain_ = *SoftDomain::Create(*vtd::PlanSecondStage({}), 46, PlainStore(), arena_.get());
  }
  ~DeviceGroupTest() override { StartQueue(); }

  void StopQueue() {
    unit_->hardware().Write32(vtd::kGlobalCommandRegister, vtd::kTranslationEnable);
  }
  void StartQueue() {
    unit_->hardware().Write32(vtd::kGlobalCommandRegister,
                              vtd::kTranslationEnable | vtd::kQueueEnable);
  }

  int stop_at_store_ = 0;  // 0: never.
  int stores_ = 0;
  StoreObserver observer_ = [this](const uint64_t*, size_t) {
    if (++stores_ == stop_at_store_) StopQueue();
  };
  PhysicalMemory memory_{PhysAddr{kPage}, 40};
  std::unique_ptr<TableArena> arena_;
  std::unique_ptr<VtdUnit> unit_;
  std::shared_ptr<SoftDomain> domain_;
  std::unique_ptr<DeviceGroup<ObservedStore>> group_;
};

TEST_F(DeviceGroupTest, AllMembersGoBackWhenTheHardwareFailsAtAnyOfThem) {
  const GroupPlace identity = {DomainTarget::Kind::kIdentity, nullptr, true};
  const GroupPlace paging = {DomainTarget::Kind::kPaging, domain_, false};
  for (int member = 1; member <= 3; ++member) {
    for (const GroupPlace& target : {GroupPlace{}, paging}) {
      SCOPED_TRACE(member);
      stop_at_store_ = 0;
      ASSERT_TRUE(group_->SwitchTo(identity).ok());
      const vtd::PasidEntry before = unit_->RequesterEntry(kMembers[0]);
      stores_ = 0;
      stop_at_store_ = member;
      EXPECT_EQ(group_->SwitchTo(target).status().code(), absl::StatusCode::kInternal);
      for (const uint16_t source_id : kMembers) {
        EXPECT_EQ(unit_->RequesterEntry(source_id), before);
      }
      EXPECT_EQ(group_->place().kind, DomainTarget::Kind::kIdentity);
      EXPECT_TRUE(group_->place().is_default);
      StartQueue();
    }
  }
}

TEST_F(DeviceGroupTest, ADomainIdThatMayStillBeCachedIsNotReused) {
  ASSERT_TRUE(group_->SwitchTo({DomainTarget::Kind::kIdentity, nullptr, false}).ok());
  const uint16_t taken = vtd::DomainIdOf(domain_->PreviewEntry(unit_.get()));
  stores_ = 0;
  stop_at_store_ = 2;
  ASSERT_FALSE(group_->SwitchTo({DomainTarget::Kind::kPaging, domain_, false}).ok());
  StartQueue();
  const uint16_t next = *unit_->TakeDomainId();
  EXPECT_NE(next, taken);
  unit_->ReturnDomainId(next);
  ASSERT_TRUE(group_->SwitchTo({DomainTarget::Kind::kPaging, domain_, false}).ok());
  EXPECT_EQ(vtd::DomainIdOf(unit_->RequesterEntry(kMembers[0])), next);
}

TEST_F(DeviceGroupTest, TablesUnlinkedBehindAFailedFlushAreNotReused) {
  ASSERT_TRUE(group_->SwitchTo({DomainTarget::Kind::kPaging, domain_, false}).ok());
  const PhysicalMapping mapping = {0, PhysAddr{0x10'0000}, kPage, Permission::kReadWrite};
  const IovaRange area = mapping.range();
  const uint64_t empty = arena_->pages_in_use();
  ASSERT_TRUE(domain_->Map({mapping}).ok());
  const uint64_t full = arena_->pages_in_use();
  ASSERT_GT(full, empty);
  hardware::Request request;
  request.source_id = kMembers[0];
  ASSERT_TRUE(unit_->hardware().Translate(request).ok());  // Cached.
  // A tail between two descriptors stops the queue; the flush is then the one it refuses.
  unit_->hardware().Write64(vtd::kQueueTailRegister, 16);
  EXPECT_EQ(domain_->Unmap({area}).code(), absl::StatusCode::kInternal);
  EXPECT_EQ(arena_->pages_in_use(), full);
  EXPECT_TRUE(unit_->hardware().Translate(request).ok());  // Still, and nothing claimed otherwise.
  // The next flush that works makes good for it, although its own range is another one.
  const IovaRange elsewhere = {uint64_t{1} << 40, (uint64_t{1} << 40) + kPage - 1};
  EXPECT_TRUE(domain_->Unmap({elsewhere}).ok());
  EXPECT_EQ(arena_->pages_in_use(), empty);
  EXPECT_FALSE(unit_->hardware().Translate(request).ok());
}

}  // namespace
}  // namespace viommu
