// Default domains of devices that the host has, and what needs a simulated host.
#include <string>

#include "engine/engine_fixture.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

class EngineDefaultDomainsTest : public EngineTest {
 protected:
  absl::StatusOr<DeviceView> Set(const CallContext& context, const std::string& device,
                                 DefaultDomainType type) {
    return engine_->SetDefaultDomain(context, device, type);
  }
  bool InBackend(const std::string& line) {
    return backend_.State().find(line + "\n") != std::string::npos;
  }
};

TEST_F(EngineDefaultDomainsTest, AnUntrustedDeviceFallsBackToDmaAndSaysWhy) {
  const auto at_start = engine_->GetDevice(operator_, "dev4");
  EXPECT_EQ(at_start->spec.default_domain, DefaultDomainType::kIdentity) << "what was asked for";
  EXPECT_EQ(at_start->default_domain, DefaultDomainType::kDma);
  EXPECT_NE(at_start->default_domain_fallback.find("untrusted"), std::string::npos);
  EXPECT_TRUE(InBackend("device 4 on host dma"));
  const auto plain = Set(operator_, "dev4", DefaultDomainType::kDma);
  EXPECT_EQ(plain->default_domain_fallback, "") << "now it is what was asked for";
  const auto again = Set(operator_, "dev4", DefaultDomainType::kIdentity);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->default_domain, DefaultDomainType::kDma);
  EXPECT_EQ(again->default_domain_fallback, at_start->default_domain_fallback);
}

TEST_F(EngineDefaultDomainsTest, ChangesTheDefaultDomainOfADeviceOfTheHost) {
  const auto identity = Set(operator_, "dev5", DefaultDomainType::kIdentity);
  ASSERT_TRUE(identity.ok()) << identity.status();
  EXPECT_EQ(identity->domain, "domains/identity");
  EXPECT_TRUE(InBackend("device 5 on host identity"));
  ASSERT_TRUE(engine_->ClaimDevice(alice_, "dev5", "").ok());
  EXPECT_TRUE(InBackend("device 5 on blocked"));
  ASSERT_TRUE(engine_->ReleaseDevice(alice_, "dev5", "").ok());
  EXPECT_TRUE(InBackend("device 5 on host identity")) << "and back to what it was";
  const size_t records = journal_.records().size();
  EXPECT_TRUE(Set(operator_, "dev5", DefaultDomainType::kIdentity).ok());
  EXPECT_EQ(journal_.records().size(), records) << "it is that already";
}

TEST_F(EngineDefaultDomainsTest, RefusesDefaultDomains) {
  ASSERT_TRUE(engine_->ClaimDevice(alice_, "dev0", "").ok());
  const struct {
    const CallContext& caller;
    const char* device;
    DefaultDomainType type;
    const char* want;
  } kCases[] = {
      {alice_, "dev5", DefaultDomainType::kIdentity, "PERMISSION_DENIED NOT_OPERATOR"},
      {alice_, "dev0", DefaultDomainType::kDma, "PERMISSION_DENIED NOT_OPERATOR"},
      {operator_, "dev0", DefaultDomainType::kDma, "FAILED_PRECONDITION DEVICE_CLAIMED"},
      {operator_, "dev1", DefaultDomainType::kIdentity, "PERMISSION_DENIED IDENTITY_NOT_ALLOWED"},
      {operator_, "dev9", DefaultDomainType::kDma, "NOT_FOUND DEVICE_NOT_FOUND"},
  };
  for (const auto& c : kCases) {
    const std::string before = Everything();
    EXPECT_EQ(Described(Set(c.caller, c.device, c.type).status()), c.want);
    EXPECT_EQ(Everything(), before);
  }
}

TEST_F(EngineDefaultDomainsTest, GivesDmaFqToATrustedDeviceAlone) {
  const auto trusted = Set(operator_, "dev5", DefaultDomainType::kDmaFq);
  ASSERT_TRUE(trusted.ok()) << trusted.status();
  EXPECT_EQ(trusted->default_domain, DefaultDomainType::kDmaFq);
  EXPECT_EQ(trusted->default_domain_fallback, "");
  EXPECT_EQ(trusted->domain, "") << "a DMA default domain has no name";
  const auto untrusted = Set(operator_, "dev4", DefaultDomainType::kDmaFq);
  ASSERT_TRUE(untrusted.ok()) << untrusted.status();
  EXPECT_EQ(untrusted->default_domain, DefaultDomainType::kDma);
  EXPECT_NE(untrusted->default_domain_fallback.find("untrusted"), std::string::npos);
}

TEST_F(EngineDefaultDomainsTest, StatesWhatEachDeviceCanHave) {
  using Types = std::vector<DefaultDomainType>;
  const Types dma = {DefaultDomainType::kDma};
  const Types translated = {DefaultDomainType::kDma, DefaultDomainType::kDmaFq};
  const Types all = {DefaultDomainType::kIdentity, DefaultDomainType::kDma,
                     DefaultDomainType::kDmaFq};
  EXPECT_EQ(engine_->GetDevice(alice_, "dev0")->default_domain_types, translated);
  EXPECT_EQ(engine_->GetDevice(alice_, "dev4")->default_domain_types, dma) << "untrusted";
  EXPECT_EQ(engine_->GetDevice(alice_, "dev5")->default_domain_types, all);
}

// What dev1 and dev2, of one group, get at the start.
TEST(InitialDefaultDomainTest, TheMostCarefulMemberOfAGroupDecides) {
  constexpr auto kIdentity = DefaultDomainType::kIdentity;
  constexpr auto kDma = DefaultDomainType::kDma;
  constexpr auto kDmaFq = DefaultDomainType::kDmaFq;
  const struct {
    const char* name;
    DefaultDomainType asked[2];
    bool allow_identity[2];
    bool untrusted[2];
    bool deferred_flush;
    DefaultDomainType want;
    const char* why;
  } kCases[] = {
      {"both DMA", {kDma, kDma}, {false, false}, {false, false}, true, kDma, ""},
      {"both DMA_FQ", {kDmaFq, kDmaFq}, {false, false}, {false, false}, true, kDmaFq, ""},
      {"one strict", {kDmaFq, kDma}, {false, false}, {false, false}, true, kDma, "dev2"},
      {"no DMA_FQ", {kDmaFq, kDmaFq}, {false, false}, {false, false}, false, kDma, "can not defer"},
      {"untrusted", {kDmaFq, kDmaFq}, {false, false}, {false, true}, true, kDma, "dev2 is untrus"},
      {"both IDENTITY", {kIdentity, kIdentity}, {true, true}, {false, false}, true, kIdentity, ""},
      {"IDENTITY wins", {kDmaFq, kIdentity}, {true, true}, {false, false}, true, kIdentity, ""},
      {"not allowed", {kIdentity, kDma}, {true, false}, {false, false}, true, kDma, "allow_identi"},
      {"IDENTITY, untrusted", {kIdentity, kDma}, {true, true}, {false, true}, true, kDma, "untrus"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    Topology topology = SmallTopology();
    topology.iommus[0].deferred_flush = c.deferred_flush;
    for (int i = 0; i < 2; ++i) {
      topology.devices[1 + i].default_domain = c.asked[i];
      topology.devices[1 + i].allow_identity = c.allow_identity[i];
      topology.devices[1 + i].untrusted = c.untrusted[i];
    }
    FakeBackend backend(topology);
    FakeJournal journal;
    FakeEnv env;
    const auto engine = *Engine::Create({"test"}, &backend, &journal, &env);
    const auto device = engine->GetDevice(CallContext(), "dev1");
    EXPECT_EQ(device->default_domain, c.want);
    EXPECT_NE(device->default_domain_fallback.find(c.why), std::string::npos)
        << device->default_domain_fallback;
    EXPECT_EQ(device->default_domain_fallback.empty(), std::string(c.why).empty());
  }
}

TEST_F(EngineDefaultDomainsTest, ARefusalOfTheBackendChangesNothing) {
  const std::string before = Everything();
  backend_.SetHook(RefuseNth("AssignDefault", 1));
  EXPECT_EQ(Described(Set(operator_, "dev5", DefaultDomainType::kIdentity).status()),
            "RESOURCE_EXHAUSTED TEST");
  EXPECT_EQ(Everything(), before);
  EXPECT_EQ(engine_->GetDevice(operator_, "dev5")->default_domain, DefaultDomainType::kDma);
}

TEST_F(EngineDefaultDomainsTest, AnswersThatThereIsNoSimulationOnARealBackend) {
  SetUpAlice();
  char bytes[8] = {};
  const auto span = absl::MakeSpan(bytes);
  const absl::Status kAnswers[] = {
      engine_->Dma(alice_, "dev0", 0, false, span).status(),
      engine_->ReadMemory(alice_, Ref("ram"), 0, span),
      engine_->WriteMemory(alice_, Ref("ram"), 0, span),
      engine_->HostMap(operator_, "dev1", {"ram", "alice"}, 0, 4096, Permission::kRead).status(),
      engine_->HostUnmap(operator_, "dev1", 0x1000, 4096),
      engine_->SetDeviceHealth(operator_, "dev1", DeviceHealth::kUnhealthy, "x").status(),
      engine_->DumpTables(alice_, "dev0", 0).status(),
      engine_->ExplainTranslation(alice_, "dev0", 0, false).status(),
      engine_->ExportTables(operator_).status(),
  };
  for (const absl::Status& answer : kAnswers) {
    EXPECT_EQ(Described(answer), "UNIMPLEMENTED SIMULATION_NOT_AVAILABLE");
  }
}

TEST_F(EngineDefaultDomainsTest, DescribesTheHost) {
  EXPECT_EQ(engine_->GetHost().backend, "fake");
  EXPECT_EQ(engine_->GetHost().version, "test");
  EXPECT_EQ(engine_->GetIommu(alice_, "unit1")->devices, std::vector<std::string>{"devices/dev5"});
  EXPECT_EQ(Described(engine_->GetIommu(alice_, "unit9").status()), "NOT_FOUND IOMMU_NOT_FOUND");
  EXPECT_EQ(Described(engine_->GetInvalidationQueue(alice_, "unit9").status()),
            "NOT_FOUND IOMMU_NOT_FOUND");
  EXPECT_EQ(engine_->ListIommus(alice_, {})->items.size(), 2u);
  const auto regions = engine_->ListReservedRegions(alice_, "dev3");
  ASSERT_EQ(regions->size(), 2u);
  EXPECT_EQ(regions->front().region.type, ReservedRegionType::kDirect) << "ascending";
  EXPECT_EQ(regions->front().source, "devices/dev3");
}

}  // namespace
}  // namespace viommu
