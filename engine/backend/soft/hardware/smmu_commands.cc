#include "engine/backend/soft/hardware/smmu_commands.h"

#include <optional>

#include "engine/backend/soft/hardware/smmu_config.h"

namespace viommu::hardware::smmu {
namespace {

constexpr uint64_t kLeaf = Bit(0);              // Of the second word.
constexpr uint64_t kSubstreamValid = Bit(11);   // SSV
constexpr uint64_t kGlobalInvalidate = Bit(9);  // G of ATC_INV
constexpr uint64_t kAllPages = 52;              // SIZE of ATC_INV: 2^64 bytes.
constexpr uint64_t kPageBytes = 4096;

uint16_t VmidOf(const Spec& spec, const Command& command) {
  if (!spec.stage2) return 0;  // Then nothing is tagged.
  return static_cast<uint16_t>(Field(command.word[0], 47, 32));
}

uint16_t AsidOf(const Command& command) {
  return static_cast<uint16_t>(Field(command.word[0], 63, 48));
}

uint64_t Saturated(uint64_t first, uint64_t size_bytes) {
  const uint64_t last = first + (size_bytes - 1);
  return last < first ? kMaxAddress : last;
}

// What an address-based TLBI is about. False: a granule with neither a range nor a level (4.4.1.1).
bool ScopeOf(const Spec& spec, const Command& command, Scope* scope) {
  const uint64_t address = command.word[1] & Bits(63, 12);
  scope->leaves_only = command.word[1] & kLeaf;
  scope->range = {address, address | (kPageBytes - 1)};
  const uint64_t granule = Field(command.word[1], 11, 10);
  if (!spec.range_invalidation || granule == 0) return true;
  const uint64_t number = Field(command.word[0], 16, 12);
  const uint64_t scale = Field(command.word[0], 24, 20);
  scope->level = static_cast<int>(Field(command.word[1], 9, 8));
  scope->granule_shift = 10 + 2 * static_cast<int>(granule);
  if (number == 0 && scale == 0 && scope->level == 0) return false;
  // There are no leaves at level 1 of 16 KiB tables: any level is meant.
  if (scope->granule_shift == 14 && scope->level == 1) scope->level = 0;
  const uint64_t size_bytes = (number + 1) << scale << scope->granule_shift;
  scope->range.last = Saturated(address, size_bytes);
  return true;
}

void DropConfig(const Registers& registers, const Command& command, ConfigCache* config) {
  const bool leaf = command.word[1] & kLeaf;
  const uint32_t stream_id = command.stream_id();
  const int split = StreamSplit(registers);
  switch (command.opcode()) {
    case kConfigStream:
      return config->DropStreams(stream_id, stream_id, leaf, split);
    case kConfigStreamRange: {
      const int log2 = static_cast<int>(Field(command.word[1], 4, 0)) + 1;
      const auto rest = static_cast<uint32_t>(Bit(log2) - 1);
      return config->DropStreams(stream_id & ~rest, stream_id | rest, false, split);
    }
    case kConfigContext:
      return config->DropContext(stream_id, command.substream_id(), leaf);
    default:
      return config->DropContexts(stream_id);
  }
}

bool ApplyTlbi(const Spec& spec, const Registers& registers, const Command& command, Tlb* tlb) {
  VmTlb& el1 = tlb->el1(VmidOf(spec, command));
  VmTlb& el2 = tlb->el2();
  // Without E2H nothing of EL2 has an ASID.
  const uint16_t el2_asid = registers.e2h() ? AsidOf(command) : 0;
  Scope scope;
  switch (command.opcode()) {
    case kTlbiAll:
      el1.DropStage1();
      return true;
    case kTlbiAsid:
      el1.DropAsid(AsidOf(command));
      return true;
    case kTlbiVa:
      if (!ScopeOf(spec, command, &scope)) return false;
      el1.DropStage1(AsidOf(command), scope);
      return true;
    case kTlbiVaAll:
      if (!ScopeOf(spec, command, &scope)) return false;
      el1.DropStage1(std::nullopt, scope);
      return true;
    case kTlbiEl2All:
      el2.DropStage1();
      return true;
    case kTlbiEl2Asid:
      el2.DropAsid(AsidOf(command));
      return true;
    case kTlbiEl2Va:
      if (!ScopeOf(spec, command, &scope)) return false;
      el2.DropStage1(el2_asid, scope);
      return true;
    case kTlbiEl2VaAll:
      if (!ScopeOf(spec, command, &scope)) return false;
      el2.DropStage1(std::nullopt, scope);
      return true;
    case kTlbiVm:
      tlb->DropVm(VmidOf(spec, command));
      return true;
    case kTlbiStage2:
      if (!ScopeOf(spec, command, &scope)) return false;
      el1.DropStage2(scope);
      return true;
    default:
      tlb->DropEl1();
      return true;
  }
}

// Whether the unit has what the command is for.
bool Supports(const Spec& spec, uint8_t opcode) {
  switch (opcode) {
    case kConfigContext:
    case kConfigContextAll:
    case kTlbiAll:
    case kTlbiAsid:
    case kTlbiVa:
    case kTlbiVaAll:
      return spec.stage1;
    case kTlbiEl2All:
    case kTlbiEl2Asid:
    case kTlbiEl2Va:
    case kTlbiEl2VaAll:
      return spec.stage1 && spec.el2;
    case kTlbiVm:
    case kTlbiStage2:
      return spec.stage2;
    default:
      return true;
  }
}

IovaRange AtcRange(const Command& command) {
  const uint64_t size = Field(command.word[1], 5, 0);
  if (size >= kAllPages) return {0, kMaxAddress};
  const uint64_t rest = (kPageBytes << size) - 1;
  const uint64_t address = command.word[1] & ~rest;
  return {address, address | rest};
}

}  // namespace

bool IsInvalidation(uint8_t opcode) {
  return (opcode >= kConfigStream && opcode <= kConfigContextAll) ||
         (opcode >= kTlbiAll && opcode <= kTlbiVaAll) ||
         (opcode >= kTlbiEl2All && opcode <= kTlbiEl2VaAll) || opcode == kTlbiVm ||
         opcode == kTlbiStage2 || opcode == kTlbiEl1;
}

bool ApplyInvalidation(const Spec& spec, const Registers& registers, const Command& command,
                       WarmState* warm) {
  if (!Supports(spec, command.opcode())) return false;
  if (command.opcode() >= kTlbiAll) return ApplyTlbi(spec, registers, command, &warm->tlb);
  DropConfig(registers, command, &warm->config);
  return true;
}

bool ApplyAtcInvalidation(const Command& command, DeviceTlbs* device_tlbs) {
  const auto tlb = device_tlbs->find(command.stream_id());
  if (tlb == device_tlbs->end()) return true;
  if (!tlb->second.answers()) return false;
  const IovaRange range = AtcRange(command);
  if (!(command.word[0] & kSubstreamValid)) {
    tlb->second.DropAll(range);
  } else if (command.word[0] & kGlobalInvalidate) {
    tlb->second.DropSubstreams(range);
  } else {
    tlb->second.DropSubstream(command.substream_id(), range);
  }
  return true;
}

}  // namespace viommu::hardware::smmu
