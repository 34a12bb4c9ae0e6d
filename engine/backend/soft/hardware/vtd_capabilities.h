// engine/backend/soft/hardware/vtd_capabilities.h -- What a modelled VT-d unit can do, as its CAP
// and ECAP registers say.
//
// Source of positions: VT-d 11.4.2 (CAP) and 11.4.3 (ECAP), Linux intel/iommu.h (cap_*, ecap_*).
// A feature that the model does not have is not advertised, whatever the configuration asks for:
// interrupt remapping (IR), execute requests (ERS), memory types (MTS) and caching mode (CM).
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_CAPABILITIES_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_CAPABILITIES_H_

#include <cstdint>

namespace viommu::hardware {

constexpr uint64_t Bits(int high, int low) { return (~uint64_t{0} >> (63 - high + low)) << low; }
constexpr uint64_t Bit(int position) { return uint64_t{1} << position; }
constexpr uint64_t Field(uint64_t word, int high, int low) {
  return (word & Bits(high, low)) >> low;
}

// Immutable. `Bits(63, host_address_width)` and up are never an address: 12 < width <= 52.
class Capabilities {
 public:
  Capabilities(uint64_t cap, uint64_t ecap, int host_address_width)
      : cap_(cap & kCapSupported), ecap_(ecap & kEcapSupported), width_(host_address_width) {}

  // As the registers read.
  uint64_t cap() const { return cap_; }
  uint64_t ecap() const { return ecap_; }

  uint64_t beyond_host_width() const { return Bits(63, width_); }
  int host_address_width() const { return width_; }
  int domain_id_bits() const { return 4 + 2 * static_cast<int>(Field(cap_, 2, 0)); }  // CAP.ND
  bool supports_levels(int levels) const { return cap_ & Bit(8 + levels - 2); }       // CAP.SAGAW
  int guest_address_width() const { return static_cast<int>(Field(cap_, 21, 16)) + 1; }  // MGAW
  // CAP.SLLPS: leaves at level 2 (2 MiB) and level 3 (1 GiB).
  bool supports_leaf(int level) const { return level == 1 || (cap_ & Bit(34 + level - 2)); }
  bool page_selective() const { return cap_ & Bit(39); }  // PSI
  // A first stage: leaves of 1 GiB (FL1GP; 2 MiB are always there) and 5 levels (FL5LP).
  bool supports_first_stage_leaf(int level) const { return level <= 2 || (cap_ & Bit(56)); }
  bool supports_first_stage_levels(int levels) const {
    return levels == 4 || (levels == 5 && (cap_ & Bit(60)));
  }
  int max_address_mask() const { return static_cast<int>(Field(cap_, 53, 48)); }        // MAMV
  uint32_t fault_records_offset() const { return Field(cap_, 33, 24) * 16; }            // FRO
  int fault_record_count() const { return static_cast<int>(Field(cap_, 47, 40)) + 1; }  // NFR

  bool queued_invalidation() const { return ecap_ & Bit(1); }                    // QI
  bool device_tlbs() const { return ecap_ & Bit(2); }                            // DT
  bool pass_through() const { return ecap_ & Bit(6); }                           // PT
  bool snoop_control() const { return ecap_ & Bit(7); }                          // SC
  bool nesting() const { return ecap_ & Bit(26); }                               // NEST
  bool page_requests() const { return ecap_ & Bit(29); }                         // PRS
  bool supervisor_requests() const { return ecap_ & Bit(31); }                   // SRS
  bool extended_access() const { return ecap_ & Bit(34); }                       // EAFS
  int pasid_bits() const { return static_cast<int>(Field(ecap_, 39, 35)) + 1; }  // PSS
  bool pasids() const { return ecap_ & Bit(40); }                                // PASID
  bool page_request_drain() const { return ecap_ & Bit(42); }                    // PDS
  bool scalable_mode() const { return ecap_ & Bit(43); }                         // SMTS
  bool second_stage_dirty() const { return ecap_ & Bit(45); }                    // SLADS
  bool second_stage() const { return ecap_ & Bit(46); }                          // SLTS
  bool first_stage() const { return ecap_ & Bit(47); }                           // FLTS
  bool coherent_walk() const { return ecap_ & Bit(48); }                         // SMPWC
  bool rid_pasid() const { return ecap_ & Bit(49); }                             // RPS

 private:
  static constexpr uint64_t kCapSupported = Bits(2, 0) | Bit(4) | Bits(11, 9) | Bits(21, 16) |
                                            Bits(35, 34) | Bit(39) | Bits(33, 24) | Bits(47, 40) |
                                            Bits(56, 48) | Bit(60);
  static constexpr uint64_t kEcapSupported = Bits(2, 0) | Bits(7, 6) | Bit(26) | Bit(29) | Bit(31) |
                                             Bit(34) | Bits(40, 35) | Bit(42) | Bit(43) |
                                             Bits(49, 45);

  uint64_t cap_;
  uint64_t ecap_;
  int width_;
};

}  // namespace viommu::hardware

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_CAPABILITIES_H_
