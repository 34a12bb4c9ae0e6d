#include "clients/viommuctl/columns.h"

#include <cstdint>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "clients/viommuctl/kinds.h"
#include "clients/viommuctl/values.h"
#include "google/protobuf/util/time_util.h"

namespace viommu {
namespace {

// "claimed" of DEVICE_OWNERSHIP_CLAIMED; empty of a value that is not given.
std::string Word(absl::string_view name, absl::string_view prefix) {
  absl::ConsumePrefix(&name, prefix);
  if (name == "UNSPECIFIED") return "";
  return absl::StrReplaceAll(absl::AsciiStrToLower(name), {{"_", "-"}});
}

std::string Word(v1::DeviceOwnership value) {
  return Word(v1::DeviceOwnership_Name(value), "DEVICE_OWNERSHIP_");
}
std::string Word(v1::DeviceHealth value) {
  return Word(v1::DeviceHealth_Name(value), "DEVICE_HEALTH_");
}
std::string Word(v1::DomainType value) { return Word(v1::DomainType_Name(value), "DOMAIN_TYPE_"); }
std::string Word(v1::DefaultDomainType value) {
  return Word(v1::DefaultDomainType_Name(value), "DEFAULT_DOMAIN_TYPE_");
}
std::string Word(v1::ReservedRegionType value) {
  return Word(v1::ReservedRegionType_Name(value), "RESERVED_REGION_TYPE_");
}

std::string Word(v1::IoasMode value) { return Word(v1::IoasMode_Name(value), "IOAS_MODE_"); }
std::string Word(v1::ObjectState value) {
  return Word(v1::ObjectState_Name(value), "OBJECT_STATE_");
}

std::string YesNo(bool value) { return value ? "yes" : "no"; }

template <typename Names>
std::string ShortNames(const Names& names) {
  return absl::StrJoin(names, ",", [](std::string* out, const std::string& name) {
    absl::StrAppend(out, ShortName(name));
  });
}

template <typename Bytes>
std::string Sizes(const Bytes& sizes) {
  return absl::StrJoin(
      sizes, ",", [](std::string* out, uint64_t size) { absl::StrAppend(out, FormatSize(size)); });
}

// Of an IOMMU or of a device.
template <typename Object>
std::string DefaultDomains(const Object& object) {
  return absl::StrJoin(object.default_domain_types(), ",", [](std::string* out, int type) {
    absl::StrAppend(out, Word(static_cast<v1::DefaultDomainType>(type)));
  });
}

template <typename Object>
std::string NumaNode(const Object& object) {
  return object.has_numa_node() ? absl::StrCat(object.numa_node()) : "";
}

std::string Range(const v1::IovaRange& range) { return FormatRange(range.first(), range.last()); }

template <typename Object>
std::string CreateTime(const Object& object) {
  if (!object.has_create_time()) return "";
  return google::protobuf::util::TimeUtil::ToString(object.create_time());
}

// Collects the fields that have something to say.
class Fields {
 public:
  Fields& Add(absl::string_view name, std::string value) {
    if (!value.empty()) table_.Add({absl::StrCat(name, ":"), std::move(value)});
    return *this;
  }

  // What every object that somebody made has.
  template <typename Object>
  Fields& AddIdentity(const Object& object) {
    return Add("name", object.name())
        .Add("uid", object.uid())
        .Add("owner", object.owner())
        .Add("created", CreateTime(object))
        .Add("etag", object.etag())
        .Add("revision", absl::StrCat(object.revision()));
  }

  Table Take() { return std::move(table_); }

 private:
  Table table_;
};

}  // namespace

Table::Cells Headings(const v1::MemoryRegion&) {
  return {"REGION", "SIZE", "NUMA", "MAPPINGS", "OWNER"};
}
Table::Cells Cells(const v1::MemoryRegion& region) {
  return {ShortName(region.name()), FormatSize(region.size_bytes()), NumaNode(region),
          absl::StrCat(region.mapping_count()), region.owner()};
}
Table FieldsOf(const v1::MemoryRegion& region) {
  return Fields()
      .AddIdentity(region)
      .Add("size", FormatSize(region.size_bytes()))
      .Add("NUMA node", NumaNode(region))
      .Add("mappings", absl::StrCat(region.mapping_count()))
      .Add("read only", YesNo(region.read_only()))
      .Add("state", Word(region.state()))
      .Add("reason", region.state_reason())
      .Take();
}

Table::Cells Headings(const v1::Ioas&) {
  return {"IOAS", "MAPPINGS", "MAPPED", "ALIGNMENT", "DOMAINS", "OWNER"};
}
Table::Cells Cells(const v1::Ioas& ioas) {
  return {ShortName(ioas.name()),          absl::StrCat(ioas.mapping_count()),
          FormatSize(ioas.mapped_bytes()), FormatSize(ioas.alignment_bytes()),
          ShortNames(ioas.domains()),      ioas.owner()};
}
Table FieldsOf(const v1::Ioas& ioas) {
  return Fields()
      .AddIdentity(ioas)
      .Add("mappings", absl::StrCat(ioas.mapping_count()))
      .Add("mapped", FormatSize(ioas.mapped_bytes()))
      .Add("mapping revision", absl::StrCat(ioas.mapping_revision()))
      .Add("not in force", absl::StrCat(ioas.suspended_mapping_count()))
      .Add("alignment", FormatSize(ioas.alignment_bytes()))
      .Add("mode", Word(ioas.mode()))
      .Add("large pages", YesNo(ioas.large_pages()))
      .Add("loaded regions", ShortNames(ioas.loaded_devices()))
      .Take();
}

namespace {
// "none", "off", "on".
std::string Tracking(const v1::PagingDomain& paging) {
  if (!paging.dirty_tracking()) return "none";
  return paging.dirty_tracking_enabled() ? "on" : "off";
}
}  // namespace

Table::Cells Headings(const v1::Domain&) {
  return {"DOMAIN", "TYPE", "IOAS", "PARENT", "FORMAT", "LEVELS", "DEVICES", "OWNER"};
}
Table::Cells Cells(const v1::Domain& domain) {
  const v1::PagingDomain& paging = domain.paging();
  const v1::NestedDomain& nested = domain.nested();
  return {ShortName(domain.name()),
          Word(domain.type()),
          ShortName(domain.has_nested() ? nested.ioas() : paging.ioas()),
          ShortName(nested.parent()),
          domain.has_nested() ? nested.format() : paging.format(),
          domain.has_paging() ? absl::StrCat(paging.levels()) : "",
          ShortNames(domain.attached_devices()),
          domain.owner()};
}
Table FieldsOf(const v1::Domain& domain) {
  Fields fields;
  fields.AddIdentity(domain).Add("type", Word(domain.type()));
  if (domain.has_paging()) {
    const v1::PagingDomain& paging = domain.paging();
    fields.Add("auto", domain.auto_() ? "goes with its last attachment" : "")
        .Add("ioas", ShortName(paging.ioas()))
        .Add("made for", ShortName(paging.device()))
        .Add("format", paging.format())
        .Add("levels", absl::StrCat(paging.levels()))
        .Add("aperture", Range(paging.aperture()))
        .Add("page sizes", Sizes(paging.page_sizes_bytes()))
        .Add("enforces snooping", YesNo(paging.enforces_cache_coherency()))
        .Add("nest parent", YesNo(paging.nest_parent()))
        .Add("nested on it", ShortNames(paging.children()))
        .Add("for PASIDs", YesNo(paging.pasid()))
        .Add("dirty tracking", Tracking(paging))
        .Add("fault queue", ShortName(paging.fault_queue()))
        .Add("read-only mappings", YesNo(paging.supports_read_only()))
        .Add("write-only mappings", YesNo(paging.supports_write_only()));
  }
  if (domain.has_nested()) {
    const v1::NestedDomain& nested = domain.nested();
    fields.Add("parent", ShortName(nested.parent()))
        .Add("ioas", ShortName(nested.ioas()))
        .Add("made for", ShortName(nested.device()))
        .Add("for PASIDs", YesNo(nested.pasid()))
        .Add("format", nested.format())
        .Add("guest's table", FormatAddress(nested.vtd().table_address()))
        .Add("guest's address bits", absl::StrCat(nested.vtd().address_width_bits()))
        .Add("supervisor requests", YesNo(nested.vtd().supervisor_requests()))
        .Add("write protect", YesNo(nested.vtd().write_protect()))
        .Add("extended accessed", YesNo(nested.vtd().extended_accessed()));
  }
  return fields.Take();
}

Table::Cells Headings(const v1::FaultQueue&) {
  return {"FAULT-QUEUE", "DEPTH", "WAITING", "LOST", "STREAMED", "DOMAINS", "OWNER"};
}
Table::Cells Cells(const v1::FaultQueue& queue) {
  return {ShortName(queue.name()),
          absl::StrCat(queue.depth()),
          absl::StrCat(queue.waiting_groups()),
          absl::StrCat(queue.lost_groups()),
          YesNo(queue.streamed()),
          ShortNames(queue.domains()),
          queue.owner()};
}

std::string PagesOf(const v1::Fault& fault) {
  return absl::StrJoin(fault.pages(), ", ", [](std::string* out, const v1::FaultedPage& page) {
    absl::StrAppend(out, FormatAddress(page.iova()), " ", page.read() ? "r" : "",
                    page.write() ? "w" : "", page.execute() ? "x" : "",
                    page.privileged() ? " privileged" : "");
  });
}

Table::Cells Headings(const v1::Fault&) {
  return {"COOKIE", "DEVICE", "PASID", "GROUP", "DOMAIN", "PAGES"};
}
Table::Cells Cells(const v1::Fault& fault) {
  return {absl::StrCat(fault.cookie()),
          ShortName(fault.device()),
          fault.has_pasid() ? absl::StrCat(fault.pasid()) : "",
          absl::StrCat(fault.group()),
          ShortName(fault.domain()),
          PagesOf(fault)};
}

Table::Cells Headings(const v1::PageResponse&) { return {"PASID", "GROUP", "TOLD"}; }
Table::Cells Cells(const v1::PageResponse& response) {
  return {response.has_pasid() ? absl::StrCat(response.pasid()) : "",
          absl::StrCat(response.group()),
          Word(v1::PageResponseCode_Name(response.code()), "PAGE_RESPONSE_CODE_")};
}

Table::Cells Headings(const v1::Device&) {
  return {"DEVICE", "IOMMU", "GROUP", "OWNERSHIP", "CLAIMED-BY", "DOMAIN", "DEFAULT", "HEALTH"};
}
Table::Cells Cells(const v1::Device& device) {
  return {ShortName(device.name()),      ShortName(device.iommu()), device.group(),
          Word(device.ownership()),      device.claimed_by(),       ShortName(device.domain()),
          Word(device.default_domain()), Word(device.health())};
}
Table FieldsOf(const v1::Device& device) {
  return Fields()
      .Add("name", device.name())
      .Add("uid", device.uid())
      .Add("etag", device.etag())
      .Add("revision", absl::StrCat(device.revision()))
      .Add("PCI address", device.pci_address())
      .Add("IOMMU", ShortName(device.iommu()))
      .Add("group", device.group())
      .Add("others in group", ShortNames(device.group_members()))
      .Add("NUMA node", NumaNode(device))
      .Add("untrusted", YesNo(device.untrusted()))
      .Add("allow identity", YesNo(device.allow_identity()))
      .Add("PASID bits", absl::StrCat(device.pasid_bits()))
      .Add("ATS", YesNo(device.ats()))
      .Add("PRI", YesNo(device.pri()))
      .Add("ownership", Word(device.ownership()))
      .Add("claimed by", device.claimed_by())
      .Add("domain", ShortName(device.domain()))
      .Add("attached", YesNo(device.attached()))
      .Add("default domain", Word(device.default_domain()))
      .Add("default fallback", device.default_domain_fallback())
      .Add("default domains", DefaultDomains(device))
      .Add("health", Word(device.health()))
      .Add("health reason", device.health_reason())
      .Take();
}

Table::Cells Headings(const v1::Iommu&) {
  return {"IOMMU", "NUMA", "DEVICES", "DEFAULT-DOMAINS", "LEVELS", "PAGES", "DOMAIN-IDS"};
}
Table::Cells Cells(const v1::Iommu& iommu) {
  if (iommu.has_smmu_v3()) {
    const v1::SmmuV3Iommu& smmu = iommu.smmu_v3();
    return {ShortName(iommu.name()),
            NumaNode(iommu),
            absl::StrCat(iommu.devices_size()),
            DefaultDomains(iommu),
            "",
            Sizes(smmu.granules_bytes()),
            absl::StrCat(uint64_t{1} << smmu.asid_bits())};
  }
  return {ShortName(iommu.name()),
          NumaNode(iommu),
          absl::StrCat(iommu.devices_size()),
          DefaultDomains(iommu),
          absl::StrJoin(iommu.vtd().second_stage_levels(), ","),
          Sizes(iommu.vtd().page_sizes_bytes()),
          absl::StrCat(uint64_t{1} << iommu.vtd().domain_id_bits())};
}
void AddSmmu(const v1::SmmuV3Iommu& smmu, Fields* fields) {
  fields->Add("architecture", "Arm SMMUv3")
      .Add("physical address bits", absl::StrCat(smmu.oas_bits()))
      .Add("first stage", YesNo(smmu.stage1()))
      .Add("second stage", YesNo(smmu.stage2()))
      .Add("nesting", YesNo(smmu.nesting()))
      .Add("granules", Sizes(smmu.granules_bytes()))
      .Add("StreamID bits", absl::StrCat(smmu.stream_id_bits()))
      .Add("PASID bits", absl::StrCat(smmu.substream_id_bits()))
      .Add("ASID bits", absl::StrCat(smmu.asid_bits()))
      .Add("VMID bits", absl::StrCat(smmu.vmid_bits()))
      .Add("ATS", YesNo(smmu.ats()))
      .Add("page requests", YesNo(smmu.pri()))
      .Add("stalls", YesNo(smmu.stall()))
      .Add("range invalidation", YesNo(smmu.range_invalidation()))
      .Add("hardware access flags", YesNo(smmu.hardware_access()))
      .Add("hardware dirty state", YesNo(smmu.hardware_dirty()));
}
Table FieldsOf(const v1::Iommu& iommu) {
  Fields fields;
  fields.Add("name", iommu.name())
      .Add("NUMA node", NumaNode(iommu))
      .Add("default domains", DefaultDomains(iommu));
  if (iommu.has_vtd()) {
    const v1::VtdIommu& vtd = iommu.vtd();
    fields.Add("architecture", "Intel VT-d, scalable mode")
        .Add("host address bits", absl::StrCat(vtd.host_address_width_bits()))
        .Add("guest address bits", absl::StrCat(vtd.guest_address_width_bits()))
        .Add("second-stage levels", absl::StrJoin(vtd.second_stage_levels(), ","))
        .Add("page sizes", Sizes(vtd.page_sizes_bytes()))
        .Add("snoop control", YesNo(vtd.snoop_control()))
        .Add("pass-through", YesNo(vtd.pass_through()))
        .Add("domain id bits", absl::StrCat(vtd.domain_id_bits()))
        .Add("PASID bits", absl::StrCat(vtd.pasid_bits()));
  }
  if (iommu.has_smmu_v3()) AddSmmu(iommu.smmu_v3(), &fields);
  return fields.Take();
}

Table::Cells Headings(const v1::InvalidationQueue&) {
  return {"QUEUE", "SIZE", "HEAD", "TAIL", "DEPTH", "SUBMITTED", "WAITS", "ERRORS"};
}
Table::Cells Cells(const v1::InvalidationQueue& queue) {
  return {ShortName(queue.name()),     absl::StrCat(queue.size_entries()),
          absl::StrCat(queue.head()),  absl::StrCat(queue.tail()),
          absl::StrCat(queue.depth()), absl::StrCat(queue.submitted()),
          absl::StrCat(queue.waits()), absl::StrCat(queue.errors())};
}
Table FieldsOf(const v1::InvalidationQueue& queue) {
  return Fields()
      .Add("name", queue.name())
      .Add("ring", absl::StrCat(queue.size_entries(), " descriptors"))
      .Add("head", absl::StrCat(queue.head()))
      .Add("tail", absl::StrCat(queue.tail()))
      .Add("depth", absl::StrCat(queue.depth()))
      .Add("submitted", absl::StrCat(queue.submitted()))
      .Add("waits", absl::StrCat(queue.waits()))
      .Add("errors", absl::StrCat(queue.errors()))
      .Take();
}

Table::Cells Headings(const v1::Attachment&) {
  return {"DEVICE", "PASID", "DOMAIN", "OWNER", "SINCE", "MSI AT"};
}
Table::Cells Cells(const v1::Attachment& attachment) {
  return {ShortName(attachment.device()),
          attachment.has_pasid() ? absl::StrCat(attachment.pasid()) : "",
          ShortName(attachment.domain()),
          attachment.owner(),
          CreateTime(attachment),
          attachment.has_msi_iova() ? FormatAddress(attachment.msi_iova()) : ""};
}

Table::Cells Headings(const v1::Pasid&) {
  return {"DEVICE", "PASID", "STATE", "DOMAIN", "OWNER", "LABEL"};
}
Table::Cells Cells(const v1::Pasid& pasid) {
  return {ShortName(pasid.device()),
          absl::StrCat(pasid.pasid()),
          Word(v1::PasidState_Name(pasid.state()), "PASID_STATE_"),
          ShortName(pasid.domain()),
          pasid.owner(),
          pasid.label()};
}

Table::Cells Headings(const v1::Mapping&) { return {"IOVA", "SIZE", "REGION", "OFFSET", "PERM"}; }
Table::Cells Cells(const v1::Mapping& mapping) {
  return {FormatRange(mapping.iova(), mapping.iova() + (mapping.length() - 1)),
          FormatSize(mapping.length()), ShortName(mapping.memory_region()),
          FormatAddress(mapping.offset()),
          absl::StrCat(FormatPermission(mapping.permission()),
                       mapping.state() == v1::OBJECT_STATE_SUSPENDED ? ", suspended" : "")};
}

Table::Cells Headings(const v1::IovaRange&) { return {"FIRST", "LAST", "SIZE"}; }
Table::Cells Cells(const v1::IovaRange& range) {
  // The size of the whole address space does not fit in 64 bits.
  const uint64_t size = range.last() - range.first() + 1;
  return {FormatAddress(range.first()), FormatAddress(range.last()),
          size == 0 ? "16777216T" : FormatSize(size)};
}

Table::Cells Headings(const v1::ReservedRegion&) { return {"RANGE", "TYPE", "SOURCE"}; }
Table::Cells Cells(const v1::ReservedRegion& region) {
  return {Range(region.range()), Word(region.type()), ShortName(region.source())};
}

Table::Cells Headings(const v1::TableEntry&) { return {"TABLE", "ADDRESS", "WORDS", "DECODED"}; }
Table::Cells Cells(const v1::TableEntry& entry) {
  return {entry.table(), FormatAddress(entry.physical_address()),
          absl::StrJoin(
              entry.words(), " ",
              [](std::string* out, uint64_t word) { absl::StrAppend(out, FormatAddress(word)); }),
          entry.decoded()};
}

Table FieldsOf(const v1::Host& host) {
  const v1::Limits& limits = host.limits();
  return Fields()
      .Add("version", host.version())
      .Add("backend", host.backend())
      .Add("boot id", host.boot_id())
      .Add("revision", absl::StrCat(host.revision()))
      .Add("started", google::protobuf::util::TimeUtil::ToString(host.start_time()))
      .Add("largest region", FormatSize(limits.max_region_bytes()))
      .Add("pages of a bitmap", absl::StrCat(limits.max_bitmap_pages()))
      .Add("largest access", FormatSize(limits.max_access_bytes()))
      .Add("largest message", FormatSize(limits.max_message_bytes()))
      .Add("batch entries", absl::StrCat(limits.max_batch_entries()))
      .Add("batches in flight", absl::StrCat(limits.max_in_flight_batches()))
      .Add("allowed ranges", absl::StrCat(limits.max_allowed_ranges()))
      .Add("remembered requests", absl::StrCat(limits.remembered_requests()))
      .Add("flush queue entries", absl::StrCat(host.flush_queue().ring_entries()))
      .Add("flush queue time-out", absl::StrCat(host.flush_queue().timeout_ms(), " ms"))
      .Take();
}

}  // namespace viommu
