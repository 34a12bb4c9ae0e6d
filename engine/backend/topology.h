// engine/backend/topology.h -- The IOMMUs and devices of a host, as plain values.
//
// The soft backend is built from a Topology; the iommufd backend will discover one. Values only:
// no state that changes while the daemon runs.
#ifndef VIOMMU_ENGINE_BACKEND_TOPOLOGY_H_
#define VIOMMU_ENGINE_BACKEND_TOPOLOGY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/address.h"

namespace viommu {

// Default domains of devices that the host itself uses (DESIGN.md section 5;
// iommufd-semantics.md section 15, include/linux/iommu.h IOMMU_DOMAIN_*).
enum class DefaultDomainType {
  kIdentity,
  kDma,    // Translated; every unmap invalidates before it returns.
  kDmaFq,  // Translated; invalidation deferred through a flush queue.
};

// Reserved regions of a device (iommufd-semantics.md section 7; enum iommu_resv_type).
enum class ReservedRegionType {
  kDirect,           // Mapped one to one at all times: the device can not be claimed.
  kDirectRelaxable,  // One to one for the host only; dropped when the device is claimed.
  kReserved,         // Never to be mapped.
  kMsi,              // The hardware's own, untranslated interrupt window.
  kSwMsi,            // A window in which software maps interrupt doorbells.
};

struct ReservedRegion {
  IovaRange range;
  ReservedRegionType type = ReservedRegionType::kReserved;
};

enum class IommuArchitecture { kVtd, kSmmuV3 };

// What an Arm SMMUv3 can do (Arm IHI 0070, 6.3.1-6.3.6).
struct SmmuV3Spec {
  int oas_bits = 48;            // IDR5.OAS: width of physical addresses, 32, 36, 40, 42, 44 or 48.
  bool stage1 = true;           // IDR0.S1P: walks first-stage tables.
  bool stage2 = true;           // IDR0.S2P: walks second-stage tables.
  bool nesting = false;         // A guest's first stage on a second stage.
  int stream_id_bits = 16;      // IDR1.SIDSIZE, 8..32; above 16 needs two_level_stream_table.
  uint32_t stream_id_base = 0;  // Of PCI functions: StreamIDs are source ids plus this.
  int substream_id_bits = 0;    // IDR1.SSIDSIZE: width of PASIDs, 0..20; 0: takes none.
  int asid_bits = 16;           // IDR0.ASID16: 8 or 16.
  int vmid_bits = 16;           // IDR0.VMID16: 8 or 16.
  bool granule_4k = true;       // IDR5.GRAN4K
  bool granule_16k = false;     // IDR5.GRAN16K
  bool granule_64k = false;     // IDR5.GRAN64K
  bool two_level_stream_table = true;  // IDR0.ST_LEVEL
  bool two_level_cd = true;            // IDR0.CD2L; without, PASIDs are of 10 bits at most.
  bool ats = true;                     // IDR0.ATS: answers devices with ATS, reaches their TLBs.
  bool pri = false;                    // IDR0.PRI: takes page requests.
  bool stall = false;                  // IDR0.STALL_MODEL: faulting requests of devices can wait.
  bool range_invalidation = true;      // IDR3.RIL
  bool s2fwb = false;                  // IDR3.FWB: a second stage can force write-back.
  bool hardware_access = false;        // IDR0.HTTU: sets access flags.
  bool hardware_dirty = false;         // IDR0.HTTU: manages dirty state too.
  bool coherent = true;                // IDR0.COHACC: sees tables in caches of processors.
};

// One remapping unit: an Intel VT-d one in scalable mode, or an SMMUv3.
struct IommuSpec {
  std::string id;
  std::optional<int32_t> numa_node;
  IommuArchitecture architecture = IommuArchitecture::kVtd;
  bool deferred_flush = true;  // Default domains behind it may be DMA_FQ.
  SmmuV3Spec smmu_v3 = {};     // Of kSmmuV3.

  // All others are of kVtd.
  int host_address_width_bits = 46;  // HAW: width of physical addresses, 32..52.
  // Second-stage table depths the unit walks (CAP.SAGAW): 3, 4 and 5 levels are 39, 48, 57 bits.
  bool levels_3 = false;
  bool levels_4 = true;
  bool levels_5 = false;
  int guest_address_width_bits = 48;  // CAP.MGAW: widest IO virtual address, 39..57.
  bool leaf_2m = true;                // CAP.SLLPS bit 0.
  bool leaf_1g = true;                // CAP.SLLPS bit 1.
  bool snoop_control = true;          // ECAP.SC: no-snoop requests can be forced to snoop.
  bool pass_through = true;           // ECAP.PT: an entry can pass addresses through.
  int domain_id_bits = 16;            // CAP.ND: 4, 6, 8, ... 16.
  int pasid_bits = 20;                // ECAP.PSS + 1: width of PASIDs, 1..20.
  bool device_tlb = true;             // ECAP.DT: answers devices with ATS, and reaches their TLBs.
  bool first_stage = false;           // ECAP.FLTS: walks x86-64 tables.
  bool first_stage_levels_5 = false;  // CAP.FL5LP: of 5 levels too.
  bool first_stage_leaf_1g = false;   // CAP.FL1GP: with leaves of 1 GiB too.
  bool nesting = false;               // ECAP.NEST: a first stage on a second stage.
  bool supervisor_requests = false;   // ECAP.SRS: privileged requests, by first-stage rights.
  bool extended_access = false;       // ECAP.EAFS: a second accessed flag in first-stage entries.
  bool dirty_tracking = false;        // ECAP.SLADS: second-stage entries tell what is written.
  bool page_requests = false;         // ECAP.PRS: hands on what devices with PRI ask for.
};

// Of a unit of any architecture.
int PhysicalAddressBits(const IommuSpec& unit);
int PasidBits(const IommuSpec& unit);          // 0: takes no PASIDs.
bool HasFirstStage(const IommuSpec& unit);     // For domains of the host.
bool HasNesting(const IommuSpec& unit);        // A guest's first stage on a second stage.
bool ServesDeviceTlbs(const IommuSpec& unit);  // Of devices with ATS.
bool HasPassThrough(const IommuSpec& unit);    // IDENTITY.
bool HasDirtyTracking(const IommuSpec& unit);  // Of what devices write through its tables.

// A function behind an IommuSpec.
struct DeviceSpec {
  std::string id;           // For PCI the address, e.g. "0000:00:02.0".
  std::string pci_address;  // "ssss:bb:dd.f"; empty for a platform device.
  std::string iommu;        // IommuSpec::id.
  std::string group;        // Functions that can not be isolated from each other share one.
  std::optional<int32_t> numa_node;
  bool untrusted = false;       // External port: always translated, strictly.
  bool allow_identity = false;  // Policy: IDENTITY may be asked for (R1).
  DefaultDomainType default_domain = DefaultDomainType::kDma;
  int pasid_bits = 0;  // 0: the function issues no PASIDs.
  bool ats = false;    // Address Translation Services (device TLB).
  bool pri = false;    // Page Request Interface.
  // A PCI virtual function: what it asks for goes through its physical function's page requests.
  bool virtual_function = false;
  std::vector<ReservedRegion> reserved_regions;
  // The page to which it writes its interrupts, where that is memory like any other to the unit:
  // mapped in the device's SW_MSI region. Functions may share one.
  std::optional<PhysAddr> msi_doorbell = {};
  // Of a platform device behind an SMMUv3; a PCI function has its source id plus the unit's base.
  std::optional<uint32_t> stream_id = {};
  bool stall =
      false;  // Its requests can wait for a fault to be resolved (SMMUv3, platform device).
};

// Where doorbells of the device are mapped: its SW_MSI region; nullopt when it has none.
std::optional<IovaRange> DoorbellWindow(const DeviceSpec& device);

// Whether page faults of the device, which is behind `unit`, can be answered: it has page requests,
// or stalls.
bool HasPageFaults(const IommuSpec& unit, const DeviceSpec& device);
// Both have page requests, and the device asks for translations itself (ATS), as those who use them
// must. Never a virtual function.
bool HasPageRequests(const IommuSpec& unit, const DeviceSpec& device);
// SMMUv3: requests of the device can wait (stall), which a first stage of the unit makes them do.
bool HasStalls(const IommuSpec& unit, const DeviceSpec& device);
// Whether requests of the device may wait for an answer at all. A guest's descriptors can have that
// of any device behind an SMMUv3 which can let requests wait; where its page faults are not taken
// they have to be refused.
bool MayHoldRequests(const IommuSpec& unit, const DeviceSpec& device);

// "ssss:bb:dd.f" in hexadecimal: segment, bus, device (below 32), function (below 8).
struct PciAddress {
  uint16_t segment = 0;
  uint8_t bus = 0;
  uint8_t device = 0;
  uint8_t function = 0;

  // As it appears on the bus: bus 15:8, device 7:3, function 2:0.
  uint16_t source_id() const { return static_cast<uint16_t>(bus << 8 | device << 3 | function); }
};

// nullopt: `text` is not of that form or a number is beyond its limit.
std::optional<PciAddress> ParsePciAddress(const std::string& text);

// What `unit`, an SMMUv3, knows a device by; nullopt: it has no StreamID of 32 bits.
std::optional<uint32_t> StreamIdOf(const IommuSpec& unit, const DeviceSpec& device);

// StreamIDs that a stream table can hold: 2^17 tables of 2^8 entries at most (IHI 0070, 6.3.25 and
// the kernel's STRTAB_MAX_L1_ENTRIES).
inline constexpr int kMaxStreamTableBits = 25;

struct Topology {
  std::vector<IommuSpec> iommus;
  std::vector<DeviceSpec> devices;
};

// What is wrong with a topology, and where: `path` as "devices[3].iommu".
struct TopologyProblem {
  std::string path;
  std::string message;
};

// Every problem at once; empty when the topology can be used. Ids must match
// [a-z0-9]([a-z0-9:._-]{0,61}[a-z0-9])? and be unique; names must resolve; PCI addresses be unique
// per unit and within segment, bus, slot and function limits; numbers lie in the ranges above;
// members of a group share one unit; a unit walks tables of some depth, a MGAW above 48 bits needs
// levels_5, what belongs to a first stage needs first_stage, page_requests need device_tlb; an
// SMMUv3 has a stage and a granule, and what builds on another feature has that; StreamIDs are
// there behind an SMMUv3 alone, fit its stream table and are unique per unit; only platform devices
// stall, behind units that can wait; reserved regions are not empty; a doorbell is a page of its
// own, of an address that every unit can name, outside of DIRECT regions and of the interrupt
// window, and its device has one SW_MSI region, of whole pages, and no MSI; IDENTITY by default
// needs allow_identity, a unit with pass-through and a trusted device.
std::vector<TopologyProblem> Validate(const Topology& topology);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_TOPOLOGY_H_
