#include "server/invalidation_commands.h"

#include <vector>

namespace viommu {
namespace {

// TG by bytes of a page.
constexpr uint32_t kNoGranule = 4;  // None of them: the engine refuses it.

uint32_t ParseGranule(uint32_t bytes) {
  switch (bytes) {
    case 4096:
      return 1;
    case 16384:
      return 2;
    case 65536:
      return 3;
    default:
      return kNoGranule;
  }
}

ArmSmmuV3Opcode ParseOpcode(v1::ArmSmmuV3Opcode opcode) {
  switch (opcode) {
    case v1::ARM_SMMU_V3_OPCODE_TLBI_ALL:
      return ArmSmmuV3Opcode::kTlbiAll;
    case v1::ARM_SMMU_V3_OPCODE_TLBI_ASID:
      return ArmSmmuV3Opcode::kTlbiAsid;
    case v1::ARM_SMMU_V3_OPCODE_TLBI_VA:
      return ArmSmmuV3Opcode::kTlbiVa;
    case v1::ARM_SMMU_V3_OPCODE_TLBI_VAA:
      return ArmSmmuV3Opcode::kTlbiVaa;
    case v1::ARM_SMMU_V3_OPCODE_ATC_INV:
      return ArmSmmuV3Opcode::kAtcInv;
    case v1::ARM_SMMU_V3_OPCODE_CFGI_CD:
      return ArmSmmuV3Opcode::kCfgiCd;
    case v1::ARM_SMMU_V3_OPCODE_CFGI_CD_ALL:
      return ArmSmmuV3Opcode::kCfgiCdAll;
    default:
      return ArmSmmuV3Opcode::kNone;
  }
}

ArmSmmuV3Invalidation ParseCommand(const v1::ArmSmmuV3Invalidation& command) {
  ArmSmmuV3Invalidation out;
  out.opcode = ParseOpcode(command.opcode());
  out.asid = command.asid();
  out.stream_id = command.stream_id();
  out.substream_id = command.substream_id();
  out.substream_valid = command.substream_valid();
  out.global = command.global();
  out.address = command.address();
  out.leaves_only = command.leaves_only();
  out.size_log2 = command.size_log2();
  if (command.has_range()) {
    const v1::ArmSmmuV3Range& range = command.range();
    out.range = {range.num(), range.scale(), range.leaf_level(),
                 ParseGranule(range.granule_bytes())};
  }
  return out;
}

}  // namespace

InvalidationBatch ParseCommands(const v1::InvalidationCommands& commands) {
  if (commands.has_arm_smmu_v3()) {
    std::vector<ArmSmmuV3Invalidation> arm;
    arm.reserve(commands.arm_smmu_v3().invalidations_size());
    for (const auto& command : commands.arm_smmu_v3().invalidations()) {
      arm.push_back(ParseCommand(command));
    }
    return arm;
  }
  std::vector<VtdStage1Invalidation> vtd;
  vtd.reserve(commands.vtd().invalidations_size());
  for (const auto& command : commands.vtd().invalidations()) {
    vtd.push_back({command.address(), command.page_count(), command.leaves_only()});
  }
  return vtd;
}

}  // namespace viommu
