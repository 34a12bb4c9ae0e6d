// The guests of SMMUv3s: their Viommus and vdevices, their entries and their commands.
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/backend/soft/soft_backend_inl.h"
#include "engine/entries/smmu_ste.h"
#include "tests/property/world.h"

namespace viommu::property {
namespace {

std::string VdeviceId(int device) { return absl::StrCat("x", device); }
uint32_t VirtualId(int device) { return 0x100 + device; }

ArmSmmuV3Invalidation AtcInvalidation(int device) {
  ArmSmmuV3Invalidation command;
  command.opcode = ArmSmmuV3Opcode::kAtcInv;
  command.stream_id = VirtualId(device);
  command.size_log2 = 52;  // Everything.
  return command;
}

}  // namespace

// Mostly one that translates; the words of its kind.
ArmSmmuV3Stage1 World::GuestEntryOf(RefDomainRequest* request) {
  const uint64_t kind = Random(8);
  request->entry = kind == 0   ? GuestEntry::kAbort
                   : kind == 1 ? GuestEntry::kBypass
                               : GuestEntry::kTranslate;
  ArmSmmuV3Stage1 entry;
  switch (request->entry) {
    case GuestEntry::kAbort:
      if (Random(2) == 0) entry.ste[0] = smmu::kSteValid;
      break;
    case GuestEntry::kBypass:
      entry.ste[0] = smmu::kSteValid | smmu::kSteConfig.Put(uint64_t(smmu::SteConfig::kBypass));
      break;
    case GuestEntry::kTranslate:
      entry.ste[0] = smmu::kSteValid | smmu::kSteConfig.Put(uint64_t(smmu::SteConfig::kStage1)) |
                     (kTablesAt + request->guest * kGuestBytes + kDescriptorOffset);
      if (Random(4) != 0) {
        entry.ste[1] = smmu::kSteEats.Put(uint64_t(smmu::AtsTreatment::kTranslate));
      }
      break;
  }
  return entry;
}

void World::ViommuVerb() {
  const int number = static_cast<int>(Random(kViommus));
  if (reference_->viommus().count(number) > 0) {
    if (Random(8) != 0) return VdeviceVerb(number);
    return Both(
        "destroy viommu", absl::StrCat("v", number), {}, std::nullopt,
        [&] { return reference_->DestroyViommu(number); },
        [&] { return engine_->DeleteViommu(me_, NameOf("v", number), ""); });
  }
  const int parent = Random(16) == 0 ? static_cast<int>(Random(kDomains)) : RandomNestParent();
  int device = RandomDevice();
  for (int tries = 0; tries < 8 && !reference_->CanUse(device, parent); ++tries) {
    device = RandomDevice();
  }
  ViommuRequest request;
  request.device = DeviceId(device);
  request.parent = NameOf("d", parent);
  Both(
      "create viommu", absl::StrCat("v", number, " for ", device, " on d", parent), {},
      std::nullopt, [&] { return reference_->CreateViommu(number, device, parent); },
      [&] { return engine_->CreateViommu(me_, absl::StrCat("v", number), request).status(); });
}

void World::VdeviceVerb(int viommu) {
  const int device = RandomDeviceOn(viommu);
  const auto found = reference_->vdevices().find(device);
  if (found != reference_->vdevices().end() && Random(4) == 0) {
    const ObjectRef name{absl::StrCat("v", found->second, "/vdevices/", VdeviceId(device)),
                         std::nullopt};
    return Both(
        "destroy vdevice", absl::StrCat("of ", device), {}, device,
        [&] { return reference_->DestroyVdevice(device); },
        [&] { return engine_->DeleteVdevice(me_, name, ""); });
  }
  Both(
      "create vdevice", absl::StrCat("of ", device, " in v", viommu), {}, device,
      [&] { return reference_->CreateVdevice(viommu, device); },
      [&] {
        return engine_
            ->CreateVdevice(me_, NameOf("v", viommu), VdeviceId(device), DeviceId(device),
                            VirtualId(device))
            .status();
      });
}

// What the guest's driver says after it has changed tables: to the TLBs, then to its devices.
void World::InvalidateSmmuVerb(int domain, bool everything) {
  const RefDomain nested = reference_->domains().at(domain);
  ArmSmmuV3Invalidation command;
  IovaRange range{0, kMaxAddress};
  const uint64_t kind = everything ? Random(2) : Random(4);
  if (kind == 0) {
    command.opcode = ArmSmmuV3Opcode::kTlbiAll;
  } else if (kind == 1) {
    command.opcode = ArmSmmuV3Opcode::kTlbiAsid;
    command.asid = AsidOf(nested.guest);
  } else {
    command.opcode = kind == 2 ? ArmSmmuV3Opcode::kTlbiVa : ArmSmmuV3Opcode::kTlbiVaa;
    if (kind == 2) command.asid = AsidOf(nested.guest);
    command.address = RandomGuestIova();
    command.leaves_only = Random(4) == 0;
    range = {command.address, command.address + (kPage - 1)};
  }
  std::vector<ArmSmmuV3Invalidation> commands{command};
  for (const auto& [device, viommu] : reference_->vdevices()) {
    if (viommu == nested.viommu) commands.push_back(AtcInvalidation(device));
  }
  Both(
      "invalidate", absl::StrCat("d", domain, " ", ToString(range)), {}, std::nullopt,
      [&] { return reference_->Invalidate(domain, range, command.leaves_only); },
      [&]() -> absl::Status {
        const auto answer = engine_->InvalidateViommu(me_, NameOf("v", nested.viommu), commands);
        return answer.ok() ? answer->first_error : answer.status();
      });
}

}  // namespace viommu::property
