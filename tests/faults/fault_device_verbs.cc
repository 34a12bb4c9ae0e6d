#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/faults/fault_world.h"
#include "tests/faults/small_host.h"

namespace viommu::faults {

AttachTarget FaultWorld::RandomTarget() {
  switch (Random(8)) {
    case 0:
      return ObjectRef{Random(2) == 0 ? "blocked" : "identity", std::nullopt};
    case 1:
    case 2:
      return AttachTarget::OfIoas(Named("as", Random(kNames)));
    case 3:
    case 4:
      return Named("n", Random(kNames));
    default:
      return Named("d", Random(kNames));
  }
}

FaultWorld::Verb FaultWorld::AttachVerb() {
  const std::string id = DeviceId(Random(2) == 0 ? Random(kDevices) : Random(3));
  std::optional<uint32_t> pasid;
  if (Random(2) == 0) pasid = kPasids[Random(std::size(kPasids))];
  const AttachTarget target = RandomTarget();
  // Auto domains serve none.
  if (target.kind == AttachTarget::Kind::kIoas) pasid = std::nullopt;
  // Those of a guest's device behind an SMMUv3 are the guest's.
  if (IsArm() && target.ref.id[0] == 'n') pasid = std::nullopt;
  const bool automatic = target.kind == AttachTarget::Kind::kIoas;
  const std::string what =
      absl::StrCat(pasid.has_value() ? "PASID" : "RID",
                   automatic ? " to space" : (target.ref.id[0] == 'n' ? " to NESTED" : ""));
  const std::string text =
      absl::StrCat(id, pasid.has_value() ? absl::StrCat(" PASID ", *pasid) : "", " to ",
                   automatic ? "an auto domain of " : "", target.ref.id);
  switch (Random(12)) {
    case 0:
      return {"release", "release " + id,
              [=] { return engine_->ReleaseDevice(me_, id, "").status(); }};
    case 1:
    case 2:
      return {"claim", "claim " + id, [=] { return engine_->ClaimDevice(me_, id, "").status(); }};
    case 3:
      return {pasid.has_value() ? "detach PASID" : "detach RID", "detach " + text,
              [=] { return engine_->DetachDevice(me_, id, pasid).status(); }};
    case 4:
    case 5:
    case 6:
      return {"replace " + what, "replace " + text,
              [=] { return engine_->ReplaceAttachment(me_, id, target, pasid).status(); }};
    default:
      return {"attach " + what, "attach " + text,
              [=] { return engine_->AttachDevice(me_, id, target, pasid).status(); }};
  }
}

FaultWorld::Verb FaultWorld::PasidVerb() {
  const std::string id = DeviceId(Random(3));
  const uint32_t pasid = kPasids[Random(std::size(kPasids))];
  switch (Random(3)) {
    case 0:
      return {"allocate PASID", "allocate a PASID of " + id, [=] {
                return engine_->AllocatePasid(me_, id, PasidRequest{1, pasid, "fault"}).status();
              }};
    case 1:
      return {"reserve PASID", absl::StrCat("reserve PASID ", pasid, " of ", id),
              [=] { return engine_->ReservePasid(me_, id, pasid, "mine").status(); }};
    default:
      return {"free PASID", absl::StrCat("free PASID ", pasid, " of ", id),
              [=] { return engine_->FreePasid(me_, id, pasid); }};
  }
}

FaultWorld::Verb FaultWorld::ComingAndGoingVerb() {
  const size_t device = Random(kDevices);
  const std::string id = DeviceId(device);
  switch (Random(5)) {
    case 0:
      return {"unplug", "unplug " + id, [=] { return engine_->UnplugDevice(me_, id); }, device};
    case 1:
    case 2:
      return {"plug", "plug " + id, [=] { return engine_->PlugDevice(me_, id).status(); }};
    default:
      return {"reset", "reset " + id, [=] { return engine_->ResetDevice(me_, id).status(); },
              device};
  }
}

FaultWorld::Verb FaultWorld::InvalidateVerb() {
  const uint64_t n = Random(kNames);
  std::vector<VtdStage1Invalidation> commands(1 + Random(2));
  for (VtdStage1Invalidation& command : commands) {
    command.address = Random(2) == 0 ? 0 : kPlaces[0];
    command.page_count = command.address == 0 ? VtdStage1Invalidation::kAllPages : 1 + Random(8);
    command.leaves_only = Random(2) == 0;
  }
  return {"invalidate", absl::StrCat("invalidate n", n), [=]() -> absl::Status {
            const auto answer = engine_->Invalidate(me_, Named("n", n), commands);
            return answer.ok() ? answer->first_error : answer.status();
          }};
}

FaultWorld::Verb FaultWorld::HostVerb() {
  const std::string id = DeviceId(Random(kDevices));
  switch (Random(8)) {
    case 0:
    case 1: {
      const auto type = static_cast<DefaultDomainType>(Random(3));
      return {absl::StrCat("default domain of type ", static_cast<int>(type)),
              absl::StrCat("default of ", id),
              [=] { return engine_->SetDefaultDomain(me_, id, type).status(); }};
    }
    case 2: {
      const bool well = Random(4) != 0;
      return {"health", absl::StrCat("health of ", id), [=] {
                return engine_
                    ->SetDeviceHealth(me_, id,
                                      well ? DeviceHealth::kHealthy : DeviceHealth::kUnhealthy,
                                      well ? "" : "tired")
                    .status();
              }};
    }
    default:
      return HostMappingVerb();
  }
}

FaultWorld::Verb FaultWorld::HostMappingVerb() {
  if (!host_mappings_.empty() && Random(3) != 0) {
    const HostMapping mapping = host_mappings_[Random(host_mappings_.size())];
    return {
        "host unmap", absl::StrCat("host unmaps ", Hex(mapping.second), " for ", mapping.first),
        [=] {
          absl::Status status = engine_->HostUnmap(me_, mapping.first, mapping.second, kPage);
          if (status.ok()) {
            host_mappings_.erase(std::find(host_mappings_.begin(), host_mappings_.end(), mapping));
          }
          return status;
        }};
  }
  const std::string id = DeviceId(Random(kDevices));
  const uint64_t region = Random(kNames);
  return {"host map", absl::StrCat("host maps r", region, " for ", id), [=] {
            const auto iova =
                engine_->HostMap(me_, id, Named("r", region), 0, kPage, Permission::kReadWrite);
            if (iova.ok()) host_mappings_.emplace_back(id, *iova);
            return iova.status();
          }};
}

}  // namespace viommu::faults
