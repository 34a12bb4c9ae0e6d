#include "engine/model/views.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/model/default_domains.h"
#include "engine/model/object_view.h"

namespace viommu {
namespace {

template <typename Condition>
bool AnyAttachment(const Device& device, Condition condition) {
  for (const auto& [pasid, attachment] : device.attachments) {
    if (condition(attachment)) return true;
  }
  return false;
}

// Bit n: leaves of 2^n bytes. Those of 4 KiB are always there.
uint64_t PageSizes(bool leaf_2m, bool leaf_1g) {
  return uint64_t{1} << 12 | uint64_t{leaf_2m} << 21 | uint64_t{leaf_1g} << 30;
}

// The NESTED domains on a nest parent itself; those that are still being made refer to it too, and
// so do Viommus.
std::vector<std::string> ChildrenOf(const Model& model, const Domain& domain,
                                    absl::string_view principal) {
  std::vector<std::string> children;
  if (!domain.spec.nest_parent) return children;
  for (const auto& [holder, count] : domain.referrers()) {
    const Object* const child = model.objects.FindByUid(holder);  // Null: a device.
    if (child == nullptr || child->kind() != ObjectKind::kDomain || !child->exists()) continue;
    children.push_back(child->NameFor(principal));
  }
  return children;
}

void AddVtd(const IommuSpec& unit, HardwareView* view) {
  view->first_stage_5_level = unit.first_stage_levels_5;
  if (unit.first_stage) {
    view->first_stage_page_sizes = PageSizes(/*leaf_2m=*/true, unit.first_stage_leaf_1g);
  }
  view->second_stage_page_sizes = PageSizes(unit.leaf_2m, unit.leaf_1g);
  view->supervisor_requests = unit.supervisor_requests;
  view->extended_accessed = unit.extended_access;
  view->snoop_control = unit.snoop_control;
}

void AddSmmu(const SmmuV3Spec& unit, HardwareView* view) {
  uint64_t sizes = 0;  // Leaves of every granule (Arm ARM D8.2: 48-bit addresses).
  if (unit.granule_4k) sizes |= PageSizes(/*leaf_2m=*/true, /*leaf_1g=*/true);
  if (unit.granule_16k) sizes |= uint64_t{1} << 14 | uint64_t{1} << 25;
  if (unit.granule_64k) sizes |= uint64_t{1} << 16 | uint64_t{1} << 29;
  if (unit.stage1) view->first_stage_page_sizes = sizes;
  if (unit.stage2) view->second_stage_page_sizes = sizes;
  view->snoop_control = unit.coherent;
}

}  // namespace

MemoryRegionView ViewOf(const MemoryRegion& region, absl::string_view) {
  MemoryRegionView view;
  view.object = ViewOfObject(region);
  view.size_bytes = region.size_bytes;
  view.numa_node = region.numa_node;
  view.read_only = region.read_only;
  view.suspended = region.suspended;
  if (region.suspended) view.suspend_reason = "the memory was revoked";
  for (const auto& [holder, count] : region.referrers()) view.mapping_count += count;
  return view;
}

IoasView ViewOf(const Model& model, const Ioas& ioas, absl::string_view principal) {
  IoasView view;
  view.object = ViewOfObject(ioas);
  view.mapping_count = ioas.mapping_count();
  view.mapped_bytes = ioas.mapped_bytes();
  view.mapping_revision = ioas.mapping_revision;
  view.alignment_bytes = ioas.space().alignment_bytes();
  view.allowed_ranges = ioas.space().allowed();
  view.mode = ioas.mode;
  view.large_pages = ioas.large_pages();
  view.suspended_mapping_count = ioas.suspended_count();
  for (const Device& device : model.devices) {
    if (ioas.loaded_devices.contains(device.index)) view.loaded_devices.push_back(device.Name());
  }
  for (const Uid domain : ioas.domains) {
    view.domains.push_back(model.Get<Domain>(domain)->NameFor(principal));
  }
  return view;
}

FaultQueueView ViewOf(const Model& model, const FaultQueue& queue, absl::string_view principal) {
  FaultQueueView view;
  view.object = ViewOfObject(queue);
  view.depth = queue.depth;
  view.waiting = static_cast<uint32_t>(queue.size());
  view.lost = queue.lost();
  view.streamed = queue.streamed();
  for (const auto& [holder, count] : queue.referrers()) {
    const Object& domain = *model.objects.FindByUid(holder);
    if (domain.exists()) view.domains.push_back(domain.NameFor(principal));
  }
  return view;
}

FaultView ViewOf(const Model& model, const FaultQueue::Group& group, absl::string_view principal) {
  FaultView view;
  view.cookie = group.cookie;
  view.sequence = group.sequence;
  view.device = model.devices[group.group.device].Name();
  view.domain = model.Get<Domain>(group.domain)->NameFor(principal);
  view.pasid = group.group.pasid;
  view.group = group.group.group;
  view.pages = group.pages;
  view.time = group.time;
  return view;
}

DomainView ViewOf(const Model& model, const Domain& domain, absl::string_view principal) {
  DomainView view;
  view.object = ViewOfObject(domain);
  view.kind = domain.nested() ? DomainKind::kNested
              : domain.sva()  ? DomainKind::kSva
                              : DomainKind::kPaging;
  view.ioas = model.Get<Ioas>(domain.ioas)->NameFor(principal);
  view.device = model.devices[domain.device].Name();
  view.pasid = domain.spec.pasid;
  view.properties = domain.properties;
  view.automatic = domain.automatic;
  view.dirty_tracking_enabled = domain.dirty_tracking_enabled;
  if (domain.sva()) view.sva_pasid = model.process_pasids.Of(domain.ioas);
  if (domain.fault_queue != 0) {
    view.fault_queue = model.Get<FaultQueue>(domain.fault_queue)->NameFor(principal);
  }
  view.children = ChildrenOf(model, domain, principal);
  if (domain.nested()) {
    view.parent = model.Get<Domain>(domain.spec.parent)->NameFor(principal);
    view.stage1 = domain.spec.stage1;
    view.vste = domain.spec.vste;
  }
  if (domain.spec.viommu != 0) {
    view.viommu = model.Get<Viommu>(domain.spec.viommu)->NameFor(principal);
  }
  for (const Device& device : model.devices) {
    const bool attached = AnyAttachment(device, [&](const Attachment& attachment) {
      return attachment.target.domain == domain.uid();
    });
    if (attached) view.attached_devices.push_back(device.Name());
  }
  return view;
}

DomainView StaticDomainView(const Model& model, DomainTarget::Kind kind,
                            const CallContext& context) {
  const bool identity = kind == DomainTarget::Kind::kIdentity;
  DomainView view;
  view.object.id = std::string(identity ? kIdentityDomain : kBlockedDomain);
  view.object.etag = "static";
  view.kind = identity ? DomainKind::kIdentity : DomainKind::kBlocked;
  for (const Device& device : model.devices) {
    const bool attached = AnyAttachment(device, [&](const Attachment& attachment) {
      return attachment.target.kind == kind &&
             (context.is_operator || attachment.owner == context.principal);
    });
    if (attached) view.attached_devices.push_back(device.Name());
  }
  return view;
}

DeviceView ViewOf(const Model& model, const Device& device, const CallContext& context) {
  const Group& group = model.GroupOf(device);
  const bool may_know = context.is_operator || context.principal == group.claimed_by;
  DeviceView view;
  view.spec = device.spec;
  view.uid = device.uid;
  view.etag = device.Etag();
  view.revision = device.revision;
  view.ownership = group.claimed() ? DeviceOwnership::kClaimed : DeviceOwnership::kHost;
  if (may_know) view.claimed_by = group.claimed_by;
  if (!group.claimed()) {
    view.domain = group.default_domain == DefaultDomainType::kIdentity ? "domains/identity" : "";
  } else if (may_know) {
    view.domain = model.TargetName(group.TargetAt(std::nullopt), context.principal);
  }
  view.attached = may_know && device.AttachmentAt(std::nullopt) != nullptr;
  view.default_domain = group.default_domain;
  view.default_domain_fallback = group.default_domain_fallback;
  view.default_domain_types = AvailableDefaultDomains(model, group);
  view.health = device.health;
  view.health_cause = device.health_cause;
  view.health_reason = device.health_reason;
  for (const DeviceIndex member : group.members) {
    const Device& other = model.devices[member];
    if (member != device.index && other.present) view.group_members.push_back(other.Name());
  }
  return view;
}

std::optional<Iova> MsiIovaOf(const Model& model, const Device& device, PasidOrRid pasid,
                              const DomainTarget& target) {
  const std::optional<IovaRange> window = DoorbellWindow(device.spec);
  const Domain* const domain = model.PagingDomainOf(target);
  if (pasid.has_value() || !window || !device.spec.msi_doorbell || domain == nullptr) {
    return std::nullopt;
  }
  return domain->DoorbellIn(*window, *device.spec.msi_doorbell);
}

AttachmentView AttachmentOf(const Model& model, const Device& device, PasidOrRid pasid,
                            absl::string_view principal) {
  const Attachment& attachment = device.attachments.at(pasid);
  return {device.Name(),
          model.TargetName(attachment.target, principal),
          attachment.owner,
          attachment.revision,
          attachment.create_time,
          pasid,
          MsiIovaOf(model, device, pasid, attachment.target)};
}

PasidView PasidOf(const Model& model, const Device& device, uint32_t pasid,
                  absl::string_view principal) {
  const Group& group = model.GroupOf(device);
  const PasidEntry& entry = group.pasids.at(pasid);
  PasidView view{device.Name(), pasid,       PasidState::kReserved, "",
                 entry.owner,   entry.label, entry.revision};
  if (entry.kind == PasidEntry::Kind::kAllocated) view.state = PasidState::kAllocated;
  if (const DomainTarget* const target = group.AttachedAt(pasid)) {
    view.state = PasidState::kAttached;
    view.domain = model.TargetName(*target, principal);
  }
  return view;
}

IommuView ViewOf(const Model& model, const IommuSpec& iommu) {
  IommuView view{iommu, {}};
  for (const Device& device : model.devices) {
    if (device.present && device.spec.iommu == iommu.id) view.devices.push_back(device.Name());
  }
  return view;
}

HardwareView HardwareOf(const Model& model, const Device& device) {
  const IommuSpec& unit = model.UnitOf(device);
  HardwareView view;
  view.registers = model.backend().DescribeHardware(device.index);
  view.nesting = HasNesting(unit);
  view.first_stage = HasFirstStage(unit);
  view.pasid_bits = std::min(device.spec.pasid_bits, PasidBits(unit));
  view.ats = device.spec.ats && ServesDeviceTlbs(unit) && !device.spec.untrusted;
  view.pass_through = HasPassThrough(unit);
  view.dirty_tracking = HasDirtyTracking(unit);
  if (unit.architecture == IommuArchitecture::kSmmuV3) {
    AddSmmu(unit.smmu_v3, &view);
  } else {
    AddVtd(unit, &view);
  }
  view.viommus = model.backend().DescribeViommus(device.index);
  view.page_requests = HasPageFaults(unit, device.spec);
  if (view.nesting) {
    DomainSpec parent;
    parent.device = device.index;
    parent.nest_parent = true;
    const absl::StatusOr<DomainProperties> properties = model.backend().PlanDomain(parent);
    view.nest_parent_refuses_read_only = properties.ok() && !properties->read_only;
  }
  return view;
}

MappingView ViewOf(const Model& model, const PlacedArea& area, absl::string_view principal) {
  return {area.range, model.Get<MemoryRegion>(area.area.region)->NameFor(principal),
          area.area.offset_bytes, area.area.permissions(), area.area.suspended != 0};
}

}  // namespace viommu
