// engine/backend/soft/hardware/smmu_spec.h -- What a modelled SMMUv3 can do, and how its
// identification registers say so.
//
// Source of positions: Arm IHI 0070 6.3.1 to 6.3.6 (SMMU_IDR0, 1, 3 and 5), as Linux
// arm-smmu-v3.h names them (IDR0_*, IDR1_*, ...).
//
// Not offered, whatever software writes: the secure state, AArch32, big-endian and small
// translation tables, 52-bit addresses with 4 and 16 KiB granules, access flags of tables,
// split-stage ATS (EATS 2), broadcast invalidation, VMID wildcards, VMS, MPAM, overrides of
// attributes.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_SPEC_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_SPEC_H_

#include <cstdint>

namespace viommu::hardware::smmu {

constexpr uint64_t Bits(int high, int low) { return (~uint64_t{0} >> (63 - high + low)) << low; }
constexpr uint64_t Bit(int position) { return uint64_t{1} << position; }
constexpr uint64_t Field(uint64_t word, int high, int low) {
  return (word & Bits(high, low)) >> low;
}

// IDR0.STALL_MODEL.
enum class StallModel : uint8_t {
  kStallAndTerminate = 0,  // Configurations choose.
  kTerminateOnly = 1,      // Asking for stalls is illegal.
  kStallForced = 2,        // Terminating is illegal (CD.S or S2S has to be set).
};

struct Spec {
  bool stage1 = true;                                       // IDR0.S1P
  bool stage2 = true;                                       // IDR0.S2P
  bool el2 = true;                                          // IDR0.HYP: STRW EL2 and its TLBIs.
  bool ats = true;                                          // IDR0.ATS
  bool pri = true;                                          // IDR0.PRI
  int httu = 2;                                             // IDR0.HTTU: 0, 1 (AF), 2 (and dirty).
  bool asid16 = true;                                       // IDR0.ASID16; else 8 bits.
  bool vmid16 = true;                                       // IDR0.VMID16; else 8 bits.
  bool msi = true;                                          // IDR0.MSI: CMD_SYNC writes MSIs.
  StallModel stall_model = StallModel::kStallAndTerminate;  // IDR0.STALL_MODEL
  bool two_level_stream_table = true;                       // IDR0.ST_LVL
  bool two_level_cd = true;                                 // IDR0.CD2L
  bool range_invalidation = true;                           // IDR3.RIL
  bool force_write_back = true;                             // IDR3.FWB
  bool granule_4k = true;                                   // IDR5.GRAN4K
  bool granule_16k = true;                                  // IDR5.GRAN16K
  bool granule_64k = true;                                  // IDR5.GRAN64K
  bool wide_input = false;                                  // IDR5.VAX: 52-bit VAs with 64K.
  int stream_id_bits = 16;                                  // IDR1.SIDSIZE: 0 to 32.
  int substream_id_bits = 20;                               // IDR1.SSIDSIZE: 0 to 20.
  int command_queue_log2 = 19;                              // IDR1.CMDQS: 0 to 19.
  int event_queue_log2 = 19;                                // IDR1.EVENTQS: 0 to 19.
  int pri_queue_log2 = 19;                                  // IDR1.PRIQS: 0 to 19.
  int output_address_bits = 48;                             // IDR5.OAS: 32 36 40 42 44 48 52.
  uint16_t stall_max = 64;                                  // IDR5.STALL_MAX
};

// The registers as they read.
uint32_t Idr0Of(const Spec& spec);
uint32_t Idr1Of(const Spec& spec);
uint32_t Idr3Of(const Spec& spec);
uint32_t Idr5Of(const Spec& spec);

// Bits of an address by the encoding of IDR5.OAS, CD.IPS and STE.S2PS; 7 is reserved, as 6.
int AddressBitsOf(uint64_t encoding);

}  // namespace viommu::hardware::smmu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_SPEC_H_
