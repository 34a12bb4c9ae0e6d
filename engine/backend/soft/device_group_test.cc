#include "engine/backend/soft/device_group.h"

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "engine/backend/backend.h"
#include "engine/backend/soft/hardware/vtd_model.h"
#include "engine/backend/soft/invalidation_queue.h"
#include "engine/backend/soft/nested_domain.h"
#include "engine/backend/soft/physical_memory.h"
#include "engine/backend/soft/soft_domain.h"
#include "engine/backend/soft/vtd_capability.h"
#include "engine/backend/soft/vtd_port.h"
#include "engine/backend/soft/vtd_registers.h"
#include "engine/backend/soft/vtd_unit.h"
#include "engine/base/address.h"
#include "engine/entries/vtd_descriptors.h"
#include "engine/entries/vtd_entries.h"
#include "engine/pagetable/store.h"
#include "engine/pagetable/table_arena.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint16_t kMembers[] = {0x0100, 0x0101, 0x0102};

std::vector<VtdUnit::Requester> Requesters(bool device_tlbs) {
  std::vector<VtdUnit::Requester> requesters;
  for (const uint16_t source_id : kMembers) requesters.push_back({source_id, 0, device_tlbs});
  return requesters;
}

// Hardware that stops answering in the middle of things.
class DeviceGroupTest : public testing::Test {
 protected:
  explicit DeviceGroupTest(bool device_tlbs = false) {
    const auto window = *memory_.AddWindow(128 * kPage, kPage);
    arena_ = std::make_unique<TableArena>(window.data, window.base, window.size_bytes);
    unit_ = *VtdUnit::Create(IommuSpec{}, Requesters(device_tlbs), &memory_, arena_.get());
    EXPECT_TRUE(unit_->EnableTranslation().ok());
    port_ = std::make_unique<VtdPort<ObservedStore>>(unit_.get(), ObservedStore(&observer_));
    group_ = std::make_unique<DeviceGroup>(
        port_.get(), std::vector<uint32_t>(std::begin(kMembers), std::end(kMembers)));
    domain_ = NewDomain();
  }
  ~DeviceGroupTest() override {
    if (unit_ != nullptr) StartQueue();
  }

  std::shared_ptr<SoftDomain> NewDomain() {
    return *SoftDomain::Create(*vtd::PlanSecondStage({}), {}, PlainStore(), arena_.get());
  }
  static GroupPlace On(const std::shared_ptr<SoftDomain>& domain) {
    return {DomainTarget::Kind::kDomain, domain, false};
  }
  // Makes a domain's address 0 lead to a page that holds `word`.
  void MapPage(SoftDomain* domain, uint64_t word) {
    const PhysAddr page = *arena_->AllocateZeroed();
    memory_.Store64(page, word);
    ASSERT_TRUE(domain->Map({{0, page, kPage, Permission::kReadWrite}}).ok());
  }
  // What a member reads at address 0; nothing after a fault.
  std::optional<uint64_t> Read(uint16_t source_id) {
    hardware::Request request;
    request.source_id = source_id;
    uint64_t word = 0;
    const auto outcome = unit_->hardware().Access(
        request, absl::MakeSpan(reinterpret_cast<char*>(&word), sizeof(word)));
    if (outcome.bytes_done != sizeof(word)) return std::nullopt;
    return word;
  }

  // The next descriptor to come is refused: a tail between two of them stops the queue.
  void RefuseNext() { unit_->hardware().Write64(vtd::kQueueTailRegister, 16); }
  void StopQueue() {
    unit_->hardware().Write32(vtd::kGlobalCommandRegister, vtd::kTranslationEnable);
  }
  void StartQueue() {
    unit_->hardware().Write32(vtd::kGlobalCommandRegister,
                              vtd::kTranslationEnable | vtd::kQueueEnable);
  }
  // As StartQueue, by hardware that has forgotten what it was asked before.
  void StartEmptyQueue() {
    const uint64_t ring =
        unit_->hardware().Read64(vtd::kQueueAddressRegister) & ~uint64_t{kPage - 1};
    const vtd::Descriptor nothing = {0x45};  // A wait without effect.
    for (uint64_t word = 0; word < InvalidationQueue::kEntries * nothing.size(); ++word) {
      memory_.Store64(PhysAddr{ring + word * sizeof(word)}, nothing[word % nothing.size()]);
    }
    StartQueue();
  }

  int stop_at_store_ = 0;  // 0: never.
  int stores_ = 0;
  std::function<void()> at_stop_ = [this] { StopQueue(); };
  StoreObserver observer_ = [this](const uint64_t*, size_t) {
    if (++stores_ == stop_at_store_) at_stop_();
  };
  PhysicalMemory memory_{PhysAddr{kPage}, 40};
  std::unique_ptr<TableArena> arena_;
  std::unique_ptr<VtdUnit> unit_;
  std::unique_ptr<VtdPort<ObservedStore>> port_;
  std::shared_ptr<SoftDomain> domain_;
  std::unique_ptr<DeviceGroup> group_;
};

TEST_F(DeviceGroupTest, AllMembersGoBackWhenTheHardwareFailsAtAnyOfThem) {
  const GroupPlace identity = {DomainTarget::Kind::kIdentity, nullptr, true};
  const GroupPlace paging = {DomainTarget::Kind::kDomain, domain_, false};
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
  const uint16_t taken = *unit_->TakeDomainId();
  unit_->ReturnDomainId(taken);
  stores_ = 0;
  stop_at_store_ = 2;
  ASSERT_FALSE(group_->SwitchTo({DomainTarget::Kind::kDomain, domain_, false}).ok());
  StartQueue();
  const uint16_t next = *unit_->TakeDomainId();
  EXPECT_NE(next, taken);
  unit_->ReturnDomainId(next);
  ASSERT_TRUE(group_->SwitchTo({DomainTarget::Kind::kDomain, domain_, false}).ok());
  EXPECT_EQ(vtd::DomainIdOf(unit_->RequesterEntry(kMembers[0])), next);
}

TEST_F(DeviceGroupTest, TablesUnlinkedBehindAFailedFlushAreNotReused) {
  ASSERT_TRUE(group_->SwitchTo({DomainTarget::Kind::kDomain, domain_, false}).ok());
  const PhysicalMapping mapping = {0, PhysAddr{0x10'0000}, kPage, Permission::kReadWrite};
  const IovaRange area = mapping.range();
  const uint64_t empty = arena_->pages_in_use();
  ASSERT_TRUE(domain_->Map({mapping}).ok());
  const uint64_t full = arena_->pages_in_use();
  ASSERT_GT(full, empty);
  hardware::Request request;
  request.source_id = kMembers[0];
  ASSERT_TRUE(unit_->hardware().Translate(request).ok());  // Cached.
  RefuseNext();
  EXPECT_EQ(domain_->Unmap({area}).code(), absl::StatusCode::kInternal);
  EXPECT_EQ(arena_->pages_in_use(), full);
  EXPECT_TRUE(unit_->hardware().Translate(request).ok());  // Still, and nothing claimed otherwise.
  // The next flush that works makes good for it, although its own range is another one.
  const IovaRange elsewhere = {uint64_t{1} << 40, (uint64_t{1} << 40) + kPage - 1};
  EXPECT_TRUE(domain_->Unmap({elsewhere}).ok());
  EXPECT_EQ(arena_->pages_in_use(), empty);
  EXPECT_FALSE(unit_->hardware().Translate(request).ok());
}

// The hardware, seen at the moment when a member's new entry is in force and just before it fails.
class FailedSwitchTest : public DeviceGroupTest {
 protected:
  FailedSwitchTest() : DeviceGroupTest(true), old_(NewDomain()) {
    MapPage(old_.get(), 0x1111);
    MapPage(domain_.get(), 0x2222);
    EXPECT_TRUE(group_->SwitchTo(On(old_)).ok());
  }

  // From `old_` to `domain_`, failing for good at the first member, which has seen both.
  void FailToSwitch() {
    stores_ = 0;
    stop_at_store_ = 1;
    at_stop_ = [this] {
      EXPECT_EQ(Read(kMembers[0]), 0x2222u);
      StopQueue();
    };
    EXPECT_EQ(group_->SwitchTo(On(domain_)).status().code(), absl::StatusCode::kInternal);
    EXPECT_EQ(group_->place().domain, old_);
    EXPECT_EQ(Read(kMembers[0]), 0x2222u) << "still remembered";
  }

  static constexpr IovaRange kArea = {0, kPage - 1};
  static constexpr IovaRange kElsewhere = {kPage, 2 * kPage - 1};
  std::shared_ptr<SoftDomain> old_;
};

TEST_F(FailedSwitchTest, AnUnmapFailsWhileTheHardwareMayUseTheDomain) {
  const uint64_t full = arena_->pages_in_use();
  FailToSwitch();
  for (int attempt = 0; attempt < 2; ++attempt) {
    EXPECT_EQ(domain_->Unmap({kArea}).code(), absl::StatusCode::kInternal);
    EXPECT_EQ(domain_->FlushAbandoned().code(), absl::StatusCode::kInternal);
    EXPECT_EQ(arena_->pages_in_use(), full);
  }
  StartQueue();
  EXPECT_TRUE(domain_->Unmap({kArea}).ok());
  EXPECT_LT(arena_->pages_in_use(), full);
  EXPECT_EQ(Read(kMembers[0]), 0x1111u);
}

TEST_F(FailedSwitchTest, AnUnmapMakesGoodForTheFlushThatWasLost) {
  const uint16_t taken = *unit_->TakeDomainId();
  unit_->ReturnDomainId(taken);
  FailToSwitch();
  StartEmptyQueue();
  EXPECT_EQ(Read(kMembers[0]), 0x2222u) << "still remembered";
  EXPECT_TRUE(domain_->Unmap({kArea}).ok());
  EXPECT_EQ(Read(kMembers[0]), 0x1111u);
  // Once, and the domain's id is free again.
  const auto flushes = [&] {
    return unit_->queue()
        .counters()
        .by_kind[static_cast<size_t>(vtd::DescriptorKind::kIotlbGlobal)];
  };
  const uint64_t before = flushes();
  EXPECT_TRUE(domain_->Unmap({kElsewhere}).ok());
  EXPECT_TRUE(old_->Unmap({kElsewhere}).ok());
  EXPECT_EQ(flushes(), before);
  EXPECT_EQ(*unit_->TakeDomainId(), taken);
}

TEST_F(FailedSwitchTest, AnotherSwitchMakesGoodForTheFlushThatWasLost) {
  FailToSwitch();
  StartEmptyQueue();
  EXPECT_TRUE(group_->SwitchTo(GroupPlace{}).ok());
  EXPECT_EQ(Read(kMembers[0]), std::nullopt);
}

TEST_F(FailedSwitchTest, ABlockedGroupGoesNowhereBeforeTheFlushThatIsOwed) {
  DeviceGroup other(port_.get(), {kMembers[2]});
  ASSERT_TRUE(other.SwitchTo(GroupPlace{}).ok());
  FailToSwitch();
  EXPECT_EQ(other.SwitchTo(On(domain_)).status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(unit_->RequesterEntry(kMembers[2]), vtd::MakeBlockedEntry());
  StartEmptyQueue();
  EXPECT_TRUE(other.SwitchTo(On(domain_)).ok());
  EXPECT_EQ(Read(kMembers[0]), 0x1111u);
}

TEST_F(FailedSwitchTest, TablesOfADomainThatIsGoneStayWhileTheHardwareMayWalkThem) {
  const uint64_t full = arena_->pages_in_use();
  FailToSwitch();
  domain_.reset();
  EXPECT_EQ(arena_->pages_in_use(), full);
  EXPECT_EQ(Read(kMembers[0]), 0x2222u);
  StartEmptyQueue();
  EXPECT_TRUE(old_->Unmap({kElsewhere}).ok());
  EXPECT_EQ(arena_->pages_in_use(), full - 4);  // One table of each level.
  EXPECT_EQ(Read(kMembers[0]), 0x1111u);
}

TEST_F(FailedSwitchTest, TablesThatWereKeptGoWithTheUnit) {
  FailToSwitch();
  domain_.reset();
  group_.reset();
  old_.reset();
  EXPECT_EQ(Read(kMembers[0]), 0x2222u);
  unit_.reset();
  EXPECT_EQ(arena_->pages_in_use(), 2u);  // What was mapped.
}

TEST_F(FailedSwitchTest, WhatIsNestedAndGoesLeavesItsFlushToItsParent) {
  DomainProperties properties = *vtd::PlanSecondStage({});
  properties.nest_parent = true;
  const std::shared_ptr<SoftDomain> parent =
      *SoftDomain::Create(properties, {}, PlainStore(), arena_.get());
  auto nested = std::make_shared<NestedDomain>(VtdStage1{}, parent);
  const uint16_t taken = *unit_->TakeDomainId();
  unit_->ReturnDomainId(taken);
  stores_ = 0;
  stop_at_store_ = 2;  // Its entry takes two.
  EXPECT_EQ(group_->SwitchTo({DomainTarget::Kind::kDomain, nested, false}).status().code(),
            absl::StatusCode::kInternal);
  nested.reset();
  EXPECT_FALSE(parent->HasChildren());
  EXPECT_EQ(parent->Unmap({kArea}).code(), absl::StatusCode::kInternal);
  EXPECT_NE(*unit_->TakeDomainId(), taken);
  StartEmptyQueue();
  EXPECT_TRUE(parent->Unmap({kArea}).ok());
  EXPECT_EQ(*unit_->TakeDomainId(), taken);
}

TEST_F(FailedSwitchTest, MembersThatWentBackAreFlushedAsBefore) {
  stores_ = 0;
  stop_at_store_ = 2;
  at_stop_ = [this] { RefuseNext(); };
  EXPECT_EQ(group_->SwitchTo(On(domain_)).status().code(), absl::StatusCode::kInternal);
  for (const uint16_t source_id : kMembers) EXPECT_EQ(Read(source_id), 0x1111u);
  EXPECT_TRUE(old_->Unmap({kArea}).ok());
  for (const uint16_t source_id : kMembers) EXPECT_EQ(Read(source_id), std::nullopt);
}

// ---- A member that does not answer ----

TEST_F(FailedSwitchTest, AMemberThatDoesNotAnswerIsLeftOutAndTheOthersMove) {
  for (const uint16_t source_id : kMembers) EXPECT_EQ(Read(source_id), 0x1111u);
  unit_->hardware().SetDeviceTlbAnswers(kMembers[1], false);
  ASSERT_TRUE(group_->SwitchTo(On(domain_)).ok());
  EXPECT_EQ(group_->place().domain, domain_);
  EXPECT_EQ(port_->Quarantined(), std::vector<uint32_t>{kMembers[1]});
  EXPECT_EQ(Read(kMembers[0]), 0x2222u);
  EXPECT_EQ(Read(kMembers[1]), std::nullopt);
  EXPECT_EQ(Read(kMembers[2]), 0x2222u);
  EXPECT_TRUE(old_->Unmap({kArea}).ok()) << "nothing is owed";
  EXPECT_EQ(group_->LetGo(kMembers[1]).code(), absl::StatusCode::kInternal);
  EXPECT_EQ(Read(kMembers[1]), std::nullopt);
  ASSERT_TRUE(group_->SwitchTo(GroupPlace{}).ok());
  ASSERT_TRUE(group_->SwitchTo(On(domain_)).ok());
  unit_->hardware().SetDeviceTlbAnswers(kMembers[1], true);
  EXPECT_EQ(Read(kMembers[1]), std::nullopt) << "it takes a reset";
  ASSERT_TRUE(group_->LetGo(kMembers[1]).ok());
  for (const uint16_t source_id : kMembers) EXPECT_EQ(Read(source_id), 0x2222u);
}

TEST_F(FailedSwitchTest, AMemberThatDoesNotAnswerIsHeldAndNotLetGo) {
  for (const uint16_t source_id : kMembers) EXPECT_EQ(Read(source_id), 0x1111u);
  unit_->hardware().SetDeviceTlbAnswers(kMembers[0], false);
  EXPECT_TRUE(group_->Hold(kMembers[0]).ok());
  EXPECT_EQ(port_->Quarantined(), std::vector<uint32_t>{kMembers[0]});
  for (int attempt = 0; attempt < 2; ++attempt) {
    EXPECT_EQ(group_->LetGo(kMembers[0]).code(), absl::StatusCode::kInternal);
    EXPECT_EQ(unit_->RequesterEntry(kMembers[0]), vtd::MakeBlockedEntry()) << "as any held one";
    EXPECT_EQ(Read(kMembers[0]), std::nullopt);
    EXPECT_EQ(Read(kMembers[1]), 0x1111u);
  }
  ASSERT_TRUE(group_->SwitchTo(On(domain_)).ok());
  unit_->hardware().SetDeviceTlbAnswers(kMembers[0], true);
  ASSERT_TRUE(group_->LetGo(kMembers[0]).ok());
  EXPECT_TRUE(port_->Quarantined().empty());
  for (const uint16_t source_id : kMembers) EXPECT_EQ(Read(source_id), 0x2222u);
}

}  // namespace
}  // namespace viommu
