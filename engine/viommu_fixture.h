// engine/viommu_fixture.h -- An Engine over a fake, simulated host with virtual IOMMUs, for tests.
#ifndef VIOMMU_ENGINE_VIOMMU_FIXTURE_H_
#define VIOMMU_ENGINE_VIOMMU_FIXTURE_H_

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "engine/backend/fake/fake_viommus.h"
#include "engine/engine_fixture.h"
#include "engine/plug_fixture.h"

namespace viommu {

inline constexpr uint64_t kVsteAbort = 1;            // V, Config 0.
inline constexpr uint64_t kVsteBypass = 1 | 4 << 1;  // V, Config 4.
inline constexpr uint64_t kVsteStage1 = 1 | 5 << 1;  // V, Config 5.

// alice has dev0, domains/parent over ioas/as, a nest parent, and viommus/vm on it.
class ViommuTest : public EngineTest {
 protected:
  explicit ViommuTest(const OwnerLimits& limits = OwnerLimits()) {
    auto engine = Engine::Create({"test", limits}, &backend_, &journal_, &env_);
    EXPECT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
    SetUpAlice();
    EXPECT_TRUE(MakeParent("parent", "dev0").ok());
    EXPECT_TRUE(MakeViommu("vm", "dev0", "parent").ok());
  }
  ~ViommuTest() override {
    engine_.reset();
    EXPECT_TRUE(backend_.breaches().empty()) << backend_.breaches()[0];
  }

  std::string Everything() { return backend_.State() + EngineTest::Everything(); }

  absl::Status MakeParent(const std::string& id, const std::string& device) {
    PagingDomainRequest request{Ref("as"), device};
    request.nest_parent = true;
    return engine_->CreateDomain(alice_, id, request).status();
  }
  absl::Status MakeViommu(const std::string& id, const std::string& device,
                          const std::string& parent) {
    return engine_->CreateViommu(alice_, id, {device, ViommuType::kArmSmmuV3, Ref(parent)})
        .status();
  }
  absl::Status MakeVdevice(const std::string& id, const std::string& device, uint64_t virtual_id) {
    return engine_->CreateVdevice(alice_, Ref("vm"), id, device, virtual_id).status();
  }
  absl::Status MakeGuest(const std::string& id, uint64_t ste_0,
                         const std::string& device = "dev0") {
    NestedDomainRequest request;
    request.viommu = Ref("vm");
    request.device = device;
    request.stage1 = ArmSmmuV3Stage1{{ste_0, 0}};
    return engine_->CreateDomain(alice_, id, request).status();
  }
  // alice's device, too.
  void Claim(const std::string& device) {
    ASSERT_TRUE(engine_->ClaimDevice(alice_, device, "").ok());
  }
  ViommuView Vm() { return *engine_->GetViommu(alice_, Ref("vm")); }

  size_t LoggedAs(const std::string& verb) {
    size_t count = 0;
    for (const std::string& line : backend_.log()) count += absl::StartsWith(line, verb) ? 1 : 0;
    return count;
  }

  SimulatedBackend backend_{GuestTopology()};  // Instead of EngineTest's.
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_VIOMMU_FIXTURE_H_
