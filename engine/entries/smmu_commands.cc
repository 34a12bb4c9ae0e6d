#include "engine/entries/smmu_commands.h"

#include "absl/numeric/bits.h"

namespace viommu::smmu {
namespace {

constexpr uint64_t kCfgiEverything = 31;  // RANGE of CFGI_ALL: 2^32 streams.
constexpr uint64_t kSignalInterrupt = 1;  // CS: by MSI, where an address is given.
constexpr uint64_t kMsiWriteBack = 0xf;   // MSIATTR: normal memory, write-back inside and outside.
constexpr int kPageShift = 12;

constexpr uint64_t Head(Opcode opcode) { return kCommandOpcode.Put(static_cast<uint64_t>(opcode)); }

constexpr uint64_t Leaf(bool leaf_only) { return leaf_only ? kCommandLeaf : 0; }

Command OfStream(Opcode opcode, uint32_t stream_id) {
  return {Head(opcode) | kCommandStreamId.Put(stream_id), 0};
}

Command ByTag(Opcode opcode, const TlbTag& tag) {
  return {Head(opcode) | kTlbiVmid.Put(tag.vmid) | kTlbiAsid.Put(tag.asid), 0};
}

Command ByAddress(Opcode opcode, const TlbTag& tag, const TlbiAddress& where) {
  Command command = ByTag(opcode, tag);
  command[0] |= kTlbiNum.Put(where.num) | kTlbiScale.Put(where.scale);
  command[1] = Leaf(where.leaf_only) | kTlbiTtl.Put(where.ttl) | kTlbiTg.Put(where.tg) |
               (where.address & kCommandAddressMask);
  return command;
}

uint64_t WithSsid(uint32_t ssid) { return kCommandSsidValid | kCommandSsid.Put(ssid); }

}  // namespace

absl::string_view NameOf(Opcode opcode) {
  switch (opcode) {
    case Opcode::kPrefetchConfig:
      return "prefetch_config";
    case Opcode::kCfgiSte:
      return "cfgi_ste";
    case Opcode::kCfgiAll:
      return "cfgi_all";
    case Opcode::kCfgiCd:
      return "cfgi_cd";
    case Opcode::kCfgiCdAll:
      return "cfgi_cd_all";
    case Opcode::kTlbiNhAll:
      return "tlbi_nh_all";
    case Opcode::kTlbiNhAsid:
      return "tlbi_nh_asid";
    case Opcode::kTlbiNhVa:
      return "tlbi_nh_va";
    case Opcode::kTlbiNhVaa:
      return "tlbi_nh_vaa";
    case Opcode::kTlbiS12VmAll:
      return "tlbi_s12_vmall";
    case Opcode::kTlbiS2Ipa:
      return "tlbi_s2_ipa";
    case Opcode::kTlbiNsnhAll:
      return "tlbi_nsnh_all";
    case Opcode::kAtcInv:
      return "atc_inv";
    case Opcode::kPriResponse:
      return "pri_resp";
    case Opcode::kResume:
      return "resume";
    case Opcode::kSync:
      return "sync";
  }
  return "unknown";
}

Command PrefetchConfig(uint32_t stream_id) { return OfStream(Opcode::kPrefetchConfig, stream_id); }

Command InvalidateSte(uint32_t stream_id, bool leaf_only) {
  Command command = OfStream(Opcode::kCfgiSte, stream_id);
  command[1] = Leaf(leaf_only);
  return command;
}

Command InvalidateAllStes() { return {Head(Opcode::kCfgiAll), kCfgiRange.Put(kCfgiEverything)}; }

Command InvalidateCd(uint32_t stream_id, uint32_t ssid, bool leaf_only) {
  // The command has no SSV: SSID 0 is the CD of requests without one.
  Command command = OfStream(Opcode::kCfgiCd, stream_id);
  command[0] |= kCommandSsid.Put(ssid);
  command[1] = Leaf(leaf_only);
  return command;
}

Command InvalidateAllCds(uint32_t stream_id) { return OfStream(Opcode::kCfgiCdAll, stream_id); }

Command InvalidateStage1(uint16_t vmid) { return ByTag(Opcode::kTlbiNhAll, {vmid, 0}); }

Command InvalidateAsid(const TlbTag& tag) { return ByTag(Opcode::kTlbiNhAsid, tag); }

Command InvalidateVa(const TlbTag& tag, const TlbiAddress& where) {
  return ByAddress(Opcode::kTlbiNhVa, tag, where);
}

Command InvalidateVaAnyAsid(uint16_t vmid, const TlbiAddress& where) {
  return ByAddress(Opcode::kTlbiNhVaa, {vmid, 0}, where);
}

Command InvalidateIpa(uint16_t vmid, const TlbiAddress& where) {
  return ByAddress(Opcode::kTlbiS2Ipa, {vmid, 0}, where);
}

Command InvalidateVmid(uint16_t vmid) { return ByTag(Opcode::kTlbiS12VmAll, {vmid, 0}); }

Command InvalidateAllTlbs() { return {Head(Opcode::kTlbiNsnhAll), 0}; }

AtcBlock CoveringAtcBlock(const IovaRange& range) {
  const uint64_t first_page = range.first >> kPageShift;
  // Page numbers of one block agree above the highest bit in which its first and last differ.
  const auto pages_log2 =
      static_cast<int>(absl::bit_width(first_page ^ (range.last >> kPageShift)));
  return {first_page >> pages_log2 << pages_log2 << kPageShift, pages_log2};
}

Command InvalidateAtc(uint32_t stream_id, const AtcBlock& block) {
  Command command = OfStream(Opcode::kAtcInv, stream_id);
  command[1] =
      (block.first & kCommandAddressMask) | kAtcSize.Put(static_cast<uint64_t>(block.pages_log2));
  return command;
}

Command InvalidateAtcOfSsid(uint32_t stream_id, uint32_t ssid, const AtcBlock& block) {
  Command command = InvalidateAtc(stream_id, block);
  command[0] |= WithSsid(ssid);
  return command;
}

Command RespondToPageRequests(const PageRequestGroup& group, PriAnswer answer) {
  Command command = OfStream(Opcode::kPriResponse, group.stream_id);
  if (group.ssid.has_value()) command[0] |= WithSsid(*group.ssid);
  command[1] = kPriGroup.Put(group.group) | kPriResponse.Put(static_cast<uint64_t>(answer));
  return command;
}

Command Resume(uint32_t stream_id, uint16_t stall_tag, ResumeAction action) {
  Command command = OfStream(Opcode::kResume, stream_id);
  command[0] |= kResumeResponse.Put(static_cast<uint64_t>(action));
  command[1] = kResumeTag.Put(stall_tag);
  return command;
}

Command Sync() { return {Head(Opcode::kSync), 0}; }

Command SyncWithMsi(PhysAddr address, uint32_t data) {
  return {Head(Opcode::kSync) | kSyncSignal.Put(kSignalInterrupt) |
              kSyncMsiShareability.Put(kInnerShareable) | kSyncMsiAttributes.Put(kMsiWriteBack) |
              kSyncMsiData.Put(data),
          address.value & kSyncMsiAddressMask};
}

}  // namespace viommu::smmu
