// Viommus, vdevices, NESTED domains of a guest's stream table entry, and a guest's commands.
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/str_join.h"
#include "engine/viommu_fixture.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

class EngineViommusTest : public ViommuTest {};

TEST_F(EngineViommusTest, ShowsWhatBelongsToAViommu) {
  ASSERT_TRUE(MakeVdevice("nic", "dev0", 9).ok());
  ASSERT_TRUE(MakeGuest("guest", kVsteStage1).ok());
  const ViommuView vm = Vm();
  EXPECT_EQ(vm.iommu, "iommus/smmu0");
  EXPECT_EQ(vm.parent, "domains/parent");
  EXPECT_EQ(vm.ioas, "ioas/as");
  EXPECT_EQ(absl::StrJoin(vm.domains, ","), "domains/guest");
  EXPECT_EQ(absl::StrJoin(vm.vdevices, ","), "viommus/vm/vdevices/nic");
  const auto nic = engine_->GetVdevice(alice_, Ref("vm/vdevices/nic"));
  ASSERT_TRUE(nic.ok()) << nic.status();
  EXPECT_EQ(nic->device, "devices/dev0");
  EXPECT_EQ(nic->virtual_id, 9u);
  EXPECT_EQ(nic->viommu, "viommus/vm");
  const auto guest = engine_->GetDomain(alice_, Ref("guest"));
  EXPECT_EQ(guest->viommu, "viommus/vm");
  EXPECT_EQ(guest->parent, "domains/parent");
  EXPECT_EQ(guest->vste.ste[0], kVsteStage1);
  EXPECT_EQ(Described(engine_->GetViommu(bob_, Ref("vm")).status()), "NOT_FOUND VIOMMU_NOT_FOUND");
  EXPECT_EQ(engine_->GetViommu(operator_, {"vm", "alice"})->vdevices[0],
            "owners/alice/viommus/vm/vdevices/nic");
}

TEST_F(EngineViommusTest, ListsWhatBelongsToOneViommuOnly) {
  for (const char* const device : {"dev1", "dev4"}) Claim(device);
  ASSERT_TRUE(MakeParent("other", "dev4").ok());
  ASSERT_TRUE(MakeViommu("vm-2", "dev4", "other").ok());
  ASSERT_TRUE(MakeVdevice("a", "dev0", 1).ok());
  ASSERT_TRUE(MakeVdevice("b", "dev1", 2).ok());
  ASSERT_TRUE(engine_->CreateVdevice(alice_, Ref("vm-2"), "c", "dev4", 1).ok());
  const auto names = [&](const std::string& viommu) {
    std::string all;
    PageRequest page{1, ""};
    do {
      const auto got = engine_->ListVdevices(alice_, Ref(viommu), page);
      for (const VdeviceView& view : got->items) all += view.object.id + " ";
      page.cursor = got->next_cursor;
    } while (!page.cursor.empty());
    return all;
  };
  EXPECT_EQ(names("vm"), "vm/vdevices/a vm/vdevices/b ");
  EXPECT_EQ(names("vm-2"), "vm-2/vdevices/c ");
  EXPECT_EQ(engine_->ListViommus(alice_, {10, ""})->items.size(), 2u);
  EXPECT_TRUE(engine_->ListViommus(bob_, {10, ""})->items.empty());
}

TEST_F(EngineViommusTest, RefusesViommusInTheOrderOfTheKernel) {
  Claim("dev5");
  Claim("dev4");
  ASSERT_TRUE(MakeParent("foreign", "dev4").ok());
  ASSERT_TRUE(MakeGuest("guest", kVsteAbort).ok());
  const std::string before = Everything();
  const struct {
    const char* device;
    ViommuType type;
    const char* parent;
    const char* want;
  } kCases[] = {
      {"none", ViommuType::kArmSmmuV3, "none", "NOT_FOUND DEVICE_NOT_FOUND"},
      {"dev1", ViommuType::kArmSmmuV3, "parent", "FAILED_PRECONDITION DEVICE_NOT_CLAIMED"},
      {"dev5", ViommuType::kTegra241Cmdqv, "none",
       "UNIMPLEMENTED VIOMMU_UNAVAILABLE viommu.device"},
      {"dev0", ViommuType::kTegra241Cmdqv, "none",
       "UNIMPLEMENTED VIOMMU_TYPE_UNAVAILABLE viommu.type"},
      {"dev0", ViommuType::kArmSmmuV3, "none", "NOT_FOUND DOMAIN_NOT_FOUND"},
      {"dev0", ViommuType::kArmSmmuV3, "identity",
       "FAILED_PRECONDITION NOT_NEST_PARENT viommu.parent"},
      {"dev0", ViommuType::kArmSmmuV3, "guest",
       "FAILED_PRECONDITION NOT_NEST_PARENT viommu.parent"},
      {"dev0", ViommuType::kArmSmmuV3, "d", "FAILED_PRECONDITION NOT_NEST_PARENT viommu.parent"},
      {"dev0", ViommuType::kArmSmmuV3, "foreign", "FAILED_PRECONDITION INCOMPATIBLE_DOMAIN"},
      {"dev0", ViommuType::kArmSmmuV3, "parent", "FAILED_PRECONDITION VIOMMU_EXISTS viommu.parent"},
  };
  for (const auto& c : kCases) {
    const auto made = engine_->CreateViommu(alice_, "x", {c.device, c.type, Ref(c.parent)});
    EXPECT_EQ(DescribedInFull(made.status()), c.want);
  }
  EXPECT_EQ(Everything(), before);
}

TEST_F(EngineViommusTest, HasOneViommuOfAParentOnAnIommu) {
  const absl::Status second = MakeViommu("second", "dev0", "parent");
  EXPECT_EQ(DetailOf(second)->resource, "viommus/vm");
  ASSERT_TRUE(MakeParent("twin", "dev0").ok()) << "another parent over the same address space";
  EXPECT_TRUE(MakeViommu("second", "dev0", "twin").ok());
  EXPECT_EQ(Described(MakeViommu("second", "dev0", "twin")), "FAILED_PRECONDITION VIOMMU_EXISTS");
  ASSERT_TRUE(MakeParent("third", "dev0").ok());
  EXPECT_EQ(Described(MakeViommu("second", "dev0", "third")), "ALREADY_EXISTS VIOMMU_EXISTS");
  ASSERT_TRUE(engine_->DeleteViommu(alice_, Ref("vm"), "").ok());
  EXPECT_TRUE(MakeViommu("vm", "dev0", "parent").ok()) << "the parent is free again";
}

TEST_F(EngineViommusTest, KeepsAViommuWhileAnythingBelongsToIt) {
  ASSERT_TRUE(MakeVdevice("nic", "dev0", 9).ok());
  ASSERT_TRUE(MakeGuest("guest", kVsteAbort).ok());
  ASSERT_TRUE(
      engine_->CreateEventQueue(alice_, Ref("vm"), "q", ViommuEventType::kArmSmmuV3, 4).ok());
  const absl::Status status = engine_->DeleteViommu(alice_, Ref("vm"), "");
  EXPECT_EQ(Described(status), "FAILED_PRECONDITION IN_USE");
  EXPECT_EQ(absl::StrJoin(DetailOf(status)->violations, " "),
            "viommus/vm/vdevices/nic domains/guest viommus/vm/eventQueues/q");
  EXPECT_EQ(DetailOf(engine_->DeleteDomain(alice_, Ref("parent"), ""))->violations,
            std::vector<std::string>{"viommus/vm"});
  ASSERT_TRUE(engine_->DeleteEventQueue(alice_, Ref("vm/eventQueues/q"), "").ok());
  ASSERT_TRUE(engine_->DeleteDomain(alice_, Ref("guest"), "").ok());
  ASSERT_TRUE(engine_->DeleteVdevice(alice_, Ref("vm/vdevices/nic"), "").ok());
  EXPECT_TRUE(engine_->DeleteViommu(alice_, Ref("vm"), "").ok());
  EXPECT_TRUE(engine_->DeleteDomain(alice_, Ref("parent"), "").ok());
}

TEST_F(EngineViommusTest, RefusesVdevicesInTheOrderOfTheKernel) {
  for (const char* const device : {"dev1", "dev4", "platform0"}) Claim(device);
  ASSERT_TRUE(MakeVdevice("nic", "dev0", 9).ok());
  const std::string before = Everything();
  const auto make = [&](const std::string& viommu, const std::string& id, const std::string& device,
                        uint64_t virtual_id) {
    return DescribedInFull(
        engine_->CreateVdevice(alice_, Ref(viommu), id, device, virtual_id).status());
  };
  EXPECT_EQ(make("none", "x", "none", uint64_t{1} << 32),
            "INVALID_ARGUMENT INVALID_VIRTUAL_ID vdevice.virtual_id");
  EXPECT_EQ(make("none", "x", "none", 1), "NOT_FOUND VIOMMU_NOT_FOUND");
  EXPECT_EQ(make("vm", "x", "none", 1), "NOT_FOUND DEVICE_NOT_FOUND");
  EXPECT_EQ(make("vm", "x", "dev2", 1), "FAILED_PRECONDITION DEVICE_NOT_CLAIMED");
  EXPECT_EQ(make("vm", "x", "dev4", 1), "FAILED_PRECONDITION IOMMU_MISMATCH vdevice.device");
  EXPECT_EQ(make("vm", "x", "dev0", 9), "ALREADY_EXISTS DEVICE_HAS_VDEVICE vdevice.device");
  EXPECT_EQ(make("vm", "x", "dev1", 9), "ALREADY_EXISTS VIRTUAL_ID_TAKEN vdevice.virtual_id");
  EXPECT_EQ(make("vm", "x", "platform0", 1), "UNIMPLEMENTED STREAMS_UNAVAILABLE vdevice.device");
  EXPECT_EQ(make("vm", "nic", "dev1", 1), "ALREADY_EXISTS VDEVICE_EXISTS");
  EXPECT_EQ(Everything(), before);
  EXPECT_EQ(make("vm", "", "dev1", 0xffffffff), "OK") << "and an id is made up";
}

TEST_F(EngineViommusTest, LetsAFailedVdeviceLeaveNothing) {
  backend_.SetHook(RefuseNth("CreateVdevice", 1));
  EXPECT_EQ(Described(MakeVdevice("nic", "dev0", 9)), "RESOURCE_EXHAUSTED TEST");
  EXPECT_TRUE(MakeVdevice("nic", "dev0", 9).ok());
  backend_.SetHook(RefuseNth("CreateViommu", 1));
  ASSERT_TRUE(MakeParent("twin", "dev0").ok());
  EXPECT_EQ(Described(MakeViommu("second", "dev0", "twin")), "RESOURCE_EXHAUSTED TEST");
  EXPECT_TRUE(MakeViommu("second", "dev0", "twin").ok());
}

TEST_F(EngineViommusTest, LetsVdevicesGoWithTheirDevices) {
  Claim("dev1");
  ASSERT_TRUE(MakeVdevice("nic", "dev0", 9).ok());
  ASSERT_TRUE(MakeVdevice("disk", "dev1", 10).ok());
  ASSERT_TRUE(engine_->ReleaseDevice(alice_, "dev0", "").ok());
  EXPECT_EQ(Described(engine_->GetVdevice(alice_, Ref("vm/vdevices/nic")).status()),
            "NOT_FOUND VDEVICE_NOT_FOUND");
  ASSERT_TRUE(engine_->UnplugDevice(operator_, "dev1").ok());
  EXPECT_TRUE(Vm().vdevices.empty());
  EXPECT_EQ(LoggedAs("DestroyVdevice"), 2u);
  Claim("dev0");
  EXPECT_TRUE(MakeVdevice("nic", "dev0", 10).ok()) << "name, device and virtual id are free again";
}

TEST_F(EngineViommusTest, KeepsAVdeviceThatTheBackendKeeps) {
  ASSERT_TRUE(MakeVdevice("nic", "dev0", 9).ok());
  backend_.SetHook(RefuseNth("DestroyVdevice", 1));
  ASSERT_TRUE(engine_->ReleaseDevice(alice_, "dev0", "").ok()) << "that is not refused for it";
  EXPECT_EQ(Vm().vdevices.size(), 1u);
  EXPECT_TRUE(engine_->DeleteVdevice(alice_, Ref("vm/vdevices/nic"), "").ok());
}

TEST_F(EngineViommusTest, RefusesGuestsEntriesThatAreNotAllowed) {
  for (const char* const device : {"dev4", "dev5"}) Claim(device);
  const std::string before = Everything();
  const struct {
    const char* what;
    void (*change)(NestedDomainRequest&);
    const char* want;
  } kCases[] = {
      {"no Viommu", [](auto& r) { r.viommu = Ref("none"); }, "NOT_FOUND VIOMMU_NOT_FOUND"},
      {"another unit", [](auto& r) { r.device = "dev4"; },
       "FAILED_PRECONDITION IOMMU_MISMATCH domain.nested.device"},
      {"faults", [](auto& r) { r.fault_queue = Ref("q"); },
       "UNIMPLEMENTED FAULT_QUEUE_UNAVAILABLE domain.nested.fault_queue"},
      {"pasid", [](auto& r) { r.pasid = true; },
       "UNIMPLEMENTED PASID_UNAVAILABLE domain.nested.pasid"},
      {"VT-d", [](auto& r) { r.stage1 = VtdStage1(); },
       "UNIMPLEMENTED STAGE1_UNAVAILABLE domain.nested.vtd"},
      {"stage 2",
       [](auto& r) {
         r.stage1 = ArmSmmuV3Stage1{{1 | 6 << 1, 0}};
       },
       "INVALID_ARGUMENT INVALID_VSTE domain.nested.arm_smmu_v3.ste_0"},
      {"a bit of the host",
       [](auto& r) {
         r.stage1 = ArmSmmuV3Stage1{{1, uint64_t{1} << 19}};
       },
       "INVALID_ARGUMENT INVALID_VSTE domain.nested.arm_smmu_v3.ste_1"},
      {"no Viommu for an entry", [](auto& r) { r.viommu.reset(), r.parent = Ref("parent"); },
       "UNIMPLEMENTED STAGE1_UNAVAILABLE domain.nested.arm_smmu_v3"},
      {"VT-d on a parent of SMMUv3",
       [](auto& r) { r.viommu.reset(), r.parent = Ref("parent"), r.stage1 = VtdStage1(); },
       "UNIMPLEMENTED STAGE1_UNAVAILABLE domain.nested.vtd"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.what);
    NestedDomainRequest request;
    request.device = "dev0";
    request.viommu = Ref("vm");
    request.stage1 = ArmSmmuV3Stage1{{kVsteStage1, 0}};
    c.change(request);
    EXPECT_EQ(DescribedInFull(engine_->CreateDomain(alice_, "x", request).status()), c.want);
  }
  EXPECT_EQ(Everything(), before);
  EXPECT_TRUE(MakeGuest("invalid", 0xfffffffe).ok()) << "not valid: as abort, whatever else stands";
}

TEST_F(EngineViommusTest, AttachesWhatTranslatesOnlyUnderItsVirtualId) {
  ASSERT_TRUE(MakeGuest("translate", kVsteStage1).ok());
  ASSERT_TRUE(MakeGuest("bypass", kVsteBypass).ok());
  ASSERT_TRUE(MakeGuest("abort", kVsteAbort).ok());
  const absl::Status missing = engine_->AttachDevice(alice_, "dev0", Ref("translate")).status();
  EXPECT_EQ(Described(missing), "FAILED_PRECONDITION VDEVICE_MISSING");
  EXPECT_EQ(DetailOf(missing)->errno_name, "ENOENT");
  ASSERT_TRUE(engine_->AttachDevice(alice_, "dev0", Ref("bypass")).ok());
  ASSERT_TRUE(engine_->ReplaceAttachment(alice_, "dev0", Ref("abort")).ok());
  ASSERT_TRUE(MakeVdevice("nic", "dev0", 9).ok());
  ASSERT_TRUE(engine_->ReplaceAttachment(alice_, "dev0", Ref("translate")).ok());
  const absl::Status in_use = engine_->DeleteVdevice(alice_, Ref("vm/vdevices/nic"), "");
  EXPECT_EQ(Described(in_use), "FAILED_PRECONDITION IN_USE");
  EXPECT_EQ(DetailOf(in_use)->violations,
            std::vector<std::string>{"devices/dev0 on domains/translate"});
  ASSERT_TRUE(engine_->GetVdevice(alice_, Ref("vm/vdevices/nic")).ok()) << "it is there still";
  ASSERT_TRUE(engine_->ReplaceAttachment(alice_, "dev0", Ref("bypass")).ok());
  EXPECT_TRUE(engine_->DeleteVdevice(alice_, Ref("vm/vdevices/nic"), "").ok());
}

TEST_F(EngineViommusTest, AsksEveryMemberOfAGroupForItsVirtualId) {
  Claim("dev2");
  ASSERT_TRUE(MakeGuest("translate", kVsteStage1, "dev2").ok());
  ASSERT_TRUE(MakeVdevice("a", "dev2", 1).ok());
  const absl::Status missing = engine_->AttachDevice(alice_, "dev2", Ref("translate")).status();
  EXPECT_EQ(Described(missing), "FAILED_PRECONDITION VDEVICE_MISSING");
  EXPECT_EQ(DetailOf(missing)->resource, "devices/dev3");
  ASSERT_TRUE(MakeVdevice("b", "dev3", 2).ok());
  EXPECT_TRUE(engine_->AttachDevice(alice_, "dev2", Ref("translate")).ok());
  const absl::Status in_use = engine_->DeleteVdevice(alice_, Ref("vm/vdevices/b"), "");
  EXPECT_EQ(Described(in_use), "FAILED_PRECONDITION IN_USE") << "dev3 goes where dev2 is";
  EXPECT_EQ(DetailOf(in_use)->violations,
            std::vector<std::string>{"devices/dev2 on domains/translate"});
  ASSERT_TRUE(engine_->DetachDevice(alice_, "dev2").ok());
  EXPECT_TRUE(engine_->DeleteVdevice(alice_, Ref("vm/vdevices/b"), "").ok());
}

TEST_F(EngineViommusTest, PlugsNoDeviceInThatAGuestHasNoNameFor) {
  Claim("dev2");
  ASSERT_TRUE(MakeGuest("translate", kVsteStage1, "dev2").ok());
  ASSERT_TRUE(MakeGuest("bypass", kVsteBypass, "dev2").ok());
  ASSERT_TRUE(MakeVdevice("a", "dev2", 1).ok());
  ASSERT_TRUE(MakeVdevice("b", "dev3", 2).ok());
  ASSERT_TRUE(engine_->AttachDevice(alice_, "dev2", Ref("translate")).ok());
  ASSERT_TRUE(engine_->UnplugDevice(operator_, "dev3").ok());
  const absl::Status missing = engine_->PlugDevice(operator_, "dev3").status();
  EXPECT_EQ(Described(missing), "FAILED_PRECONDITION VDEVICE_MISSING");
  EXPECT_EQ(DetailOf(missing)->errno_name, "ENOENT");
  EXPECT_EQ(DetailOf(missing)->resource, "devices/dev3");
  ASSERT_TRUE(engine_->ReplaceAttachment(alice_, "dev2", Ref("bypass")).ok());
  EXPECT_TRUE(engine_->PlugDevice(operator_, "dev3").ok());
}

TEST_F(EngineViommusTest, DoesNotTakeTheVirtualIdOfAnotherViommu) {
  ASSERT_TRUE(MakeParent("twin", "dev0").ok());
  ASSERT_TRUE(MakeViommu("second", "dev0", "twin").ok());
  ASSERT_TRUE(engine_->CreateVdevice(alice_, Ref("second"), "nic", "dev0", 9).ok());
  ASSERT_TRUE(MakeGuest("translate", kVsteStage1).ok());
  EXPECT_EQ(Described(engine_->AttachDevice(alice_, "dev0", Ref("translate")).status()),
            "FAILED_PRECONDITION VDEVICE_MISSING");
}

TEST_F(EngineViommusTest, CarriesCommandsOutUpToTheFirstThatIsWrong) {
  ASSERT_TRUE(MakeVdevice("nic", "dev0", 9).ok());
  ArmSmmuV3Invalidation all;
  all.opcode = ArmSmmuV3Opcode::kTlbiAll;
  ArmSmmuV3Invalidation atc;
  atc.opcode = ArmSmmuV3Opcode::kAtcInv;
  atc.stream_id = 9;
  ArmSmmuV3Invalidation unknown = atc;
  unknown.stream_id = 8;
  const size_t records = journal_.records().size();
  using Commands = std::vector<ArmSmmuV3Invalidation>;
  const auto give = [&](Commands commands, Uid only = 0) {
    return engine_->InvalidateViommu(alice_, Ref("vm"), InvalidationBatch(std::move(commands)),
                                     only);
  };
  auto answer = give({all, atc, unknown, all});
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->handled, 2u);
  EXPECT_EQ(
      DescribedInFull(answer->first_error),
      "INVALID_ARGUMENT UNKNOWN_STREAM_ID commands.arm_smmu_v3.invalidations[2].stream_id #2");
  EXPECT_EQ(LoggedAs("InvalidateViommu"), 1u);
  answer = give({});
  EXPECT_TRUE(answer->first_error.ok());
  EXPECT_EQ(answer->target, Vm().object.uid);
  EXPECT_EQ(LoggedAs("InvalidateViommu"), 1u) << "a probe reaches no hardware";
  backend_.fake_viommus().BreakAfter(1);
  answer = give({all, atc, atc});
  EXPECT_EQ(answer->handled, 1u) << "only what was issued counts";
  EXPECT_EQ(DescribedInFull(answer->first_error),
            "INTERNAL QUEUE_TIMEOUT commands.arm_smmu_v3.invalidations[1] #1");
  EXPECT_EQ(journal_.records().size(), records);
  EXPECT_EQ(Described(give({}, 12345).status()), "NOT_FOUND VIOMMU_NOT_FOUND");
  EXPECT_EQ(Described(give(Commands(kMaxBatchEntries + 1)).status()),
            "INVALID_ARGUMENT BATCH_TOO_LARGE");
}

TEST_F(EngineViommusTest, TakesCommandsForTheRightArchitectureAtTheRightObject) {
  ASSERT_TRUE(MakeGuest("guest", kVsteAbort).ok());
  EXPECT_EQ(Described(engine_->Invalidate(alice_, Ref("guest"), {}).status()),
            "UNIMPLEMENTED COMMANDS_UNAVAILABLE")
      << "its Viommu takes them";
  const std::vector<VtdStage1Invalidation> vtd(1);
  EXPECT_EQ(Described(engine_->InvalidateViommu(alice_, Ref("vm"), vtd).status()),
            "UNIMPLEMENTED COMMANDS_UNAVAILABLE");
  EXPECT_EQ(Described(engine_->InvalidateViommu(alice_, Ref("none"), {}).status()),
            "NOT_FOUND VIOMMU_NOT_FOUND");
}

TEST_F(EngineViommusTest, SaysWhatAUnitOffers) {
  EXPECT_TRUE(engine_->GetHardwareInfo(alice_, "dev0")->viommus.arm_smmu_v3);
  EXPECT_TRUE(engine_->GetHardwareInfo(alice_, "dev0")->viommus.range_invalidation);
  EXPECT_FALSE(engine_->GetHardwareInfo(alice_, "dev4")->viommus.range_invalidation);
  EXPECT_FALSE(engine_->GetHardwareInfo(alice_, "dev5")->viommus.arm_smmu_v3);
  EXPECT_EQ(engine_->GetHardwareInfo(alice_, "dev5")->viommus.hardware_queues, 0u);
}

class FewViommusTest : public ViommuTest {
 protected:
  FewViommusTest() : ViommuTest(Few()) {}
  static OwnerLimits Few() {
    OwnerLimits limits;
    limits.max_viommus = 1;
    return limits;
  }
};

TEST_F(FewViommusTest, LimitsAnOwnersViommus) {
  ASSERT_TRUE(MakeParent("twin", "dev0").ok());
  EXPECT_EQ(Described(MakeViommu("second", "dev0", "twin")), "RESOURCE_EXHAUSTED OBJECT_LIMIT");
  ASSERT_TRUE(engine_->DeleteViommu(alice_, Ref("vm"), "").ok());
  EXPECT_TRUE(MakeViommu("second", "dev0", "twin").ok());
}

}  // namespace
}  // namespace viommu
