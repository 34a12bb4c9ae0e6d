#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/faults/fault_world.h"
#include "tests/faults/small_host.h"

namespace viommu::faults {
namespace {

uint64_t VirtualId(uint64_t device) { return 16 + device; }

}  // namespace

// Virtual IOMMUs, and what guests call their devices.
FaultWorld::Verb FaultWorld::ViommuVerb() {
  const uint64_t n = Random(kNames);
  const std::string id = absl::StrCat("v", n);
  const uint64_t device = Random(3);
  const ObjectRef vdevice{absl::StrCat(id, "/vdevices/x", device), std::nullopt};
  switch (Random(12)) {
    case 0:
      return {"delete viommu", "delete " + id,
              [=] { return engine_->DeleteViommu(me_, Named("v", n), ""); }};
    case 1:
      return {"delete vdevice", "delete " + vdevice.id,
              [=] { return engine_->DeleteVdevice(me_, vdevice, ""); }};
    case 2:
    case 3:
    case 4:
    case 5: {
      ViommuRequest request;
      request.device = DeviceId(device);
      request.parent = Named("d", Random(kNames));
      return {"create viommu", absl::StrCat("create ", id, " on ", request.parent.id),
              [=] { return engine_->CreateViommu(me_, id, request).status(); }};
    }
    default:
      return {"create vdevice", absl::StrCat("create ", vdevice.id), [=] {
                return engine_
                    ->CreateVdevice(me_, Named("v", n), absl::StrCat("x", device), DeviceId(device),
                                    VirtualId(device))
                    .status();
              }};
  }
}

FaultWorld::Verb FaultWorld::InvalidateViommuVerb() {
  const uint64_t n = Random(kNames);
  std::vector<ArmSmmuV3Invalidation> commands(1);
  commands[0].opcode = Random(2) == 0 ? ArmSmmuV3Opcode::kTlbiAll : ArmSmmuV3Opcode::kTlbiAsid;
  if (Random(2) == 0) {
    ArmSmmuV3Invalidation device;
    device.opcode = ArmSmmuV3Opcode::kAtcInv;
    device.stream_id = static_cast<uint32_t>(VirtualId(Random(3)));
    device.size_log2 = 52;
    commands.push_back(device);
  }
  return {"invalidate", absl::StrCat("invalidate v", n), [=]() -> absl::Status {
            const auto answer = engine_->InvalidateViommu(me_, Named("v", n), commands);
            return answer.ok() ? answer->first_error : answer.status();
          }};
}

}  // namespace viommu::faults
