#include "engine/backend/topology.h"

#include <algorithm>
#include <initializer_list>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace viommu {
namespace {

constexpr size_t kMaxIdBytes = 63;
constexpr uint64_t kPageBytes = 4096;
constexpr int kMaxLinearStreamTableBits = 16;  // 4 MiB of entries.
constexpr int kMaxLinearCdBits = 10;           // 64 KiB of descriptors (the kernel's limit).
constexpr IovaRange kInterruptWindow{0xfee00000,
                                     0xfeefffff};  // No memory answers there (VT-d 3.14).

// [a-z0-9]([a-z0-9:._-]{0,61}[a-z0-9])?
bool IsId(const std::string& text) {
  const auto is_end = [](char c) { return absl::ascii_islower(c) || absl::ascii_isdigit(c); };
  if (text.empty() || text.size() > kMaxIdBytes || !is_end(text.front()) || !is_end(text.back())) {
    return false;
  }
  for (const char c : text) {
    if (!is_end(c) && c != ':' && c != '.' && c != '_' && c != '-') return false;
  }
  return true;
}

// The value of `digits` hexadecimal digits at `position`; -1 when one is none.
int HexAt(const std::string& text, size_t position, size_t digits) {
  int value = 0;
  for (const char c : text.substr(position, digits)) {
    if (!absl::ascii_isxdigit(c)) return -1;
    value = value * 16 + (absl::ascii_isdigit(c) ? c - '0' : absl::ascii_tolower(c) - 'a' + 10);
  }
  return value;
}

// Collects the problems of one topology.
class Validator {
 public:
  explicit Validator(const Topology& topology) : topology_(topology) {}

  std::vector<TopologyProblem> Run() {
    for (size_t i = 0; i < topology_.iommus.size(); ++i) {
      CheckIommu(absl::StrCat("iommus[", i, "]"), topology_.iommus[i]);
    }
    for (size_t i = 0; i < topology_.devices.size(); ++i) {
      CheckDevice(absl::StrCat("devices[", i, "]"), topology_.devices[i]);
    }
    return std::move(problems_);
  }

 private:
  void Add(const std::string& path, std::string message) {
    problems_.push_back({path, std::move(message)});
  }

  void CheckId(const std::string& path, const std::string& id) {
    if (!IsId(id)) Add(path, absl::StrCat("\"", id, "\" is not a valid id"));
  }

  void CheckRange(const std::string& path, int value, int least, int most) {
    if (value >= least && value <= most) return;
    Add(path, absl::StrCat(value, " is not in ", least, "..", most));
  }

  void CheckOneOf(const std::string& path, int value, std::initializer_list<int> allowed) {
    if (std::find(allowed.begin(), allowed.end(), value) != allowed.end()) return;
    Add(path, absl::StrCat(value, " is none of ", absl::StrJoin(allowed, ", ")));
  }

  void CheckIommu(const std::string& path, const IommuSpec& spec) {
    CheckId(path + ".id", spec.id);
    if (!iommus_.emplace(spec.id, &spec).second) {
      Add(path + ".id", absl::StrCat("\"", spec.id, "\" is used twice"));
    }
    if (spec.architecture == IommuArchitecture::kSmmuV3) {
      CheckSmmu(path + ".smmu_v3", spec.smmu_v3);
    } else {
      CheckVtd(path, spec);
    }
  }

  void CheckVtd(const std::string& path, const IommuSpec& spec) {
    CheckRange(path + ".host_address_width_bits", spec.host_address_width_bits, 32, 52);
    CheckRange(path + ".guest_address_width_bits", spec.guest_address_width_bits, 39, 57);
    CheckRange(path + ".domain_id_bits", spec.domain_id_bits, 4, 16);
    if (spec.domain_id_bits % 2 != 0) {
      Add(path + ".domain_id_bits", absl::StrCat(spec.domain_id_bits, " is odd"));
    }
    CheckRange(path + ".pasid_bits", spec.pasid_bits, 1, 20);
    if (!spec.levels_3 && !spec.levels_4 && !spec.levels_5) {
      Add(path + ".levels_4", "the unit walks no table: one of levels_3, _4, _5 must be true");
    }
    if (spec.guest_address_width_bits > 48 && !spec.levels_5) {
      Add(path + ".guest_address_width_bits",
          absl::StrCat(spec.guest_address_width_bits, " bits need levels_5"));
    }
    if (spec.page_requests && !spec.device_tlb) Add(path + ".page_requests", "needs device_tlb");
    CheckFirstStage(path, spec);
  }

  void CheckFirstStage(const std::string& path, const IommuSpec& spec) {
    const struct {
      const char* field;
      bool wanted;
    } kNeedIt[] = {{".first_stage_levels_5", spec.first_stage_levels_5},
                   {".first_stage_leaf_1g", spec.first_stage_leaf_1g},
                   {".nesting", spec.nesting},
                   {".supervisor_requests", spec.supervisor_requests},
                   {".extended_access", spec.extended_access}};
    for (const auto& part : kNeedIt) {
      if (part.wanted && !spec.first_stage) Add(path + part.field, "needs first_stage");
    }
  }

  void CheckSmmu(const std::string& path, const SmmuV3Spec& spec) {
    CheckOneOf(path + ".oas_bits", spec.oas_bits, {32, 36, 40, 42, 44, 48});
    CheckOneOf(path + ".asid_bits", spec.asid_bits, {8, 16});
    CheckOneOf(path + ".vmid_bits", spec.vmid_bits, {8, 16});
    CheckRange(path + ".stream_id_bits", spec.stream_id_bits, 8, 32);
    CheckRange(path + ".substream_id_bits", spec.substream_id_bits, 0, 20);
    if (!spec.stage1 && !spec.stage2) {
      Add(path + ".stage1", "the unit walks no table: stage1 or stage2 must be true");
    }
    if (!spec.granule_4k && !spec.granule_16k && !spec.granule_64k) {
      Add(path + ".granule_4k", "the unit knows no page size: one granule must be true");
    }
    CheckSmmuNeeds(path, spec);
  }

  // What builds on another feature of the unit.
  void CheckSmmuNeeds(const std::string& path, const SmmuV3Spec& spec) {
    const struct {
      const char* field;
      bool wanted;
      bool given;
      const char* needs;
    } kNeeds[] = {
        {".nesting", spec.nesting, spec.stage1 && spec.stage2, "stage1 and stage2"},
        {".substream_id_bits", spec.substream_id_bits > 0, spec.stage1, "stage1"},
        {".stream_id_bits", spec.stream_id_bits > kMaxLinearStreamTableBits,
         spec.two_level_stream_table, "two_level_stream_table"},
        {".pri", spec.pri, spec.ats, "ats"},
        {".s2fwb", spec.s2fwb, spec.stage2, "stage2"},
        {".hardware_dirty", spec.hardware_dirty, spec.hardware_access, "hardware_access"},
    };
    for (const auto& need : kNeeds) {
      if (need.wanted && !need.given) Add(path + need.field, absl::StrCat("needs ", need.needs));
    }
  }

  void CheckDevice(const std::string& path, const DeviceSpec& spec) {
    CheckId(path + ".id", spec.id);
    if (!device_ids_.insert(spec.id).second) {
      Add(path + ".id", absl::StrCat("\"", spec.id, "\" is used twice"));
    }
    CheckId(path + ".group", spec.group);
    CheckPlace(path, spec);
    CheckDefaultDomain(path, spec);
    CheckRange(path + ".pasid_bits", spec.pasid_bits, 0, 20);
    for (size_t i = 0; i < spec.reserved_regions.size(); ++i) {
      const IovaRange& range = spec.reserved_regions[i].range;
      if (range.first <= range.last) continue;
      Add(absl::StrCat(path, ".reserved_regions[", i, "].range"),
          absl::StrCat(ToString(range), " ends before it begins"));
    }
    if (spec.msi_doorbell.has_value()) {
      CheckDoorbellPage(path + ".msi_doorbell", spec.msi_doorbell->value);
      CheckDoorbellWindow(path, spec);
    }
  }

  void CheckDoorbellPage(const std::string& path, uint64_t address) {
    if (!IsAligned(address, kPageBytes)) {
      return Add(path, absl::StrCat(Hex(address), " is not a multiple of 4096"));
    }
    for (const IommuSpec& unit : topology_.iommus) {
      const int bits = PhysicalAddressBits(unit);
      if (bits > 63 || address >> bits == 0) continue;
      return Add(path, absl::StrCat(Hex(address), " is wider than the ", bits,
                                    " address bits of iommu \"", unit.id, "\""));
    }
    const IovaRange page{address, address + (kPageBytes - 1)};
    if (page.Overlaps(kInterruptWindow)) {
      return Add(path, absl::StrCat(Hex(address), " is in the interrupt window ",
                                    ToString(kInterruptWindow)));
    }
    for (const DeviceSpec& device : topology_.devices) CheckClearOfDirect(path, page, device);
  }

  void CheckClearOfDirect(const std::string& path, const IovaRange& page,
                          const DeviceSpec& device) {
    for (const ReservedRegion& region : device.reserved_regions) {
      if (region.type != ReservedRegionType::kDirect &&
          region.type != ReservedRegionType::kDirectRelaxable) {
        continue;
      }
      // Memory is there in whole pages.
      const IovaRange pages{region.range.first & ~(kPageBytes - 1),
                            region.range.last | (kPageBytes - 1)};
      if (!pages.Overlaps(page)) continue;
      Add(path, absl::StrCat(Hex(page.first), " is in the DIRECT region ", ToString(region.range),
                             " of \"", device.id, "\""));
    }
  }

  void CheckDoorbellWindow(const std::string& path, const DeviceSpec& spec) {
    int windows = 0;
    for (size_t i = 0; i < spec.reserved_regions.size(); ++i) {
      const ReservedRegion& region = spec.reserved_regions[i];
      if (region.type == ReservedRegionType::kMsi) {
        Add(path + ".msi_doorbell", "the device has an MSI region, and interrupts are not mapped");
      }
      if (region.type != ReservedRegionType::kSwMsi) continue;
      ++windows;
      if (IsAligned(region.range.first, kPageBytes) &&
          IsAligned(region.range.size_bytes(), kPageBytes)) {
        continue;
      }
      Add(absl::StrCat(path, ".reserved_regions[", i, "].range"),
          absl::StrCat(ToString(region.range),
                       " is not whole pages, in which doorbells are mapped"));
    }
    if (windows == 1) return;
    Add(path + ".msi_doorbell",
        absl::StrCat("needs one SW_MSI region of the device; there are ", windows));
  }

  void CheckPlace(const std::string& path, const DeviceSpec& spec) {
    if (iommus_.count(spec.iommu) == 0) {
      Add(path + ".iommu", absl::StrCat("there is no iommu \"", spec.iommu, "\""));
    }
    const auto group = group_iommus_.emplace(spec.group, spec.iommu).first;
    if (group->second != spec.iommu) {
      Add(path + ".iommu", absl::StrCat("another member of group \"", spec.group, "\" is behind \"",
                                        group->second, "\""));
    }
    CheckPciAddress(path, spec);
    const auto iommu = iommus_.find(spec.iommu);
    if (iommu != iommus_.end()) CheckStream(path, spec, *iommu->second);
  }

  void CheckPciAddress(const std::string& path, const DeviceSpec& spec) {
    if (spec.pci_address.empty()) return;
    const auto pci = ParsePciAddress(spec.pci_address);
    if (!pci.has_value()) {
      Add(path + ".pci_address", absl::StrCat("\"", spec.pci_address, "\" is not ssss:bb:dd.f"));
    } else if (!source_ids_.insert({spec.iommu, pci->source_id()}).second) {
      // The segment does not count: a unit serves one, and sees bus, device and function.
      Add(path + ".pci_address",
          absl::StrCat(spec.pci_address, " is used twice behind \"", spec.iommu, "\""));
    }
  }

  void CheckStream(const std::string& path, const DeviceSpec& spec, const IommuSpec& unit) {
    const std::string field = path + ".stream_id";
    const bool smmu = unit.architecture == IommuArchitecture::kSmmuV3;
    const bool pci = !spec.pci_address.empty();
    if (spec.virtual_function && !pci) Add(path + ".virtual_function", "needs a PCI address");
    if (spec.stall && (!smmu || !unit.smmu_v3.stall)) {
      Add(path + ".stall", absl::StrCat("iommu \"", unit.id, "\" lets no request wait"));
    }
    if (spec.stall && pci) Add(path + ".stall", "requests of PCI functions do not wait");
    if (!smmu && spec.stream_id.has_value()) {
      return Add(field, absl::StrCat("iommu \"", unit.id, "\" is no SMMUv3"));
    }
    if (!smmu) return;
    if (pci && spec.stream_id.has_value()) {
      return Add(field, "a PCI function's is its source id plus stream_id_base");
    }
    if (!pci && !spec.stream_id.has_value()) {
      return Add(field, "is required of a platform device behind an SMMUv3");
    }
    if (pci && !ParsePciAddress(spec.pci_address).has_value()) return;  // Reported.
    CheckStreamId(pci ? path + ".pci_address" : field, spec, unit);
  }

  void CheckStreamId(const std::string& path, const DeviceSpec& spec, const IommuSpec& unit) {
    const auto id = StreamIdOf(unit, spec);
    const int bits = std::min(unit.smmu_v3.stream_id_bits, kMaxStreamTableBits);
    if (!id.has_value() || uint64_t{*id} >> bits != 0) {
      return Add(path, absl::StrCat("its StreamID is wider than the ", bits, " bits of iommu \"",
                                    unit.id, "\""));
    }
    const auto [other, is_new] =
        stream_ids_.emplace(std::make_pair(spec.iommu, *id), spec.pci_address);
    // Two functions of one address are reported as such.
    if (is_new || (!spec.pci_address.empty() && !other->second.empty())) return;
    Add(path, absl::StrCat("StreamID ", *id, " is used twice behind \"", spec.iommu, "\""));
  }

  void CheckDefaultDomain(const std::string& path, const DeviceSpec& spec) {
    const std::string field = path + ".default_domain";
    if (spec.default_domain != DefaultDomainType::kIdentity) return;
    if (!spec.allow_identity) Add(field, "IDENTITY needs allow_identity");
    if (spec.untrusted) Add(field, "an untrusted device is never on IDENTITY");
    const auto iommu = iommus_.find(spec.iommu);
    if (iommu != iommus_.end() && !HasPassThrough(*iommu->second)) {
      Add(field, absl::StrCat("iommu \"", spec.iommu, "\" cannot pass addresses through"));
    }
  }

  const Topology& topology_;
  std::vector<TopologyProblem> problems_;
  std::map<std::string, const IommuSpec*> iommus_;
  std::set<std::string> device_ids_;
  std::map<std::string, std::string> group_iommus_;  // The iommu of a group's first member.
  std::set<std::pair<std::string, uint16_t>> source_ids_;
  // By unit and StreamID: the PCI address of who has it first.
  std::map<std::pair<std::string, uint32_t>, std::string> stream_ids_;
};

bool IsSmmu(const IommuSpec& unit) { return unit.architecture == IommuArchitecture::kSmmuV3; }

}  // namespace

int PhysicalAddressBits(const IommuSpec& unit) {
  return IsSmmu(unit) ? unit.smmu_v3.oas_bits : unit.host_address_width_bits;
}

int PasidBits(const IommuSpec& unit) {
  if (!IsSmmu(unit)) return unit.pasid_bits;
  const int bits = unit.smmu_v3.substream_id_bits;
  return unit.smmu_v3.two_level_cd ? bits : std::min(bits, kMaxLinearCdBits);
}

bool HasFirstStage(const IommuSpec& unit) {
  return IsSmmu(unit) ? unit.smmu_v3.stage1 : unit.first_stage;
}

bool HasNesting(const IommuSpec& unit) {
  return IsSmmu(unit) ? unit.smmu_v3.nesting : unit.nesting;
}

bool ServesDeviceTlbs(const IommuSpec& unit) {
  return IsSmmu(unit) ? unit.smmu_v3.ats : unit.device_tlb;
}

bool HasPassThrough(const IommuSpec& unit) { return IsSmmu(unit) || unit.pass_through; }

bool HasDirtyTracking(const IommuSpec& unit) {
  return IsSmmu(unit) ? unit.smmu_v3.stage1 && unit.smmu_v3.hardware_dirty : unit.dirty_tracking;
}

std::optional<uint32_t> StreamIdOf(const IommuSpec& unit, const DeviceSpec& device) {
  const auto pci = ParsePciAddress(device.pci_address);
  if (!pci.has_value()) return device.stream_id;
  const uint64_t id = uint64_t{unit.smmu_v3.stream_id_base} + pci->source_id();
  if (id > ~uint32_t{0}) return std::nullopt;
  return static_cast<uint32_t>(id);
}

std::optional<PciAddress> ParsePciAddress(const std::string& text) {
  if (text.size() != 12 || text[4] != ':' || text[7] != ':' || text[10] != '.') {
    return std::nullopt;
  }
  const int segment = HexAt(text, 0, 4);
  const int bus = HexAt(text, 5, 2);
  const int device = HexAt(text, 8, 2);
  const int function = HexAt(text, 11, 1);
  if (segment < 0 || bus < 0 || device < 0 || device > 31 || function < 0 || function > 7) {
    return std::nullopt;
  }
  return PciAddress{static_cast<uint16_t>(segment), static_cast<uint8_t>(bus),
                    static_cast<uint8_t>(device), static_cast<uint8_t>(function)};
}

std::optional<IovaRange> DoorbellWindow(const DeviceSpec& device) {
  for (const ReservedRegion& region : device.reserved_regions) {
    if (region.type == ReservedRegionType::kSwMsi) return region.range;
  }
  return std::nullopt;
}

bool HasPageFaults(const IommuSpec& unit, const DeviceSpec& device) {
  return HasPageRequests(unit, device) || HasStalls(unit, device);
}

bool HasPageRequests(const IommuSpec& unit, const DeviceSpec& device) {
  const bool taken = IsSmmu(unit) ? unit.smmu_v3.pri : unit.page_requests;
  return taken && ServesDeviceTlbs(unit) && device.ats && device.pri && !device.untrusted &&
         !device.virtual_function;
}

bool HasStalls(const IommuSpec& unit, const DeviceSpec& device) {
  return IsSmmu(unit) && unit.smmu_v3.stage1 && unit.smmu_v3.stall && device.stall &&
         !device.untrusted;
}

bool MayHoldRequests(const IommuSpec& unit, const DeviceSpec& device) {
  return HasPageFaults(unit, device) || (IsSmmu(unit) && unit.smmu_v3.stall);
}

std::vector<TopologyProblem> Validate(const Topology& topology) {
  return Validator(topology).Run();
}

}  // namespace viommu
