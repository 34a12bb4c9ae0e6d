#include "server/describe.h"

#include <string>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/convert.h"
#include "server/describe_object.h"
#include "server/names.h"

namespace viommu {
namespace {

// The set bits of a page-size mask (bit n: 2^n bytes) as sizes.
template <typename Repeated>
void DescribePageSizes(uint64_t mask, Repeated* out) {
  for (int bit = 0; bit < 64; ++bit) {
    const uint64_t size_bytes = uint64_t{1} << bit;
    if ((mask & size_bytes) != 0) out->Add(size_bytes);
  }
}

v1::VtdIommu DescribeVtd(const IommuSpec& spec) {
  v1::VtdIommu out;
  out.set_host_address_width_bits(spec.host_address_width_bits);
  out.set_guest_address_width_bits(spec.guest_address_width_bits);
  if (spec.levels_3) out.add_second_stage_levels(3);
  if (spec.levels_4) out.add_second_stage_levels(4);
  if (spec.levels_5) out.add_second_stage_levels(5);
  const uint64_t leaves =
      (uint64_t{1} << 12) | (uint64_t{spec.leaf_2m} << 21) | (uint64_t{spec.leaf_1g} << 30);
  DescribePageSizes(leaves, out.mutable_page_sizes_bytes());
  out.set_snoop_control(spec.snoop_control);
  out.set_pass_through(spec.pass_through);
  out.set_domain_id_bits(spec.domain_id_bits);
  out.set_pasid_bits(spec.pasid_bits);
  return out;
}

v1::SmmuV3Iommu DescribeSmmuV3(const SmmuV3Spec& spec) {
  v1::SmmuV3Iommu out;
  out.set_oas_bits(spec.oas_bits);
  out.set_stage1(spec.stage1);
  out.set_stage2(spec.stage2);
  out.set_nesting(spec.nesting);
  out.set_stream_id_bits(spec.stream_id_bits);
  out.set_substream_id_bits(spec.substream_id_bits);
  out.set_asid_bits(spec.asid_bits);
  out.set_vmid_bits(spec.vmid_bits);
  const uint64_t granules = uint64_t{spec.granule_4k} << 12 | uint64_t{spec.granule_16k} << 14 |
                            uint64_t{spec.granule_64k} << 16;
  DescribePageSizes(granules, out.mutable_granules_bytes());
  out.set_ats(spec.ats);
  out.set_pri(spec.pri);
  out.set_stall(spec.stall);
  out.set_range_invalidation(spec.range_invalidation);
  out.set_s2fwb(spec.s2fwb);
  out.set_hardware_access(spec.hardware_access);
  out.set_hardware_dirty(spec.hardware_dirty);
  out.set_coherent(spec.coherent);
  out.set_two_level_stream_table(spec.two_level_stream_table);
  out.set_two_level_cd(spec.two_level_cd);
  return out;
}

v1::OwnerLimits DescribeOwnerLimits(const OwnerLimits& limits) {
  v1::OwnerLimits out;
  out.set_max_memory_regions(limits.max_memory_regions);
  out.set_max_ioas(limits.max_ioas);
  out.set_max_domains(limits.max_domains);
  out.set_max_mappings(limits.max_mappings);
  out.set_max_mapped_bytes(limits.max_mapped_bytes);
  out.set_max_region_bytes_total(limits.max_region_bytes_total);
  out.set_max_operations_in_flight(limits.max_operations_in_flight);
  out.set_max_streams(limits.max_streams);
  out.set_max_pasids(limits.max_pasids);
  out.set_max_viommus(limits.max_viommus);
  out.set_max_queued_events(limits.max_queued_events);
  out.set_max_fault_queues(limits.max_fault_queues);
  out.set_max_fault_groups(limits.max_fault_groups);
  return out;
}

v1::Limits DescribeLimits(const OwnerLimits& owner_limits, uint64_t max_message_bytes) {
  v1::Limits out;
  out.set_max_batch_entries(kMaxBatchEntries);
  out.set_max_page_size(kMaxPageSize);
  out.set_default_page_size(kDefaultPageSize);
  out.set_max_in_flight_batches(kMaxInFlightBatches);
  out.set_max_allowed_ranges(kMaxAllowedRanges);
  out.set_remembered_requests(kRememberedRequests);
  out.set_max_region_bytes(kMaxRegionBytes);
  out.set_max_access_bytes(kMaxAccessBytes);
  out.set_max_bitmap_pages(kMaxBitmapPages);
  out.set_max_message_bytes(max_message_bytes);
  out.set_max_fault_queue_depth(kMaxFaultQueueDepth);
  *out.mutable_owner() = DescribeOwnerLimits(owner_limits);
  return out;
}

v1::DomainType TypeOf(DomainKind kind) {
  switch (kind) {
    case DomainKind::kPaging:
      return v1::DOMAIN_TYPE_PAGING;
    case DomainKind::kNested:
      return v1::DOMAIN_TYPE_NESTED;
    case DomainKind::kSva:
      return v1::DOMAIN_TYPE_SVA;
    case DomainKind::kIdentity:
      return v1::DOMAIN_TYPE_IDENTITY;
    case DomainKind::kBlocked:
      return v1::DOMAIN_TYPE_BLOCKED;
  }
  return v1::DOMAIN_TYPE_UNSPECIFIED;
}

v1::SvaDomain DescribeSva(const DomainView& view) {
  v1::SvaDomain out;
  out.set_process(view.ioas);
  out.set_device(view.device);
  out.set_pasid(view.sva_pasid.value_or(0));
  out.set_format(view.properties.format);
  out.set_levels(view.properties.levels);
  *out.mutable_aperture() = ToProto(view.properties.aperture);
  return out;
}

v1::PagingDomain DescribePaging(const DomainView& view) {
  v1::PagingDomain out;
  out.set_ioas(view.ioas);
  out.set_device(view.device);
  out.set_format(view.properties.format);
  out.set_levels(view.properties.levels);
  *out.mutable_aperture() = ToProto(view.properties.aperture);
  DescribePageSizes(view.properties.page_sizes, out.mutable_page_sizes_bytes());
  out.set_enforces_cache_coherency(view.properties.enforces_cache_coherency);
  out.set_nest_parent(view.properties.nest_parent);
  out.set_pasid(view.pasid);
  out.set_fault_queue(view.fault_queue);
  out.set_supports_read_only(view.properties.read_only);
  out.set_supports_write_only(view.properties.write_only);
  for (const std::string& child : view.children) out.add_children(child);
  out.set_dirty_tracking(view.properties.dirty_tracking);
  out.set_dirty_tracking_enabled(view.dirty_tracking_enabled);
  return out;
}

v1::NestedDomain DescribeNested(const DomainView& view) {
  v1::NestedDomain out;
  out.set_parent(view.parent);
  out.set_device(view.device);
  out.set_pasid(view.pasid);
  out.set_fault_queue(view.fault_queue);
  out.set_ioas(view.ioas);
  out.set_format(view.properties.format);
  if (!view.viommu.empty()) {
    out.set_viommu(view.viommu);
    out.mutable_arm_smmu_v3()->set_ste_0(view.vste.ste[0]);
    out.mutable_arm_smmu_v3()->set_ste_1(view.vste.ste[1]);
    return out;
  }
  v1::VtdStage1& stage1 = *out.mutable_vtd();
  stage1.set_table_address(view.stage1.table_address);
  stage1.set_address_width_bits(view.stage1.address_width_bits);
  stage1.set_supervisor_requests(view.stage1.supervisor_requests);
  stage1.set_write_protect(view.stage1.write_protect);
  stage1.set_extended_accessed(view.stage1.extended_accessed);
  return out;
}

v1::VtdHardwareInfo DescribeRegisters(const VtdHardware& registers) {
  v1::VtdHardwareInfo out;
  out.set_capability(registers.capability);
  out.set_extended_capability(registers.extended_capability);
  out.set_text(absl::StrCat("cap ", Hex(registers.capability), ", ecap ",
                            Hex(registers.extended_capability)));
  return out;
}

v1::ArmSmmuV3HardwareInfo DescribeRegisters(const ArmSmmuV3Hardware& registers) {
  v1::ArmSmmuV3HardwareInfo out;
  std::string text;
  for (size_t i = 0; i < registers.idr.size(); ++i) {
    out.add_idr(registers.idr[i]);
    absl::StrAppend(&text, "idr", i, " ", Hex(registers.idr[i]), ", ");
  }
  out.set_iidr(registers.iidr);
  out.set_aidr(registers.aidr);
  absl::StrAppend(&text, "iidr ", Hex(registers.iidr), ", aidr ", Hex(registers.aidr));
  out.set_text(std::move(text));
  return out;
}

v1::HardwareCapabilities DescribeCapabilities(const HardwareView& view) {
  v1::HardwareCapabilities out;
  out.set_nesting(view.nesting);
  out.set_first_stage(view.first_stage);
  out.set_first_stage_5_level(view.first_stage_5_level);
  DescribePageSizes(view.first_stage_page_sizes, out.mutable_first_stage_page_sizes_bytes());
  DescribePageSizes(view.second_stage_page_sizes, out.mutable_second_stage_page_sizes_bytes());
  out.set_max_pasid_log2(view.pasid_bits);
  out.set_ats(view.ats);
  out.set_supervisor_requests(view.supervisor_requests);
  out.set_extended_accessed(view.extended_accessed);
  out.set_snoop_control(view.snoop_control);
  out.set_pass_through(view.pass_through);
  out.set_dirty_tracking(view.dirty_tracking);
  out.set_viommu(view.viommus.arm_smmu_v3);
  out.set_range_invalidation(view.viommus.range_invalidation);
  out.set_hardware_queues(view.viommus.hardware_queues);
  out.set_page_requests(view.page_requests);
  return out;
}

}  // namespace

v1::Host Describe(const HostView& view, uint64_t max_message_bytes) {
  v1::Host out;
  out.set_version(view.version);
  out.set_backend(view.backend);
  out.set_boot_id(view.boot_id);
  out.set_revision(view.revision);
  *out.mutable_start_time() = ToProto(view.start_time);
  *out.mutable_limits() = DescribeLimits(view.owner_limits, max_message_bytes);
  out.mutable_flush_queue()->set_ring_entries(view.flush_queue.ring_entries);
  out.mutable_flush_queue()->set_timeout_ms(
      static_cast<uint32_t>(absl::ToInt64Milliseconds(view.flush_queue.timeout)));
  return out;
}

v1::Iommu Describe(const IommuView& view) {
  v1::Iommu out;
  out.set_name(HostName(NameKind::kIommu, view.spec.id));
  if (view.spec.numa_node.has_value()) out.set_numa_node(*view.spec.numa_node);
  for (const std::string& device : view.devices) out.add_devices(device);
  if (HasPassThrough(view.spec)) out.add_default_domain_types(v1::DEFAULT_DOMAIN_TYPE_IDENTITY);
  out.add_default_domain_types(v1::DEFAULT_DOMAIN_TYPE_DMA);
  if (view.spec.deferred_flush) out.add_default_domain_types(v1::DEFAULT_DOMAIN_TYPE_DMA_FQ);
  if (view.spec.architecture == IommuArchitecture::kSmmuV3) {
    out.set_type(v1::IOMMU_ARCHITECTURE_SMMU_V3);
    *out.mutable_smmu_v3() = DescribeSmmuV3(view.spec.smmu_v3);
  } else {
    out.set_type(v1::IOMMU_ARCHITECTURE_VTD);
    *out.mutable_vtd() = DescribeVtd(view.spec);
  }
  return out;
}

v1::InvalidationQueue Describe(const QueueState& state) {
  v1::InvalidationQueue out;
  out.set_name(QueueName(state.iommu));
  out.set_size_entries(state.size_entries);
  out.set_head(state.head);
  out.set_tail(state.tail);
  if (state.size_entries != 0) {
    out.set_depth((state.tail + state.size_entries - state.head) % state.size_entries);
  }
  out.set_submitted(state.submitted);
  out.set_waits(state.waits);
  out.set_errors(state.errors);
  return out;
}

v1::Device Describe(const DeviceView& view) {
  v1::Device out;
  out.set_name(HostName(NameKind::kDevice, view.spec.id));
  out.set_uid(absl::StrCat(view.uid));
  out.set_claimed_by(view.claimed_by);
  out.set_etag(view.etag);
  out.set_revision(view.revision);
  out.set_pci_address(view.spec.pci_address);
  out.set_iommu(HostName(NameKind::kIommu, view.spec.iommu));
  out.set_group(view.spec.group);
  for (const std::string& member : view.group_members) out.add_group_members(member);
  if (view.spec.numa_node.has_value()) out.set_numa_node(*view.spec.numa_node);
  out.set_untrusted(view.spec.untrusted);
  out.set_allow_identity(view.spec.allow_identity);
  out.set_pasid_bits(view.spec.pasid_bits);
  out.set_ats(view.spec.ats);
  out.set_pri(view.spec.pri);
  out.set_ownership(ToProto(view.ownership));
  out.set_domain(view.domain);
  out.set_attached(view.attached);
  out.set_default_domain(ToProto(view.default_domain));
  out.set_default_domain_fallback(view.default_domain_fallback);
  for (const DefaultDomainType type : view.default_domain_types) {
    out.add_default_domain_types(ToProto(type));
  }
  out.set_health(ToProto(view.health));
  out.set_health_reason(view.health_reason);
  out.set_health_cause(ToProto(view.health_cause));
  return out;
}

v1::Attachment Describe(const AttachmentView& view) {
  v1::Attachment out;
  out.set_device(view.device);
  out.set_domain(view.domain);
  if (view.pasid.has_value()) out.set_pasid(*view.pasid);
  out.set_owner(view.owner);
  if (view.create_time != absl::Time()) *out.mutable_create_time() = ToProto(view.create_time);
  out.set_revision(view.revision);
  if (view.msi_iova.has_value()) out.set_msi_iova(*view.msi_iova);
  return out;
}

v1::Pasid Describe(const PasidView& view) {
  v1::Pasid out;
  out.set_device(view.device);
  out.set_pasid(view.pasid);
  out.set_state(ToProto(view.state));
  out.set_domain(view.domain);
  out.set_owner(view.owner);
  out.set_label(view.label);
  out.set_revision(view.revision);
  return out;
}

v1::ReservedRegion Describe(const ReservedRegionView& view) {
  v1::ReservedRegion out;
  *out.mutable_range() = ToProto(view.region.range);
  out.set_type(ToProto(view.region.type));
  out.set_source(view.source);
  return out;
}

v1::AttachmentEffects Describe(const AttachmentEffects& effects) {
  v1::AttachmentEffects out;
  for (const ReservedRegionView& region : effects.regions_gained) {
    *out.add_reserved_regions_gained() = Describe(region);
  }
  for (const ReservedRegionView& region : effects.regions_lost) {
    *out.add_reserved_regions_lost() = Describe(region);
  }
  for (const std::string& sibling : effects.siblings_moved) out.add_siblings_moved(sibling);
  return out;
}

v1::HardwareInfo Describe(const HardwareView& view) {
  v1::HardwareInfo out;
  if (const auto* smmu = std::get_if<ArmSmmuV3Hardware>(&view.registers)) {
    out.set_type(v1::HARDWARE_TYPE_ARM_SMMU_V3);
    *out.mutable_arm_smmu_v3() = DescribeRegisters(*smmu);
  } else {
    out.set_type(v1::HARDWARE_TYPE_VTD);
    v1::VtdHardwareInfo& vtd = *out.mutable_vtd();
    vtd = DescribeRegisters(std::get<VtdHardware>(view.registers));
    vtd.set_nest_parent_refuses_read_only(view.nest_parent_refuses_read_only);
  }
  *out.mutable_capabilities() = DescribeCapabilities(view);
  return out;
}

v1::MemoryRegion Describe(const MemoryRegionView& view, const CallContext& caller) {
  v1::MemoryRegion out;
  DescribeObject(NameKind::kMemoryRegion, view.object, caller, &out);
  out.set_size_bytes(view.size_bytes);
  if (view.numa_node.has_value()) out.set_numa_node(*view.numa_node);
  out.set_mapping_count(view.mapping_count);
  out.set_read_only(view.read_only);
  out.set_state(StateToProto(view.suspended));
  out.set_state_reason(view.suspend_reason);
  return out;
}

v1::Domain Describe(const DomainView& view, const CallContext& caller) {
  v1::Domain out;
  DescribeObject(NameKind::kDomain, view.object, caller, &out);
  out.set_type(TypeOf(view.kind));
  for (const std::string& device : view.attached_devices) out.add_attached_devices(device);
  out.set_auto_(view.automatic);
  if (view.kind == DomainKind::kPaging) *out.mutable_paging() = DescribePaging(view);
  if (view.kind == DomainKind::kNested) *out.mutable_nested() = DescribeNested(view);
  if (view.kind == DomainKind::kSva) *out.mutable_sva() = DescribeSva(view);
  return out;
}

v1::Ioas Describe(const IoasView& view, const CallContext& caller) {
  v1::Ioas out;
  DescribeObject(NameKind::kIoas, view.object, caller, &out);
  out.set_mapping_count(view.mapping_count);
  out.set_mapped_bytes(view.mapped_bytes);
  out.set_mapping_revision(view.mapping_revision);
  out.set_alignment_bytes(view.alignment_bytes);
  for (const IovaRange& range : view.allowed_ranges) *out.add_allowed_ranges() = ToProto(range);
  for (const std::string& domain : view.domains) out.add_domains(domain);
  out.set_mode(ToProto(view.mode));
  out.set_large_pages(view.large_pages);
  out.set_suspended_mapping_count(view.suspended_mapping_count);
  for (const std::string& device : view.loaded_devices) out.add_loaded_devices(device);
  return out;
}

v1::Mapping Describe(const MappingView& view) {
  v1::Mapping out;
  out.set_iova(view.range.first);
  out.set_length(view.range.size_bytes());
  out.set_text(ToString(view.range));
  out.set_memory_region(view.memory_region);
  out.set_offset(view.offset_bytes);
  out.set_permission(ToProto(view.permission));
  out.set_state(StateToProto(view.suspended));
  return out;
}

v1::TranslateResponse Describe(const TranslationView& view) {
  v1::TranslateResponse out;
  out.set_memory_region(view.mapping.memory_region);
  out.set_offset(view.offset_bytes);
  out.set_permission(ToProto(view.mapping.permission));
  out.set_contiguous_bytes(view.contiguous_bytes);
  *out.mutable_mapping() = Describe(view.mapping);
  return out;
}

v1::DmaFault Describe(const DmaFault& fault) {
  v1::DmaFault out;
  out.set_code(fault.code);
  out.set_reason(fault.reason);
  out.set_description(fault.description);
  out.set_iova(fault.iova);
  out.set_iova_text(Hex(fault.iova));
  return out;
}

}  // namespace viommu
