#include "tests/property/world.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/backend/soft/soft_backend_inl.h"
#include "engine/base/status_macros.h"
#include "engine/entries/smmu_cd.h"
#include "tests/property/small_host.h"

namespace viommu::property {

ObjectRef NameOf(const char* kind, int number) {
  return {absl::StrCat(kind, number), std::nullopt};
}

std::string InWords(const Requester& who) {
  return who.pasid == kRid ? absl::StrCat(who.device)
                           : absl::StrCat(who.device, " pasid ", who.pasid);
}

World::World(const SmallHost& host, uint64_t seed) : host_(host), random_(seed) {
  doing_ = "setting up";
  const absl::Status status = SetUp();
  if (!status.ok()) Trouble(status.ToString());
}

absl::Status World::SetUp() {
  observer_ = [this](const uint64_t*, size_t) {
    if (watching_) LookOut();
  };
  SoftBackendOptions options;
  options.table_arena_bytes = uint64_t{64} << 20;
  ASSIGN_OR_RETURN(backend_, SoftBackendT<ObservedStore>::Create(host_.topology, options,
                                                                 ObservedStore(&observer_)));
  device_eye_ = std::make_unique<DeviceEye>(&backend_->machine());
  device_eye_->LetUnitsSpeculate();
  ASSIGN_OR_RETURN(engine_, Engine::Create({"property"}, backend_.get(), &journal_, RealEnv()));
  me_.is_operator = true;
  reference_ = std::make_unique<Reference>(host_.topology, kIoases, kTablesRegion);
  for (int i = 0; i <= kTablesRegion; ++i) {
    const uint64_t bytes = i == kTablesRegion ? kTablesBytes : kRegionBytes;
    ASSIGN_OR_RETURN(const MemoryRegionView region,
                     engine_->CreateMemoryRegion(me_, absl::StrCat("r", i), bytes, std::nullopt));
    region_uid_.push_back(region.object.uid);
    region_base_.push_back(backend_->simulation()->PhysicalAddress(region.object.uid, 0)->value);
    RETURN_IF_ERROR(TagPages(i, bytes));
  }
  for (int i = 0; i < kIoases; ++i) {
    RETURN_IF_ERROR(engine_->CreateIoas(me_, absl::StrCat("as", i)).status());
  }
  return IsArm() ? WriteDescriptors() : absl::OkStatus();
}

absl::Status World::WriteDescriptors() {
  for (int guest = 0; guest < kGuests; ++guest) {
    smmu::CdFields fields;
    fields.root = PhysAddr{kTablesAt + guest * kGuestBytes};  // The guest knows no other address.
    fields.asid = AsidOf(guest);
    const smmu::Cd descriptor = smmu::MakeCd(fields);
    RETURN_IF_ERROR(backend_->simulation()->WriteMemory(
        region_uid_[kTablesRegion], guest * kGuestBytes + kDescriptorOffset,
        absl::MakeConstSpan(reinterpret_cast<const char*>(descriptor.data()), sizeof(descriptor))));
  }
  return absl::OkStatus();
}

absl::Status World::TagPages(int region, uint64_t bytes) {
  for (uint64_t page = 0; page < bytes; page += kPage) {
    const uint64_t tag = TagOf(region_base_[region] + page);
    RETURN_IF_ERROR(backend_->simulation()->WriteMemory(
        region_uid_[region], page + kTagOffset,
        absl::MakeConstSpan(reinterpret_cast<const char*>(&tag), sizeof(tag))));
  }
  return absl::OkStatus();
}

void World::Trouble(const std::string& what) {
  if (trouble_.empty()) trouble_ = absl::StrCat("step ", tally_.steps, " ", doing_, ": ", what);
}

bool World::Step() {
  ++tally_.steps;
  RandomVerb();
  return trouble_.empty();
}

bool World::CompareAll() {
  doing_ = "compare everything";
  for (int i = 0; i < kIoases; ++i) {
    const auto page =
        engine_->ListMappings(me_, NameOf("as", i), {0, kMaxAddress}, {kMaxPageSize, ""});
    const auto& areas = reference_->ioases()[i].areas;
    if (!page.ok() || page->items.size() != areas.size()) {
      Trouble(absl::StrCat("as", i, " lists another number of mappings"));
      break;
    }
    auto it = areas.begin();
    for (const MappingView& mapping : page->items) {
      if (mapping.range != IovaRange{it->first, it->first + (it->second.size - 1)} ||
          mapping.offset_bytes != it->second.offset ||
          static_cast<int>(mapping.permission) != it->second.permission) {
        Trouble(absl::StrCat("as", i, " lists ", ToString(mapping.range)));
      }
      ++it;
    }
  }
  for (int device = 0; device < kDevices; ++device) {
    const auto view = engine_->GetDevice(me_, DeviceId(device));
    if (!reference_->present(device)) {
      if (view.ok()) Trouble(absl::StrCat("device ", device, " is out, and shown"));
      continue;
    }
    if (!view.ok() || view->attached != reference_->attached({device, kRid}) ||
        (view->ownership == DeviceOwnership::kClaimed) != reference_->claimed(device)) {
      Trouble(absl::StrCat("device ", device, " is shown otherwise"));
    }
  }
  const auto viommus = engine_->ListViommus(me_, {kMaxPageSize, ""});
  size_t vdevices = 0;
  if (viommus.ok()) {
    for (const ViommuView& viommu : viommus->items) vdevices += viommu.vdevices.size();
  }
  if (!viommus.ok() || viommus->items.size() != reference_->viommus().size() ||
      vdevices != reference_->vdevices().size()) {
    Trouble("other Viommus are listed, or other vdevices");
  }
  const auto domains = engine_->ListDomains(me_, {kMaxPageSize, ""});
  constexpr size_t kStaticDomains = 2;
  if (!domains.ok() || domains->items.size() != reference_->domains().size() + kStaticDomains) {
    Trouble("other domains are listed");
  }
  return trouble_.empty();
}

}  // namespace viommu::property
