#include "engine/operations/reserved_region_operations.h"

#include "engine/base/status_macros.h"
#include "engine/model/views.h"
#include "engine/operations/reserved_regions.h"

namespace viommu {
namespace {

// Under which a device's loaded regions are reserved: not its uid, which is another one when it has
// been out. Uids count up from 1: the highest bit keeps this apart from them, under which
// attachments reserve.
uint64_t HolderOf(const Device& device) { return device.index | (uint64_t{1} << 63); }

}  // namespace

absl::Status LoadedRegionsOperation::Load(const Device& device, Ioas& ioas) {
  for (const ReservedRegion& region : device.spec.reserved_regions) {
    if (!IsEnforced(region.type)) continue;
    absl::Status reserved =
        CloseRegion(ioas, device, region, HolderOf(device), "loaded reserved region");
    if (reserved.ok()) continue;
    ioas.space().Unreserve(HolderOf(device));
    return reserved;
  }
  ioas.loaded_devices.insert(device.index);
  return absl::OkStatus();
}

void LoadedRegionsOperation::Unload(const Device& device, Ioas& ioas) {
  ioas.space().Unreserve(HolderOf(device));
  ioas.loaded_devices.erase(device.index);
}

absl::StatusOr<std::vector<Uid>> LoadedRegionsOperation::Lanes(Model& model) {
  ASSIGN_OR_RETURN(const Ioas* ioas, model.Find<Ioas>(context(), ref_));
  RETURN_IF_ERROR(model.FindDevice(device_id_).status());
  return std::vector<Uid>{ioas->uid()};
}

absl::Status LoadedRegionsOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(ioas_, model.Find<Ioas>(context(), ref_));
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(device_id_));
  device_ = device->index;
  RETURN_IF_ERROR(Model::CheckEtag(etag_, ioas_->Etag(), ioas_->NameFor(context().principal)));
  changes_ = IsWanted(ioas_->loaded_devices.contains(device->index));
  if (changes_) RETURN_IF_ERROR(Change(*device, *ioas_));
  answer() = ViewOf(model, *ioas_, context().principal);
  return absl::OkStatus();
}

void LoadedRegionsOperation::Commit(Model& model) {
  model.Bump(*ioas_);
  answer() = ViewOf(model, *ioas_, context().principal);
}

}  // namespace viommu
