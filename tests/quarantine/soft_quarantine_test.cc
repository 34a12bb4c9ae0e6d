// Devices that stop answering invalidations, over the software IOMMU of both architectures:
// whatever is called meanwhile succeeds, they reach nothing when it has, nobody else notices, and
// after a reset all is as if they had been attached anew.
#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "engine/backend/soft/hardware/smmu_model.h"
#include "engine/backend/soft/hardware/vtd_model.h"
#include "engine/backend/soft/soft_backend.h"
#include "engine/backend/topology.h"
#include "engine/base/address.h"
#include "engine/engine.h"
#include "engine/engine_fixture.h"
#include "engine/journal/memory_journal.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 4096, kMiB = uint64_t{1} << 20;
constexpr Iova kBase = 0x4000'0000;
constexpr uint64_t kPages = 4;  // Of each address space, and of the region for each of them.
constexpr int kSpaces = 2;
constexpr uint32_t kPasid = 5;
constexpr uint64_t kFault = ~uint64_t{0};

// The last two are one group.
constexpr std::array<const char*, 5> kDevices = {"nic", "disk", "gpu", "fn0", "fn1"};
constexpr size_t kGroups = 4;
size_t GroupOf(size_t device) { return std::min(device, kGroups - 1); }

Topology Host(IommuArchitecture architecture) {
  Topology host;
  host.iommus.resize(1);
  host.iommus[0].id = "iommu0";
  host.iommus[0].architecture = architecture;
  host.iommus[0].first_stage = true;
  host.iommus[0].smmu_v3.substream_id_bits = 8;
  for (size_t i = 0; i < kDevices.size(); ++i) {
    DeviceSpec device;
    device.id = kDevices[i];
    device.pci_address = absl::StrCat("0000:0", i + 1, ":00.0");
    device.iommu = "iommu0";
    device.group = kDevices[GroupOf(i)];
    device.pasid_bits = 8;
    device.ats = true;
    host.devices.push_back(device);
  }
  return host;
}

class SoftQuarantineTest : public testing::TestWithParam<IommuArchitecture> {
 protected:
  void SetUp() override {
    backend_ = *SoftBackend::Create(Host(GetParam()), {16 * kMiB}, PlainStore());
    engine_ = *Engine::Create({"quarantine"}, backend_.get(), &journal_, &env_);
    me_.is_operator = true;
    ASSERT_TRUE(
        engine_->CreateMemoryRegion(me_, "ram", kSpaces * kPages * kPage, std::nullopt).ok());
    for (uint64_t page = 0; page < kSpaces * kPages; ++page) {
      const uint64_t word = 1000 + page;
      ASSERT_TRUE(engine_
                      ->WriteMemory(me_, Ref("ram"), page * kPage,
                                    {reinterpret_cast<const char*>(&word), sizeof(word)})
                      .ok());
    }
  }

  static ObjectRef Ref(const std::string& id) { return {id, std::nullopt}; }
  static std::string Space(int space) { return absl::StrCat("as", space); }
  static std::string DomainOf(int space) { return absl::StrCat("d", space); }
  // Address spaces, a domain on each, and every device claimed.
  void MakeDomains() {
    for (const char* const device : kDevices) {
      ASSERT_TRUE(engine_->ClaimDevice(me_, device, "").ok());
    }
    for (int space = 0; space < kSpaces; ++space) {
      ASSERT_TRUE(engine_->CreateIoas(me_, Space(space)).ok());
      PagingDomainRequest request{Ref(Space(space)), kDevices[0]};
      request.pasid = true;
      ASSERT_TRUE(engine_->CreateDomain(me_, DomainOf(space), request).ok());
    }
  }
  absl::Status Map(int space, uint64_t page) {
    MapBatch batch;
    batch.regions = {Ref("ram")};
    batch.entries = {
        {kBase + page * kPage, (space * kPages + page) * kPage, kPage, 0, Permission::kReadWrite}};
    return engine_->Map(me_, Ref(Space(space)), batch).status();
  }
  absl::Status Unmap(int space, uint64_t page) {
    UnmapBatch batch;
    batch.entries = {{kBase + page * kPage, kPage}};
    return engine_->Unmap(me_, Ref(Space(space)), batch).status();
  }
  void Answers(size_t device, bool answers) {
    const auto index = static_cast<DeviceIndex>(device);
    SoftMachine& machine = backend_->machine();
    if (SmmuUnit* const smmu = machine.find_smmu(index)) {
      smmu->hardware().SetDeviceTlbAnswers(machine.requester_of(index), answers);
    } else {
      machine.unit_of(index).hardware().SetDeviceTlbAnswers(machine.source_id_of(index), answers);
    }
  }

  // What a device reads, or kFault.
  uint64_t Read(size_t device, std::optional<uint32_t> pasid, Iova iova) {
    uint64_t word = 0;
    const auto done =
        engine_->Dma(me_, kDevices[device], iova, false,
                     absl::MakeSpan(reinterpret_cast<char*>(&word), sizeof(word)), pasid);
    return !done.ok() || done->fault.has_value() ? kFault : word;
  }
  // Whether the unit takes an address of the region that the device says was translated.
  bool TakesTranslated(size_t device, std::optional<uint32_t> pasid) {
    const auto index = static_cast<DeviceIndex>(device);
    SoftMachine& machine = backend_->machine();
    const Uid region = engine_->GetMemoryRegion(me_, Ref("ram"))->object.uid;
    const uint64_t address = backend_->simulation()->PhysicalAddress(region, 0)->value;
    if (SmmuUnit* const smmu = machine.find_smmu(index)) {
      hardware::smmu::Request request;
      request.stream_id = machine.requester_of(index);
      request.substream_id = pasid;
      request.address = address;
      request.type = hardware::smmu::AddressType::kTranslated;
      return smmu->hardware().Translate(request).ok();
    }
    hardware::Request request;
    request.source_id = machine.source_id_of(index);
    request.pasid = pasid;
    request.address = address;
    request.type = hardware::AddressType::kTranslated;
    return machine.unit_of(index).hardware().Translate(request).ok();
  }
  DeviceView View(size_t device) { return *engine_->GetDevice(me_, kDevices[device]); }

  std::unique_ptr<SoftBackend> backend_;
  MemoryJournal journal_;
  FakeEnv env_;
  std::unique_ptr<Engine> engine_;
  CallContext me_;
};

// The same as the engine believes it, by a model of a few lines.
class RandomQuarantineTest : public SoftQuarantineTest {
 protected:
  static constexpr int kNowhere = -1;

  std::optional<uint32_t> PasidAt(size_t slot) const {
    return slot == 0 ? std::nullopt : std::optional<uint32_t>(kPasid);
  }
  size_t Random(size_t below) { return random_() % below; }
  bool IsOutOf(size_t group) const {
    for (size_t device = 0; device < kDevices.size(); ++device) {
      if (GroupOf(device) == group && out_[device]) return true;
    }
    return false;
  }

  void MapOrUnmap() {
    const auto space = static_cast<int>(Random(kSpaces));
    const uint64_t page = Random(kPages);
    bool& mapped = mapped_[space][page];
    const absl::Status status = mapped ? Unmap(space, page) : Map(space, page);
    ASSERT_TRUE(status.ok()) << status;
    mapped = !mapped;
  }
  void AttachOrDetach() {
    const size_t device = Random(kDevices.size());
    const size_t slot = Random(2);
    int& place = places_[GroupOf(device)][slot];
    // Of a pair the first is attached, and the second moves along.
    const char* const name = kDevices[GroupOf(device)];
    if (place != kNowhere && Random(2) == 0) {
      const absl::Status status = engine_->DetachDevice(me_, name, PasidAt(slot)).status();
      ASSERT_TRUE(status.ok()) << status;
      place = kNowhere;
      return;
    }
    const auto target = static_cast<int>(Random(kSpaces));
    // To stay where it is is always fine.
    const bool refused = IsOutOf(GroupOf(device)) && target != place;
    const absl::Status status =
        place == kNowhere
            ? engine_->AttachDevice(me_, name, Ref(DomainOf(target)), PasidAt(slot)).status()
            : engine_->ReplaceAttachment(me_, name, Ref(DomainOf(target)), PasidAt(slot)).status();
    ASSERT_EQ(Described(status), refused ? "FAILED_PRECONDITION DEVICE_UNHEALTHY" : "OK");
    if (!refused) place = target;
  }
  void Reset() {
    const size_t device = Random(kDevices.size());
    const absl::Status status = engine_->ResetDevice(me_, kDevices[device]).status();
    if (!status.ok()) {
      ASSERT_EQ(Described(status), "INTERNAL RESET_FAILED");
      ASSERT_TRUE(device == silent_);
    }
    out_[device] = !status.ok();
    ++(status.ok() ? resets_ : failed_resets_);
  }

  // Whoever is out now was before, or does not answer; the engine says so.
  void LookWhoIsOut() {
    const std::vector<DeviceIndex> quarantined = backend_->Quarantined();
    for (size_t device = 0; device < kDevices.size(); ++device) {
      const bool is_out =
          std::find(quarantined.begin(), quarantined.end(), device) != quarantined.end();
      if (is_out && !out_[device]) {
        ASSERT_TRUE(device == silent_) << kDevices[device] << " answers";
        out_[device] = true;
        ++quarantines_;
      }
      const DeviceView view = View(device);
      ASSERT_EQ(view.health == DeviceHealth::kUnhealthy, out_[device]) << kDevices[device];
      ASSERT_TRUE(!out_[device] || view.health_cause == HealthReason::kInvalidationFailed ||
                  view.health_cause == HealthReason::kResetFailed);
    }
  }
  // Every device sees what it is to see, also of what is only in its TLB.
  void LookAtEverything() {
    for (size_t device = 0; device < kDevices.size(); ++device) {
      for (const size_t slot : {0, 1}) {
        const int place = places_[GroupOf(device)][slot];
        for (uint64_t page = 0; page < kPages; ++page) {
          const bool through = !out_[device] && place != kNowhere && mapped_[place][page];
          ASSERT_EQ(Read(device, PasidAt(slot), kBase + page * kPage),
                    through ? 1000 + place * kPages + page : kFault)
              << kDevices[device] << " slot " << slot << " page " << page;
        }
        ASSERT_FALSE(out_[device] && TakesTranslated(device, PasidAt(slot))) << kDevices[device];
      }
    }
  }

  std::mt19937_64 random_;
  bool mapped_[kSpaces][kPages] = {};
  int places_[kGroups][2] = {
      {kNowhere, kNowhere}, {kNowhere, kNowhere}, {kNowhere, kNowhere}, {kNowhere, kNowhere}};
  std::array<bool, kDevices.size()> out_ = {};
  std::optional<size_t> silent_;
  int quarantines_ = 0, resets_ = 0, failed_resets_ = 0;
};

TEST_P(RandomQuarantineTest, OnlyTheSilentDeviceLosesItsWay) {
  constexpr uint64_t kSeed = 20261126;
  SCOPED_TRACE(absl::StrCat("seed ", kSeed));
  random_.seed(kSeed);
  MakeDomains();
  for (int step = 0; step < 3000; ++step) {
    SCOPED_TRACE(absl::StrCat("step ", step));
    if (Random(3) == 0) {
      if (silent_.has_value()) Answers(*silent_, true);
      silent_ = Random(3) == 0 ? std::nullopt : std::optional<size_t>(Random(kDevices.size()));
      if (silent_.has_value()) Answers(*silent_, false);
    }
    switch (Random(5)) {
      case 0:
        ASSERT_NO_FATAL_FAILURE(Reset());
        break;
      case 1:
      case 2:
        ASSERT_NO_FATAL_FAILURE(AttachOrDetach());
        break;
      default:
        ASSERT_NO_FATAL_FAILURE(MapOrUnmap());
    }
    ASSERT_NO_FATAL_FAILURE(LookWhoIsOut());
    ASSERT_NO_FATAL_FAILURE(LookAtEverything());
  }
  EXPECT_GT(quarantines_, 100);
  EXPECT_GT(resets_, 100);
  EXPECT_GT(failed_resets_, 10);
  EXPECT_EQ(engine_->Stats().quarantines, static_cast<uint64_t>(quarantines_));
}

// A device of the host, whose deferred unmap is flushed by the timer.
TEST_P(SoftQuarantineTest, TheTimerThatMeetsItGoesOnForTheOthers) {
  std::array<Iova, 2> iovas = {};
  for (const size_t device : {0, 1}) {
    ASSERT_TRUE(engine_->SetDefaultDomain(me_, kDevices[device], DefaultDomainType::kDmaFq).ok());
    iovas[device] = *engine_->HostMap(me_, kDevices[device], Ref("ram"), device * kPage, kPage,
                                      Permission::kReadWrite);
    ASSERT_EQ(Read(device, std::nullopt, iovas[device]), 1000 + device);
  }
  const uint64_t failures = engine_->Stats().flush_queues.failures;
  Answers(0, false);
  for (const size_t device : {0, 1}) {
    ASSERT_TRUE(engine_->HostUnmap(me_, kDevices[device], iovas[device], kPage).ok());
  }
  env_.Advance(absl::Seconds(1));
  for (int i = 0; i < 10'000 && engine_->Stats().flush_queues.waiting > 0; ++i) {
    absl::SleepFor(absl::Milliseconds(1));
  }
  EXPECT_EQ(engine_->Stats().flush_queues.waiting, 0u);
  EXPECT_EQ(engine_->Stats().flush_queues.failures, failures);
  EXPECT_EQ(View(0).health_cause, HealthReason::kInvalidationFailed);
  EXPECT_EQ(View(1).health, DeviceHealth::kHealthy);
  for (const size_t device : {0, 1}) {
    EXPECT_EQ(Read(device, std::nullopt, iovas[device]), kFault);
  }
  EXPECT_FALSE(TakesTranslated(0, std::nullopt));
  EXPECT_EQ(Described(engine_->ResetDevice(me_, kDevices[0]).status()), "INTERNAL RESET_FAILED");
  Answers(0, true);
  ASSERT_TRUE(engine_->ResetDevice(me_, kDevices[0]).ok());
  const Iova again =
      *engine_->HostMap(me_, kDevices[0], Ref("ram"), 0, kPage, Permission::kReadWrite);
  EXPECT_EQ(Read(0, std::nullopt, again), 1000u);
}

// Reliability case 11: it is gone while somebody waits for its answer, and then it is taken out.
TEST_P(SoftQuarantineTest, ADeviceThatIsGoneHoldsUpNobody) {
  MakeDomains();
  ASSERT_TRUE(Map(0, 0).ok());
  for (const char* const name : {"fn0", "nic"}) {
    ASSERT_TRUE(engine_->AttachDevice(me_, name, Ref("d0")).ok());
    ASSERT_TRUE(engine_->AttachDevice(me_, name, Ref("d0"), kPasid).ok());
  }
  for (const size_t device : {0, 3, 4}) {
    ASSERT_EQ(Read(device, std::nullopt, kBase), 1000u);
    ASSERT_EQ(Read(device, kPasid, kBase), 1000u);
  }
  Answers(3, false);
  ASSERT_TRUE(Unmap(0, 0).ok());
  ASSERT_TRUE(engine_->UnplugDevice(me_, "fn0").ok());
  ASSERT_TRUE(Map(0, 1).ok());
  EXPECT_EQ(Read(0, kPasid, kBase + kPage), 1001u);
  // It comes back when it answers, and before only where it can not be asked: an SMMUv3 keeps ATS
  // off while its group is blocked.
  const bool is_back = engine_->PlugDevice(me_, "fn0").ok();
  EXPECT_EQ(is_back, GetParam() == IommuArchitecture::kSmmuV3);
  Answers(3, true);
  if (!is_back) {
    ASSERT_TRUE(engine_->PlugDevice(me_, "fn0").ok());
  }
  EXPECT_EQ(View(3).health, DeviceHealth::kHealthy);
  ASSERT_TRUE(engine_->AttachDevice(me_, "fn1", Ref("d0")).ok());
  EXPECT_EQ(Read(3, std::nullopt, kBase + kPage), 1001u);
  EXPECT_EQ(Read(3, std::nullopt, kBase), kFault);
  EXPECT_EQ(Read(4, std::nullopt, kBase + kPage), 1001u);
}

constexpr auto kBoth = {IommuArchitecture::kVtd, IommuArchitecture::kSmmuV3};
std::string NameOf(const testing::TestParamInfo<IommuArchitecture>& info) {
  return info.param == IommuArchitecture::kSmmuV3 ? "SmmuV3" : "Vtd";
}
INSTANTIATE_TEST_SUITE_P(Units, SoftQuarantineTest, testing::ValuesIn(kBoth), NameOf);
INSTANTIATE_TEST_SUITE_P(Units, RandomQuarantineTest, testing::ValuesIn(kBoth), NameOf);

}  // namespace
}  // namespace viommu
