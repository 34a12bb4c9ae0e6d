// engine/engine_faults_fixture.h -- An Engine over fake devices with page requests, for tests of
// page faults.
#ifndef VIOMMU_ENGINE_ENGINE_FAULTS_FIXTURE_H_
#define VIOMMU_ENGINE_ENGINE_FAULTS_FIXTURE_H_

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/backend/fake/fake_host_backend.h"
#include "engine/engine_fixture.h"
#include "engine/shown_usage.h"
#include "gtest/gtest.h"

namespace viommu {

// SmallTopology, where dev0 and dev1 have page requests, and dev2, of dev1's group, has none; dev6
// and dev7 share a group and both have them; dev8 is a virtual function.
inline Topology FaultTopology() {
  Topology topology = SmallTopology();
  topology.iommus[0].page_requests = true;
  for (const int number : {6, 7}) {
    topology.devices.push_back(topology.devices[0]);
    topology.devices.back().id = "dev" + std::to_string(number);
    topology.devices.back().group = "g6";
  }
  topology.devices.push_back(topology.devices[0]);
  topology.devices.back().id = topology.devices.back().group = "dev8";
  topology.devices.back().virtual_function = true;
  for (const int number : {0, 1, 6, 7, 8}) {
    topology.devices[number].ats = true;
    topology.devices[number].pri = true;
  }
  return topology;
}

using Pasid = std::optional<uint32_t>;

// engine_ is over faulting_. alice holds dev0, dev1 with dev2, and dev6 with dev7; faultQueues/q
// keeps four groups and takes the faults of domains f and g, both for PASIDs, over ioas/as; domains
// d and p have none, p is for PASIDs.
class FaultsTest : public EngineTest {
 protected:
  explicit FaultsTest(const OwnerLimits& limits = OwnerLimits()) {
    engine_.reset();
    auto engine = Engine::Create({"test", limits}, &faulting_, &journal_, &env_);
    EXPECT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
  }
  ~FaultsTest() override {
    engine_.reset();
    EXPECT_TRUE(faulting_.breaches().empty()) << faulting_.breaches()[0];
  }

  void SetUp() override {
    SetUpAlice();
    for (const char* const device : {"dev1", "dev6"}) {
      ASSERT_TRUE(engine_->ClaimDevice(alice_, device, "").ok());
    }
    ASSERT_TRUE(engine_->CreateFaultQueue(alice_, "q", 4).ok());
    ASSERT_EQ(Make("f", "q"), "OK");
    ASSERT_EQ(Make("g", "q"), "OK");
    ASSERT_EQ(Make("p", ""), "OK");
  }
  void TearDown() override {
    if (engine_ != nullptr) {
      EXPECT_EQ(UsageOf(alice_), ShownUsage(*engine_, alice_));
    }
  }

  std::string Make(const std::string& id, const std::string& queue) {
    PagingDomainRequest request{Ref("as"), "dev0"};
    request.pasid = true;
    if (!queue.empty()) request.fault_queue = Ref(queue);
    return Described(engine_->CreateDomain(alice_, id, request).status());
  }
  std::string Attach(const std::string& device, const std::string& domain, Pasid pasid = {}) {
    return Described(engine_->AttachDevice(alice_, device, Ref(domain), pasid).status());
  }
  std::string Replace(const std::string& device, const std::string& domain, Pasid pasid = {}) {
    return Described(engine_->ReplaceAttachment(alice_, device, Ref(domain), pasid).status());
  }
  std::string Detach(const std::string& device, Pasid pasid = {}) {
    return Described(engine_->DetachDevice(alice_, device, pasid).status());
  }

  static PageFault Fault(uint32_t group, Iova address, Pasid pasid = {}, bool last = true) {
    PageFault fault;
    fault.pasid = pasid;
    fault.group = group;
    fault.address = address;
    fault.read = true;
    fault.last = last;
    return fault;
  }
  std::string Raise(const std::string& device, uint32_t group, Iova address, Pasid pasid = {},
                    bool last = true) {
    return Described(engine_->RaisePageFault(alice_, device, Fault(group, address, pasid, last)));
  }
  std::string Respond(std::vector<FaultResponse> responses, const std::string& queue = "q") {
    return DescribedInFull(engine_->RespondFault(alice_, Ref(queue), std::move(responses)));
  }

  static std::string Text(const FaultView& fault) {
    std::string text = std::to_string(fault.cookie) + "/" + std::to_string(fault.sequence) + " " +
                       fault.device + " " + fault.domain + " ";
    if (fault.pasid) text += "pasid " + std::to_string(*fault.pasid) + " ";
    text += "group " + std::to_string(fault.group) + ":";
    for (const FaultedPage& page : fault.pages) text += " " + Hex(page.address);
    return text + "\n";
  }
  // What waits in a queue, a line a group: "1/1 devices/dev0 domains/f pasid 5 group 7: 0x1000".
  std::string Waiting(const std::string& queue = "q") {
    std::string all;
    const auto faults = engine_->ListFaults(alice_, Ref(queue), {kMaxPageSize, ""});
    for (const FaultView& fault : faults->items) all += Text(fault);
    return all;
  }
  // What a device was told, in order: "7 INVALID, 8 SUCCESS, ".
  std::string Told(const std::string& device) {
    static const char* const kCodes[] = {"SUCCESS", "INVALID", "FAILURE"};
    std::string all;
    const auto responses = engine_->ListPageResponses(alice_, device);
    for (const PageGroupResponse& response : *responses) {
      all += std::to_string(response.group.group) + " " +
             kCodes[static_cast<size_t>(response.code)] + ", ";
    }
    return all;
  }
  EngineStats::PageFaults Stats() { return engine_->Stats().page_faults; }
  // All that may be seen, with what waits for answers.
  std::string All() { return faulting_.State() + Everything() + Waiting(); }

  template <typename F>
  void ExpectRefused(const char* want, F call) {
    SCOPED_TRACE(want);
    const std::string before = All();
    EXPECT_EQ(call(), want);
    EXPECT_EQ(All(), before);
  }

  FakeHostBackend faulting_{FaultTopology()};
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_ENGINE_FAULTS_FIXTURE_H_
