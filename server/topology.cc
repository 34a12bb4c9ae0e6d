#include "server/topology.h"

#include <cctype>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "server/embedded_topology.h"
#include "viommu/config/v1/topology.pb.h"

namespace viommu {
namespace {

namespace pb = ::viommu::config::v1;

// Problems of the file itself, which can not be written as a Topology.
class Converter {
 public:
  Topology Convert(const pb::Topology& in) {
    Topology out;
    for (int i = 0; i < in.iommus_size(); ++i) {
      out.iommus.push_back(Iommu(in.iommus(i), absl::StrCat("iommus[", i, "]")));
    }
    for (int i = 0; i < in.devices_size(); ++i) {
      out.devices.push_back(Device(in.devices(i), absl::StrCat("devices[", i, "]")));
    }
    return out;
  }

  const std::vector<TopologyProblem>& problems() const { return problems_; }

 private:
  IommuSpec Iommu(const pb::Iommu& in, const std::string& path);
  static void VtdUnit(const pb::VtdUnit& vtd, IommuSpec* spec);
  static void SmmuV3Unit(const pb::SmmuV3Unit& smmu, IommuSpec* spec);
  DeviceSpec Device(const pb::Device& in, const std::string& path);
  ReservedRegion Region(const pb::ReservedRegion& in, const std::string& path);
  DefaultDomainType DefaultDomain(pb::DefaultDomainType in, const std::string& path);
  ReservedRegionType RegionType(pb::ReservedRegionType in, const std::string& path);

  void Report(const std::string& path, absl::string_view message) {
    problems_.push_back({path, std::string(message)});
  }

  std::vector<TopologyProblem> problems_;
};

// "ssss:bb:dd.f" in hex digits; the numbers' limits are Validate's business.
bool LooksLikePciAddress(absl::string_view id) {
  constexpr absl::string_view kForm = "xxxx:xx:xx.x";
  if (id.size() != kForm.size()) return false;
  for (size_t i = 0; i < id.size(); ++i) {
    const bool fits =
        kForm[i] == 'x' ? std::isxdigit(static_cast<unsigned char>(id[i])) != 0 : id[i] == kForm[i];
    if (!fits) return false;
  }
  return true;
}

IommuSpec Converter::Iommu(const pb::Iommu& in, const std::string& path) {
  IommuSpec out;
  out.id = in.id();
  if (in.has_numa_node()) out.numa_node = in.numa_node();
  if (in.has_smmu_v3()) {
    SmmuV3Unit(in.smmu_v3(), &out);
  } else if (in.has_vtd()) {
    VtdUnit(in.vtd(), &out);
  } else {
    Report(path, "no architecture; write `vtd {}` for Intel VT-d, `smmu_v3 {}` for Arm SMMUv3");
  }
  return out;
}

void Converter::VtdUnit(const pb::VtdUnit& vtd, IommuSpec* spec) {
  IommuSpec& out = *spec;
  if (vtd.has_host_address_width_bits()) {
    out.host_address_width_bits = vtd.host_address_width_bits();
  }
  if (vtd.has_levels_3()) out.levels_3 = vtd.levels_3();
  if (vtd.has_levels_4()) out.levels_4 = vtd.levels_4();
  if (vtd.has_levels_5()) out.levels_5 = vtd.levels_5();
  if (vtd.has_guest_address_width_bits()) {
    out.guest_address_width_bits = vtd.guest_address_width_bits();
  }
  if (vtd.has_leaf_2m()) out.leaf_2m = vtd.leaf_2m();
  if (vtd.has_leaf_1g()) out.leaf_1g = vtd.leaf_1g();
  if (vtd.has_snoop_control()) out.snoop_control = vtd.snoop_control();
  if (vtd.has_pass_through()) out.pass_through = vtd.pass_through();
  if (vtd.has_domain_id_bits()) out.domain_id_bits = vtd.domain_id_bits();
  if (vtd.has_pasid_bits()) out.pasid_bits = vtd.pasid_bits();
  if (vtd.has_device_tlb()) out.device_tlb = vtd.device_tlb();
  if (vtd.has_first_stage()) out.first_stage = vtd.first_stage();
  if (vtd.has_first_stage_levels_5()) out.first_stage_levels_5 = vtd.first_stage_levels_5();
  if (vtd.has_first_stage_leaf_1g()) out.first_stage_leaf_1g = vtd.first_stage_leaf_1g();
  if (vtd.has_nesting()) out.nesting = vtd.nesting();
  if (vtd.has_supervisor_requests()) out.supervisor_requests = vtd.supervisor_requests();
  if (vtd.has_extended_access()) out.extended_access = vtd.extended_access();
  if (vtd.has_dirty_tracking()) out.dirty_tracking = vtd.dirty_tracking();
  if (vtd.has_page_requests()) out.page_requests = vtd.page_requests();
  if (vtd.has_deferred_flush()) out.deferred_flush = vtd.deferred_flush();
}

void Converter::SmmuV3Unit(const pb::SmmuV3Unit& smmu, IommuSpec* spec) {
  spec->architecture = IommuArchitecture::kSmmuV3;
  SmmuV3Spec& out = spec->smmu_v3;
  if (smmu.has_oas_bits()) out.oas_bits = smmu.oas_bits();
  if (smmu.has_stage1()) out.stage1 = smmu.stage1();
  if (smmu.has_stage2()) out.stage2 = smmu.stage2();
  if (smmu.has_nesting()) out.nesting = smmu.nesting();
  if (smmu.has_stream_id_bits()) out.stream_id_bits = smmu.stream_id_bits();
  if (smmu.has_stream_id_base()) out.stream_id_base = smmu.stream_id_base();
  if (smmu.has_substream_id_bits()) out.substream_id_bits = smmu.substream_id_bits();
  if (smmu.has_asid_bits()) out.asid_bits = smmu.asid_bits();
  if (smmu.has_vmid_bits()) out.vmid_bits = smmu.vmid_bits();
  if (smmu.has_granule_4k()) out.granule_4k = smmu.granule_4k();
  if (smmu.has_granule_16k()) out.granule_16k = smmu.granule_16k();
  if (smmu.has_granule_64k()) out.granule_64k = smmu.granule_64k();
  if (smmu.has_two_level_stream_table()) {
    out.two_level_stream_table = smmu.two_level_stream_table();
  }
  if (smmu.has_two_level_cd()) out.two_level_cd = smmu.two_level_cd();
  if (smmu.has_ats()) out.ats = smmu.ats();
  if (smmu.has_pri()) out.pri = smmu.pri();
  if (smmu.has_stall()) out.stall = smmu.stall();
  if (smmu.has_range_invalidation()) out.range_invalidation = smmu.range_invalidation();
  if (smmu.has_s2fwb()) out.s2fwb = smmu.s2fwb();
  if (smmu.has_hardware_access()) out.hardware_access = smmu.hardware_access();
  if (smmu.has_hardware_dirty()) out.hardware_dirty = smmu.hardware_dirty();
  if (smmu.has_coherent()) out.coherent = smmu.coherent();
  if (smmu.has_deferred_flush()) spec->deferred_flush = smmu.deferred_flush();
}

DefaultDomainType Converter::DefaultDomain(pb::DefaultDomainType in, const std::string& path) {
  switch (in) {
    case pb::DEFAULT_DOMAIN_TYPE_UNSPECIFIED:
    case pb::DEFAULT_DOMAIN_TYPE_DMA:
      return DefaultDomainType::kDma;
    case pb::DEFAULT_DOMAIN_TYPE_IDENTITY:
      return DefaultDomainType::kIdentity;
    case pb::DEFAULT_DOMAIN_TYPE_DMA_FQ:
      return DefaultDomainType::kDmaFq;
    default:
      Report(path, absl::StrCat("unknown default domain type ", static_cast<int>(in)));
      return DefaultDomainType::kDma;
  }
}

ReservedRegionType Converter::RegionType(pb::ReservedRegionType in, const std::string& path) {
  switch (in) {
    case pb::RESERVED_REGION_TYPE_DIRECT:
      return ReservedRegionType::kDirect;
    case pb::RESERVED_REGION_TYPE_DIRECT_RELAXABLE:
      return ReservedRegionType::kDirectRelaxable;
    case pb::RESERVED_REGION_TYPE_RESERVED:
      return ReservedRegionType::kReserved;
    case pb::RESERVED_REGION_TYPE_MSI:
      return ReservedRegionType::kMsi;
    case pb::RESERVED_REGION_TYPE_SW_MSI:
      return ReservedRegionType::kSwMsi;
    case pb::RESERVED_REGION_TYPE_UNSPECIFIED:
      Report(path, "is required");
      return ReservedRegionType::kReserved;
    default:
      Report(path, absl::StrCat("unknown reserved region type ", static_cast<int>(in)));
      return ReservedRegionType::kReserved;
  }
}

ReservedRegion Converter::Region(const pb::ReservedRegion& in, const std::string& path) {
  return {{in.first(), in.last()}, RegionType(in.type(), path + ".type")};
}

DeviceSpec Converter::Device(const pb::Device& in, const std::string& path) {
  DeviceSpec out;
  out.id = in.id();
  if (in.has_pci_address()) {
    out.pci_address = in.pci_address();
  } else if (LooksLikePciAddress(in.id())) {
    out.pci_address = in.id();
  }
  out.iommu = in.iommu();
  out.group = in.has_group() ? in.group() : in.id();
  if (in.has_numa_node()) out.numa_node = in.numa_node();
  out.untrusted = in.untrusted();
  out.allow_identity = in.allow_identity();
  out.default_domain = DefaultDomain(in.default_domain(), path + ".default_domain");
  out.pasid_bits = in.pasid_bits();
  out.ats = in.ats();
  out.pri = in.pri();
  out.virtual_function = in.virtual_function();
  if (in.has_stream_id()) out.stream_id = in.stream_id();
  out.stall = in.stall();
  if (in.has_msi_doorbell()) out.msi_doorbell = PhysAddr{in.msi_doorbell()};
  for (int i = 0; i < in.reserved_regions_size(); ++i) {
    out.reserved_regions.push_back(
        Region(in.reserved_regions(i), absl::StrCat(path, ".reserved_regions[", i, "]")));
  }
  return out;
}

// A Topology is flatter than the file in one place and deeper in another: what belongs to VT-d is
// directly in IommuSpec, and a region has its addresses in a range.
std::string PathInFile(const std::string& path) {
  const size_t dot = path.find('.');
  if (absl::StartsWith(path, "iommus[") && dot != std::string::npos) {
    const std::string field = path.substr(dot + 1);
    if (pb::VtdUnit::descriptor()->FindFieldByName(field) != nullptr) {
      return absl::StrCat(path.substr(0, dot), ".vtd.", field);
    }
  }
  return absl::StrReplaceAll(path, {{"].range.", "]."}, {"].range", "]"}});
}

void Append(const TextFile& file, const std::vector<TopologyProblem>& found, Problems* problems) {
  for (const TopologyProblem& problem : found) {
    const std::string path = PathInFile(problem.path);
    problems->push_back(absl::StrCat(file.Where(path), ": ", path, ": ", problem.message));
  }
}

}  // namespace

Topology ParseTopology(absl::string_view name, absl::string_view text, Problems* problems) {
  TextFile file{std::string(name)};
  pb::Topology message;
  if (!file.Parse(text, &message, problems)) return {};
  Converter converter;
  Topology topology = converter.Convert(message);
  Append(file, converter.problems(), problems);
  Append(file, Validate(topology), problems);
  return topology;
}

Topology LoadTopology(const std::string& path, Problems* problems) {
  if (path.empty()) return ParseTopology(kEmbeddedTopologyName, EmbeddedTopology(), problems);
  const absl::StatusOr<std::string> text = ReadTextFile(path);
  if (!text.ok()) {
    problems->push_back(absl::StrCat("topology: ", text.status().message()));
    return {};
  }
  return ParseTopology(path, *text, problems);
}

}  // namespace viommu
