// engine/engine_attachments_fixture.h -- What tests of attachments begin with.
#ifndef VIOMMU_ENGINE_ENGINE_ATTACHMENTS_FIXTURE_H_
#define VIOMMU_ENGINE_ENGINE_ATTACHMENTS_FIXTURE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine_fixture.h"
#include "engine/shown_usage.h"
#include "gtest/gtest.h"

namespace viommu {

using Pasid = std::optional<uint32_t>;

// alice holds dev0, dev1 with dev2, and dev4; over ioas/as she has domains d (no flags) and p (for
// PASIDs), over ioas/other q (for PASIDs).
class AttachmentsTest : public EngineTest {
 protected:
  using EngineTest::EngineTest;
  void SetUp() override {
    SetUpAlice();
    ASSERT_TRUE(engine_->CreateIoas(alice_, "other").ok());
    for (const char* const device : {"dev1", "dev4"}) {
      ASSERT_TRUE(engine_->ClaimDevice(alice_, device, "").ok());
    }
    ASSERT_EQ(Make("p", "as", "dev0", true), "OK");
    ASSERT_EQ(Make("q", "other", "dev0", true), "OK");
  }
  void TearDown() override { EXPECT_EQ(UsageOf(alice_), ShownUsage(*engine_, alice_)); }

  std::string Make(const std::string& id, const std::string& ioas, const std::string& device,
                   bool pasid) {
    PagingDomainRequest request{Ref(ioas), device};
    request.pasid = pasid;
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
  std::string AttachToIoas(const std::string& device, const std::string& ioas, Pasid pasid = {}) {
    return Described(
        engine_->AttachDevice(alice_, device, AttachTarget::OfIoas(Ref(ioas)), pasid).status());
  }
  std::string ReplaceByIoas(const std::string& device, const std::string& ioas, Pasid pasid = {}) {
    return Described(
        engine_->ReplaceAttachment(alice_, device, AttachTarget::OfIoas(Ref(ioas)), pasid)
            .status());
  }
  std::string On(const std::string& device) { return engine_->GetDevice(alice_, device)->domain; }
  // "dev0: domains/d, 5 domains/p"; of all devices, by line.
  std::string Attachments() {
    std::string all;
    const auto attachments = engine_->ListAttachments(alice_, "", {});
    for (const AttachmentView& a : attachments->items) {
      all += a.device + " " + (a.pasid ? std::to_string(*a.pasid) + " " : "") + a.domain + "\n";
    }
    return all;
  }
  // "5 reserved alice x\n" for each PASID of a device's group.
  std::string Pasids(const std::string& device) {
    static const char* const kStates[] = {"reserved", "allocated", "attached"};
    std::string all;
    const auto pasids = engine_->ListPasids(alice_, device, {});
    for (const PasidView& p : pasids->items) {
      all += std::to_string(p.pasid) + " " + kStates[static_cast<int>(p.state)] + " " + p.owner;
      if (!p.domain.empty()) all += " " + p.domain;
      if (!p.label.empty()) all += " " + p.label;
      all += "\n";
    }
    return all;
  }
  std::vector<std::string> DomainIds() {
    std::vector<std::string> ids;
    const auto domains = engine_->ListDomains(alice_, {});
    for (const DomainView& d : domains->items) {
      if (d.object.uid != 0) ids.push_back(d.object.id);
    }
    return ids;
  }
  bool InBackend(const std::string& line) {
    return ("\n" + backend_.State()).find("\n" + line + "\n") != std::string::npos;
  }
  // Whether the MSI window is closed in an Ioas.
  bool MsiReserved(const std::string& ioas) {
    return engine_->ListIovaRanges(alice_, Ref(ioas))->front().last == 0xfedfffff;
  }
  template <typename F>
  void ExpectRefused(const char* want, F call) {
    SCOPED_TRACE(want);
    const std::string before = Everything();
    EXPECT_EQ(call(), want);
    EXPECT_EQ(Everything(), before);
  }
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_ENGINE_ATTACHMENTS_FIXTURE_H_
