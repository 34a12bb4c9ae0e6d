// A guest with an SMMUv3 of its own: its entry, its tables and its commands, over the soft backend.

#include "engine/backend/soft/soft_viommus.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "engine/backend/backend.h"
#include "engine/backend/soft/smmu_event_queue.h"
#include "engine/backend/soft/soft_backend.h"
#include "engine/backend/topology.h"
#include "engine/base/address.h"
#include "engine/base/errors.h"
#include "engine/entries/smmu_cd.h"
#include "engine/entries/smmu_ste.h"
#include "engine/pagetable/store.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kPage = 4096;

constexpr DeviceIndex kNic = 0, kDisk = 1;

Topology GuestTopology() {
  Topology topology;
  topology.iommus.resize(1);
  IommuSpec& unit = topology.iommus[0];
  unit.id = "smmu0";
  unit.architecture = IommuArchitecture::kSmmuV3;
  unit.smmu_v3.nesting = unit.smmu_v3.s2fwb = true;
  unit.smmu_v3.substream_id_bits = 8;
  topology.devices.resize(2);
  for (int i = 0; i < 2; ++i) {
    DeviceSpec& device = topology.devices[i];
    device.id = device.pci_address = "0000:0" + std::to_string(i + 1) + ":00.0";
    device.group = device.id;
    device.iommu = "smmu0";
    device.pasid_bits = 8;
    device.ats = i == 0;
  }
  return topology;
}

class SoftViommusTest : public testing::Test {
 protected:
  enum : Uid {
    kRegion = 1,
    kIoas,
    kParent,
    kViommu,
    kNicThere,
    kDiskThere,
    kGuest,
    kOther,
    kPaging
  };
  // The guest's memory, from its address kBase: a descriptor, a table of each level, two pages.
  static constexpr Iova kBase = 0x4000'0000;
  static constexpr uint64_t kTables = 0x1000, kLeaf = 0x4000, kFirst = 0x5000, kSecond = 0x6000;
  static constexpr uint64_t kVirtual = 0x123'4000;  // Leads to the first page.
  static constexpr uint16_t kAsid = 5;
  static constexpr uint32_t kVirtualStream = 0x77;

  explicit SoftViommusTest(const Topology& topology = GuestTopology()) {
    backend_ = *SoftBackend::Create(topology, {64 * kMiB}, PlainStore());
    sim_ = backend_->simulation();
    viommus_ = backend_->viommus();
    EXPECT_TRUE(backend_->CreateMemoryRegion(kRegion, 4 * kMiB, std::nullopt).ok());
    EXPECT_TRUE(backend_->CreateIoas(kIoas).ok());
    EXPECT_TRUE(backend_->Map(kIoas, {Memory()}).ok());
    DomainSpec parent;
    parent.ioas = kIoas;
    parent.nest_parent = true;
    EXPECT_TRUE(backend_->CreateDomain(kParent, parent, {Memory()}).ok());
    EXPECT_TRUE(backend_->Claim({kNic}).ok());
    EXPECT_TRUE(backend_->Claim({kDisk}).ok());
    EXPECT_TRUE(viommus_->CreateViommu(kViommu, kNic, kParent).ok());
    EXPECT_TRUE(viommus_->CreateVdevice(kNicThere, kViommu, kNic, kVirtualStream).ok());
    EXPECT_TRUE(viommus_->CreateVdevice(kDiskThere, kViommu, kDisk, kVirtualStream + 1).ok());
    WriteGuest();
  }

  static BackendMapping Memory() { return {kBase, 4 * kMiB, kRegion, 0, Permission::kReadWrite}; }

  void WriteWord(uint64_t offset, uint64_t word) {
    const auto* bytes = reinterpret_cast<const char*>(&word);
    ASSERT_TRUE(sim_->WriteMemory(kRegion, offset, {bytes, sizeof(word)}).ok());
  }
  void PointTo(uint64_t page) {
    constexpr uint64_t kPageBits = 0x3 | 1 << 2 | 1 << 6 | 3 << 8 | 1 << 10 | 1 << 11;
    WriteWord(kLeaf + (kVirtual >> 12 & 511) * 8, (kBase + page) | kPageBits);
  }
  void WriteGuest() {
    smmu::CdFields fields;
    fields.root = PhysAddr{kBase + kTables};
    fields.asid = kAsid;
    const smmu::Cd cd = smmu::MakeCd(fields);
    for (size_t i = 0; i < cd.size(); ++i) WriteWord(i * sizeof(uint64_t), cd[i]);
    for (const int level : {0, 1, 2}) {
      const uint64_t table = kTables + level * kPage;
      WriteWord(table + (kVirtual >> (39 - 9 * level) & 511) * 8, (kBase + table + kPage) | 3);
    }
    PointTo(kFirst);
    ASSERT_TRUE(sim_->WriteMemory(kRegion, kFirst, "first").ok());
    ASSERT_TRUE(sim_->WriteMemory(kRegion, kSecond, "other").ok());
  }

  static ArmSmmuV3Stage1 Translating() {
    return {{smmu::kSteValid | smmu::kSteConfig.Put(5) | kBase, smmu::kSteEats.Put(1)}};
  }
  static ArmSmmuV3Stage1 Bypassing() { return {{smmu::kSteValid | smmu::kSteConfig.Put(4), 0}}; }
  static ArmSmmuV3Stage1 Aborting() { return {{smmu::kSteValid, 0}}; }
  static DomainSpec Nested(const ArmSmmuV3Stage1& vste, DeviceIndex device = kNic) {
    DomainSpec spec;
    spec.kind = DomainSpec::Kind::kNested;
    spec.device = device;
    spec.parent = kParent;
    spec.viommu = kViommu;
    spec.vste = vste;
    return spec;
  }

  absl::Status Switch(DeviceIndex device, Uid domain) {
    const DomainTarget target{
        domain == 0 ? DomainTarget::Kind::kBlocked : DomainTarget::Kind::kDomain, domain};
    const Transition planned = backend_->PlanSwitch({device}, std::nullopt, target);
    const auto done = backend_->Switch({device}, std::nullopt, target);
    if (done.ok()) {
      EXPECT_EQ(done->hitless, planned.hitless);
    }
    return done.status();
  }
  std::string Read(DeviceIndex device, Iova iova = kVirtual) {
    std::string text(5, '-');
    const DmaOutcome outcome = sim_->Dma(device, std::nullopt, iova, false, absl::MakeSpan(text));
    return outcome.fault.has_value() ? outcome.fault->reason : text;
  }

  std::unique_ptr<SoftBackend> backend_;
  Simulation* sim_ = nullptr;
  Viommus* viommus_ = nullptr;
};

TEST_F(SoftViommusTest, AGuestsEntryTranslatesBypassesOrAborts) {
  ASSERT_TRUE(backend_->CreateDomain(kGuest, Nested(Translating()), {}).ok());
  for (const DeviceIndex device : {kNic, kDisk}) {
    ASSERT_TRUE(Switch(device, kGuest).ok());
    EXPECT_EQ(Read(device), "first");
    EXPECT_EQ(Read(device, kBase + kFirst), "F_TRANSLATION");
  }
  for (const auto& [vste, there, guest] : {std::tuple{Bypassing(), "first", "F_TRANSLATION"},
                                           std::tuple{Aborting(), "ABORTED", "ABORTED"},
                                           std::tuple{ArmSmmuV3Stage1{}, "ABORTED", "ABORTED"}}) {
    ASSERT_TRUE(backend_->CreateDomain(kOther, Nested(vste), {}).ok());
    ASSERT_TRUE(Switch(kNic, kOther).ok());
    EXPECT_EQ(Read(kNic, kBase + kFirst), there);
    EXPECT_EQ(Read(kNic), guest);
    EXPECT_EQ(Read(kDisk), "first");
    ASSERT_TRUE(Switch(kNic, kGuest).ok());
    EXPECT_EQ(Read(kNic), "first");
    ASSERT_TRUE(backend_->DestroyDomain(kOther).ok());
  }
}

TEST_F(SoftViommusTest, AParentStaysWhileAGuestsStageStandsOnIt) {
  ASSERT_TRUE(backend_->CreateDomain(kGuest, Nested(Bypassing()), {}).ok());
  EXPECT_EQ(backend_->DestroyDomain(kParent).code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(Switch(kNic, kGuest).ok());
  EXPECT_EQ(Read(kNic, kBase + kFirst), "first");
  ASSERT_TRUE(Switch(kNic, 0).ok());
  ASSERT_TRUE(backend_->DestroyDomain(kGuest).ok());
  ASSERT_TRUE(viommus_->DestroyVdevice(kNicThere).ok());
  ASSERT_TRUE(viommus_->DestroyVdevice(kDiskThere).ok());
  ASSERT_TRUE(viommus_->DestroyViommu(kViommu).ok());
  EXPECT_TRUE(backend_->DestroyDomain(kParent).ok());
}

TEST_F(SoftViommusTest, TheGuestsCommandsDropWhatItChanged) {
  ASSERT_TRUE(backend_->CreateDomain(kGuest, Nested(Translating()), {}).ok());
  for (const DeviceIndex device : {kNic, kDisk}) {
    ASSERT_TRUE(Switch(device, kGuest).ok());
    EXPECT_EQ(Read(device), "first");
  }
  PointTo(kSecond);
  EXPECT_EQ(Read(kNic), "first") << "its device TLB has it";
  EXPECT_EQ(Read(kDisk), "first") << "the unit's TLB has it";
  ArmSmmuV3Invalidation page;
  page.opcode = ArmSmmuV3Opcode::kTlbiVa;
  page.asid = kAsid;
  page.address = kVirtual;
  page.leaves_only = true;
  ViommuInvalidateOutcome outcome = viommus_->InvalidateViommu(kViommu, {page});
  EXPECT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_EQ(outcome.handled, 1u);
  EXPECT_EQ(Read(kDisk), "other");
  EXPECT_EQ(Read(kNic), "first") << "its device TLB still has it";
  PointTo(kFirst);
  ArmSmmuV3Invalidation device;
  device.opcode = ArmSmmuV3Opcode::kAtcInv;
  device.stream_id = kVirtualStream;
  device.address = kVirtual;
  outcome = viommus_->InvalidateViommu(kViommu, {page, device, page});
  EXPECT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_EQ(outcome.handled, 3u);
  PointTo(kSecond);
  EXPECT_EQ(Read(kNic), "other");
}

// The guest is told that all is done, and so it is: what the device knew leads nowhere.
TEST_F(SoftViommusTest, AGuestsCommandsGoOnWithoutADeviceThatDoesNotAnswer) {
  ASSERT_TRUE(backend_->CreateDomain(kGuest, Nested(Translating()), {}).ok());
  for (const DeviceIndex device : {kNic, kDisk}) {
    ASSERT_TRUE(Switch(device, kGuest).ok());
    ASSERT_EQ(Read(device), "first");
  }
  PointTo(kSecond);
  SoftMachine& machine = backend_->machine();
  hardware::SmmuModel& unit = machine.smmu_of(kNic).hardware();
  unit.SetDeviceTlbAnswers(machine.requester_of(kNic), false);
  ArmSmmuV3Invalidation all;
  all.opcode = ArmSmmuV3Opcode::kTlbiAll;
  ArmSmmuV3Invalidation device;
  device.opcode = ArmSmmuV3Opcode::kAtcInv;
  device.stream_id = kVirtualStream;
  device.address = kVirtual;
  const ViommuInvalidateOutcome outcome =
      viommus_->InvalidateViommu(kViommu, {all, device, all, device});
  EXPECT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_EQ(outcome.handled, 4u);
  EXPECT_EQ(backend_->Quarantined(), std::vector<DeviceIndex>{kNic});
  EXPECT_EQ(Read(kDisk), "other");
  EXPECT_EQ(Read(kNic), "ABORTED");
  unit.SetDeviceTlbAnswers(machine.requester_of(kNic), true);
  ASSERT_TRUE(backend_->Unblock(kNic).ok());
  EXPECT_EQ(Read(kNic), "other");
}

TEST_F(SoftViommusTest, CommandsReachNoOtherGuest) {
  ASSERT_TRUE(backend_->CreateDomain(kGuest, Nested(Translating()), {}).ok());
  ArmSmmuV3Invalidation unknown;
  unknown.opcode = ArmSmmuV3Opcode::kAtcInv;
  unknown.stream_id = kVirtualStream + 9;
  ArmSmmuV3Invalidation all;
  all.opcode = ArmSmmuV3Opcode::kTlbiAll;
  const ViommuInvalidateOutcome outcome = viommus_->InvalidateViommu(kViommu, {all, unknown, all});
  EXPECT_FALSE(outcome.status.ok());
  EXPECT_EQ(outcome.handled, 1u);
}

// Invariant I9.
TEST_F(SoftViommusTest, WhatTheHostUnmapsIsGoneForTheGuestToo) {
  backend_->machine().smmu_of(kNic).hardware().SetRefills(true);
  ASSERT_TRUE(backend_->CreateDomain(kGuest, Nested(Translating()), {}).ok());
  for (const DeviceIndex device : {kNic, kDisk}) {
    ASSERT_TRUE(Switch(device, kGuest).ok());
    EXPECT_EQ(Read(device), "first");
  }
  ASSERT_TRUE(backend_->Unmap(kIoas, {Memory().range()}).ok());
  EXPECT_NE(Read(kNic), "first");
  EXPECT_NE(Read(kDisk), "first");
}

TEST_F(SoftViommusTest, BetweenAGuestsEntriesThereIsNoGap) {
  ASSERT_TRUE(backend_->CreateDomain(kGuest, Nested(Translating()), {}).ok());
  ASSERT_TRUE(backend_->CreateDomain(kOther, Nested(Bypassing()), {}).ok());
  ASSERT_TRUE(Switch(kDisk, kGuest).ok());
  for (const Uid next : {Uid{kOther}, Uid{kGuest}, Uid{kParent}, Uid{kGuest}}) {
    const DomainTarget target{DomainTarget::Kind::kDomain, next};
    EXPECT_TRUE(backend_->PlanSwitch({kDisk}, std::nullopt, target).hitless) << next;
    ASSERT_TRUE(Switch(kDisk, next).ok());
  }
}

TEST_F(SoftViommusTest, RefusesWhatAGuestMayNotWrite) {
  const auto plan = [&](ArmSmmuV3Stage1 vste) { return backend_->PlanDomain(Nested(vste)); };
  EXPECT_TRUE(plan(Translating())->needs_vdevice);
  EXPECT_FALSE(plan(Bypassing())->needs_vdevice);
  EXPECT_FALSE(plan(Aborting())->needs_vdevice);
  for (const int word : {0, 1}) {
    ArmSmmuV3Stage1 vste = Translating();
    vste.ste[word] |= uint64_t{1} << 52;
    const absl::Status refused = plan(vste).status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(DetailOf(refused)->reason, "INVALID_VSTE");
    EXPECT_EQ(DetailOf(refused)->field, "domain.nested.arm_smmu_v3.ste_" + std::to_string(word));
  }
  DomainSpec vtd = Nested({});
  vtd.viommu = 0;
  EXPECT_EQ(backend_->PlanDomain(vtd).status().code(), absl::StatusCode::kUnimplemented);
}

TEST_F(SoftViommusTest, RefusesAGuestsEntryBesidePasids) {
  DomainSpec paging;
  paging.ioas = kIoas;
  ASSERT_TRUE(backend_->CreateDomain(kPaging, paging, {Memory()}).ok());
  ASSERT_TRUE(backend_->CreateDomain(kGuest, Nested(Translating()), {}).ok());
  ASSERT_TRUE(backend_->Switch({kNic}, 3, {DomainTarget::Kind::kDomain, kPaging}).ok());
  EXPECT_EQ(DetailOf(Switch(kNic, kGuest))->reason, "PASIDS_IN_USE");
}

TEST_F(SoftViommusTest, TellsTheGuestWhatIsItsOwnFault) {
  ASSERT_TRUE(backend_->CreateDomain(kGuest, Nested(Translating()), {}).ok());
  ASSERT_TRUE(Switch(kDisk, kGuest).ok());
  ASSERT_TRUE(Switch(kNic, kParent).ok());
  EXPECT_EQ(Read(kDisk, kVirtual + kPage), "F_TRANSLATION");
  EXPECT_EQ(Read(kNic, kBase + 8 * kMiB), "F_TRANSLATION") << "the host's business";
  std::vector<ViommuEvent> events = viommus_->TakeEvents();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].viommu, kViommu);
  EXPECT_EQ(events[0].lost, 0u);
  EXPECT_EQ(events[0].event.id, 0x10);
  EXPECT_EQ(events[0].event.stream_id, kVirtualStream + 1);
  EXPECT_TRUE(events[0].event.read);
  EXPECT_EQ(events[0].event.address, kVirtual + kPage);
  EXPECT_TRUE(viommus_->TakeEvents().empty());
  // A guest's table that leads out of its memory, which the second stage refuses.
  ASSERT_TRUE(backend_->Unmap(kIoas, {Memory().range()}).ok());
  Read(kDisk);
  EXPECT_TRUE(viommus_->TakeEvents().empty());
}

TEST_F(SoftViommusTest, TellsAGuestNothingOfDevicesThatAreNotOnItsEntries) {
  DomainSpec paging;
  paging.ioas = kIoas;
  paging.device = kDisk;
  ASSERT_TRUE(backend_->CreateDomain(kPaging, paging, {Memory()}).ok());
  ASSERT_TRUE(Switch(kDisk, kPaging).ok());
  for (const bool taken_at_once : {true, false}) {
    EXPECT_NE(Read(kDisk, kVirtual), "first") << "it faults in its own first stage";
    if (taken_at_once) {
      EXPECT_TRUE(viommus_->TakeEvents().empty()) << "though the guest has a name for it";
    }
  }
  ASSERT_TRUE(backend_->CreateDomain(kGuest, Nested(Translating(), kDisk), {}).ok());
  ASSERT_TRUE(Switch(kDisk, kGuest).ok());
  EXPECT_TRUE(viommus_->TakeEvents().empty()) << "it was no guest's then";
}

// A host that answers requests which wait: those of a third device.
class SoftViommusStallTest : public SoftViommusTest {
 protected:
  SoftViommusStallTest() : SoftViommusTest(StallTopology()) {}

  static Topology StallTopology() {
    Topology topology = GuestTopology();
    topology.iommus[0].smmu_v3.stall = topology.iommus[0].smmu_v3.pri = true;
    topology.devices[kNic].pri = true;
    DeviceSpec display;
    display.id = display.group = "display";
    display.iommu = "smmu0";
    display.stream_id = 0x8000;
    display.stall = true;
    topology.devices.push_back(display);
    return topology;
  }
};

// A guest's descriptor can ask for it, whatever the device.
TEST_F(SoftViommusStallTest, TellsTheHostOfWhatWaitsAndNotTheGuest) {
  smmu::CdFields fields;
  fields.root = PhysAddr{kBase + kTables};
  fields.asid = kAsid;
  fields.stall = true;
  WriteWord(0, smmu::MakeCd(fields)[0]);
  ASSERT_TRUE(backend_->CreateDomain(kGuest, Nested(Translating(), kDisk), {}).ok());
  ASSERT_TRUE(Switch(kDisk, kGuest).ok());
  EXPECT_EQ(Read(kDisk), "first");
  EXPECT_EQ(Read(kDisk, kVirtual + kPage), "F_TRANSLATION");
  EXPECT_TRUE(viommus_->TakeEvents().empty());
  const auto faults = backend_->TakePageFaults().faults;
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_EQ(faults[0].device, kDisk);
  EXPECT_EQ(faults[0].address, kVirtual + kPage);
  const PageGroup group = {kDisk, std::nullopt, faults[0].group};
  ASSERT_TRUE(backend_->RespondPageGroup({group, PageResponse::kSuccess}).ok());
  EXPECT_EQ(Read(kDisk, kVirtual + kPage), "F_TRANSLATION");
  ASSERT_TRUE(Switch(kDisk, 0).ok());
  EXPECT_TRUE(backend_->TakePageFaults().faults.empty()) << "it was aborted";
  const auto told = sim_->PageResponses(kDisk);
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(told[0].code, PageResponse::kSuccess);
  EXPECT_EQ(told[1].code, PageResponse::kInvalid);
}

// The same of a device that names groups itself: both have the number 0.
TEST_F(SoftViommusStallTest, TellsWhatWaitsFromWhatIsAskedFor) {
  smmu::CdFields fields;
  fields.root = PhysAddr{kBase + kTables};
  fields.asid = kAsid;
  fields.stall = true;
  WriteWord(0, smmu::MakeCd(fields)[0]);
  ASSERT_TRUE(backend_->CreateDomain(kGuest, Nested(Translating()), {}).ok());
  ASSERT_TRUE(Switch(kNic, kGuest).ok());
  EXPECT_EQ(Read(kNic, kVirtual + kPage), "F_TRANSLATION");
  PageFault asked;
  asked.device = kNic;
  asked.address = kVirtual + kPage;
  asked.read = asked.last = true;
  ASSERT_TRUE(sim_->RaisePageFault(asked).ok());
  const auto faults = backend_->TakePageFaults().faults;
  ASSERT_EQ(faults.size(), 2u);
  EXPECT_EQ(faults[0].group, 0u);
  EXPECT_EQ(faults[1].group, 512u) << "what waits";
  const auto answer = [&](const PageFault& fault, PageResponse code) {
    return backend_->RespondPageGroup({{kNic, std::nullopt, fault.group}, code}).ok();
  };
  EXPECT_TRUE(answer(faults[1], PageResponse::kSuccess));
  auto told = sim_->PageResponses(kNic);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].group.group, 512u);
  EXPECT_TRUE(answer(faults[0], PageResponse::kInvalid));
  told = sim_->PageResponses(kNic);
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(told[0].group.group, 0u);
  EXPECT_EQ(told[0].code, PageResponse::kInvalid);
}

TEST_F(SoftViommusTest, SaysThatEventsWereLost) {
  ASSERT_TRUE(backend_->CreateDomain(kGuest, Nested(Translating()), {}).ok());
  ASSERT_TRUE(Switch(kDisk, kGuest).ok());
  for (uint32_t i = 0; i < SmmuEventQueue::kEntries + 3; ++i) Read(kDisk, kVirtual + kPage);
  std::vector<ViommuEvent> events = viommus_->TakeEvents();
  ASSERT_EQ(events.size(), SmmuEventQueue::kEntries + 1);
  EXPECT_EQ(events.back().lost, 1u);
  EXPECT_EQ(events.front().lost, 0u);
  Read(kDisk, kVirtual + kPage);
  events = viommus_->TakeEvents();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].lost, 0u);
}

TEST_F(SoftViommusTest, TakesNothingForGood) {
  const auto reads = [&] { return backend_->Stats().table_pages; };
  const uint64_t before = reads();
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(backend_->CreateDomain(kGuest, Nested(Translating()), {}).ok());
    ASSERT_TRUE(Switch(kNic, kGuest).ok());
    EXPECT_EQ(Read(kNic), "first");
    ASSERT_TRUE(Switch(kNic, 0).ok());
    EXPECT_EQ(Read(kNic), "ABORTED");
    ASSERT_TRUE(backend_->DestroyDomain(kGuest).ok());
    ASSERT_TRUE(viommus_->DestroyVdevice(kNicThere).ok());
    ASSERT_TRUE(viommus_->DestroyVdevice(kDiskThere).ok());
    ASSERT_TRUE(viommus_->DestroyViommu(kViommu).ok());
    ASSERT_TRUE(viommus_->CreateViommu(kViommu, kDisk, kParent).ok());
    ASSERT_TRUE(viommus_->CreateVdevice(kNicThere, kViommu, kNic, kVirtualStream).ok());
    ASSERT_TRUE(viommus_->CreateVdevice(kDiskThere, kViommu, kDisk, 1).ok());
  }
  EXPECT_EQ(reads(), before);
}

TEST_F(SoftViommusTest, SaysWhatItOffers) {
  const ViommuSupport support = backend_->DescribeViommus(kNic);
  EXPECT_TRUE(support.arm_smmu_v3);
  EXPECT_TRUE(support.range_invalidation);
  EXPECT_TRUE(support.single_stream);
  EXPECT_EQ(support.hardware_queues, 0u);
}

}  // namespace
}  // namespace viommu
