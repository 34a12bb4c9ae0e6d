#include "engine/model/views.h"

#include "absl/strings/str_cat.h"
#include "engine/model/default_domains.h"

namespace viommu {
namespace {

ObjectView Common(const Object& object) {
  return {object.id(),   object.owner(),  object.uid(),
          object.Etag(), object.revision, object.create_time};
}

}  // namespace

MemoryRegionView ViewOf(const MemoryRegion& region, absl::string_view) {
  MemoryRegionView view;
  view.object = Common(region);
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
  view.object = Common(ioas);
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

DomainView ViewOf(const Model& model, const Domain& domain, absl::string_view principal) {
  DomainView view;
  view.object = Common(domain);
  view.kind = DomainKind::kPaging;
  view.ioas = model.Get<Ioas>(domain.ioas)->NameFor(principal);
  view.device = model.devices[domain.device].Name();
  view.properties = domain.properties;
  for (const Device& device : model.devices) {
    if (device.attachment.has_value() && device.attachment->target.domain == domain.uid()) {
      view.attached_devices.push_back(device.Name());
    }
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
    if (!device.attachment.has_value() || device.attachment->target.kind != kind) continue;
    if (!context.is_operator && device.attachment->owner != context.principal) continue;
    view.attached_devices.push_back(device.Name());
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
    view.domain = model.TargetName(group.target, context.principal);
  }
  view.attached = may_know && device.attachment.has_value();
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

AttachmentView AttachmentOf(const Model& model, const Device& device, absl::string_view principal) {
  const Attachment& attachment = *device.attachment;
  return {device.Name(), model.TargetName(attachment.target, principal), attachment.owner,
          attachment.revision, attachment.create_time};
}

IommuView ViewOf(const Model& model, const IommuSpec& iommu) {
  IommuView view{iommu, {}};
  for (const Device& device : model.devices) {
    if (device.present && device.spec.iommu == iommu.id) view.devices.push_back(device.Name());
  }
  return view;
}

MappingView ViewOf(const Model& model, const PlacedArea& area, absl::string_view principal) {
  return {area.range, model.Get<MemoryRegion>(area.area.region)->NameFor(principal),
          area.area.offset_bytes, area.area.permissions(), area.area.suspended != 0};
}

}  // namespace viommu
