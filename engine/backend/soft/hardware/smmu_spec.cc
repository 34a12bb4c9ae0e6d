#include "engine/backend/soft/hardware/smmu_spec.h"

namespace viommu::hardware::smmu {
namespace {

constexpr int kAddressBits[] = {32, 36, 40, 42, 44, 48, 52};

uint32_t If(bool set, int position) { return set ? uint32_t{1} << position : 0; }

uint32_t Put(int value, int position) { return static_cast<uint32_t>(value) << position; }

}  // namespace

uint32_t Idr0Of(const Spec& spec) {
  // TTF 3:2 is 2: AArch64 tables. COHACC 4: walks are coherent. NS1ATS 11: no split-stage ATS.
  // TTENDIAN 22:21 is 2: little-endian.
  const uint32_t fixed = Put(2, 2) | If(true, 4) | If(true, 11) | Put(2, 21);
  return fixed | If(spec.stage2, 0) | If(spec.stage1, 1) | Put(spec.httu, 6) | If(spec.el2, 9) |
         If(spec.ats, 10) | If(spec.asid16, 12) | If(spec.msi, 13) | If(spec.ats && spec.pri, 16) |
         If(spec.vmid16, 18) | If(spec.two_level_cd, 19) |
         Put(static_cast<int>(spec.stall_model), 24) | If(spec.two_level_stream_table, 27);
}

uint32_t Idr1Of(const Spec& spec) {
  return Put(spec.stream_id_bits, 0) | Put(spec.substream_id_bits, 6) |
         Put(spec.pri_queue_log2, 11) | Put(spec.event_queue_log2, 16) |
         Put(spec.command_queue_log2, 21);
}

uint32_t Idr3Of(const Spec& spec) {
  return If(spec.force_write_back, 8) | If(spec.range_invalidation, 10);
}

uint32_t Idr5Of(const Spec& spec) {
  int size = 0;
  while (kAddressBits[size] < spec.output_address_bits) ++size;
  return Put(size, 0) | If(spec.granule_4k, 4) | If(spec.granule_16k, 5) | If(spec.granule_64k, 6) |
         If(spec.wide_input, 10) | Put(spec.stall_max, 16);
}

int AddressBitsOf(uint64_t encoding) { return encoding < 7 ? kAddressBits[encoding] : 52; }

}  // namespace viommu::hardware::smmu
