// engine/entries/smmu_commands.h -- Arm SMMUv3 commands as software writes them into the queue.
//
// Layouts: Arm IHI 0070 chapter 4 and the kernel's arm-smmu-v3.h CMDQ_* (iommufd-semantics.md
// 17.8). A command has 128 bits.
#ifndef VIOMMU_ENGINE_ENTRIES_SMMU_COMMANDS_H_
#define VIOMMU_ENGINE_ENTRIES_SMMU_COMMANDS_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "engine/base/address.h"
#include "engine/entries/smmu_fields.h"

namespace viommu::smmu {

using Command = std::array<uint64_t, 2>;

// Word 0 bits 7:0.
enum class Opcode : uint8_t {
  kPrefetchConfig = 0x01,
  kCfgiSte = 0x03,
  kCfgiAll = 0x04,
  kCfgiCd = 0x05,
  kCfgiCdAll = 0x06,
  kTlbiNhAll = 0x10,
  kTlbiNhAsid = 0x11,
  kTlbiNhVa = 0x12,
  kTlbiNhVaa = 0x13,
  kTlbiS12VmAll = 0x28,
  kTlbiS2Ipa = 0x2a,
  kTlbiNsnhAll = 0x30,
  kAtcInv = 0x40,
  kPriResponse = 0x41,
  kResume = 0x44,
  kSync = 0x46,
};

// --- Fields. Word 0.
inline constexpr BitField kCommandOpcode{0, 8};
inline constexpr BitField kCommandStreamId{32, 32};
inline constexpr BitField kCommandSsid{12, 20};
inline constexpr uint64_t kCommandSsidValid = Bit(11);  // SSV.
inline constexpr BitField kTlbiVmid{32, 16};
inline constexpr BitField kTlbiAsid{48, 16};
inline constexpr BitField kTlbiNum{12, 5};
inline constexpr BitField kTlbiScale{20, 6};    // 5 bits without IDR5.DS.
inline constexpr uint64_t kAtcGlobal = Bit(9);  // Whatever the SSID.
inline constexpr BitField kResumeResponse{12, 2};
inline constexpr BitField kSyncSignal{12, 2};           // CS.
inline constexpr BitField kSyncMsiShareability{22, 2};  // MSH.
inline constexpr BitField kSyncMsiAttributes{24, 4};    // MSIATTR.
inline constexpr BitField kSyncMsiData{32, 32};
// Word 1.
inline constexpr uint64_t kCommandLeaf = Bit(0);
inline constexpr BitField kCfgiRange{0, 5};
inline constexpr BitField kTlbiTtl{8, 2};
inline constexpr BitField kTlbiTg{10, 2};
inline constexpr uint64_t kCommandAddressMask = Bits(63, 12);
inline constexpr BitField kAtcSize{0, 6};
inline constexpr BitField kPriGroup{0, 9};
inline constexpr BitField kPriResponse{12, 2};
inline constexpr BitField kResumeTag{0, 16};
inline constexpr uint64_t kSyncMsiAddressMask = Bits(51, 2);

// Of a command made by one of the functions below.
inline Opcode OpcodeOf(const Command& command) { return Opcode(kCommandOpcode.Get(command[0])); }
// Stable, for counters: "cfgi_ste", "tlbi_nh_va", "atc_inv", "sync"; "unknown" of no opcode.
absl::string_view NameOf(Opcode opcode);

// --- Configuration caches.
// A hint: the entry of the stream will be needed.
Command PrefetchConfig(uint32_t stream_id);
// What is cached of a stream: its entry; with `leaf_only` false, first-level descriptors too.
Command InvalidateSte(uint32_t stream_id, bool leaf_only);
// Of all streams.
Command InvalidateAllStes();
// Of one CD of a stream, of all of them.
Command InvalidateCd(uint32_t stream_id, uint32_t ssid, bool leaf_only);
Command InvalidateAllCds(uint32_t stream_id);

// --- TLBs. What an entry of a first stage is tagged with. The VMID is 0 without a second stage.
struct TlbTag {
  uint16_t vmid = 0;
  uint16_t asid = 0;
};

// Where a TLB invalidation by address applies: (num + 1) << scale granules from `address`, on
// leaves of level `ttl`. With tg 0: the page or block that holds `address`, and the other three are
// 0.
struct TlbiAddress {
  uint64_t address = 0;
  bool leaf_only = false;  // No table was unlinked: what is cached of walks may stay.
  uint8_t num = 0;         // 0..31
  uint8_t scale = 0;       // 0..31, 0..63 with IDR5.DS.
  uint8_t tg = 0;          // RangeGranuleCode().
  uint8_t ttl = 0;         // 1..3; 0: any level.
};

// First stages (NS-EL1): of a VMID, of an address space, of its addresses, of addresses whatever
// the ASID.
Command InvalidateStage1(uint16_t vmid);
Command InvalidateAsid(const TlbTag& tag);
Command InvalidateVa(const TlbTag& tag, const TlbiAddress& where);
Command InvalidateVaAnyAsid(uint16_t vmid, const TlbiAddress& where);
// Second stage of a VMID at intermediate addresses. What a nested translation combined of both
// stages stays: InvalidateStage1 follows where guests run first stages on it.
Command InvalidateIpa(uint16_t vmid, const TlbiAddress& where);
// Both stages of a VMID.
Command InvalidateVmid(uint16_t vmid);
// Everything of NS-EL1, both stages.
Command InvalidateAllTlbs();

// --- Device TLBs (ATC).
// A naturally aligned block of 2^pages_log2 pages of 4 KiB; {0, 52} is everything.
struct AtcBlock {
  Iova first = 0;
  int pages_log2 = 0;
};
inline constexpr int kAtcWholeSpaceLog2 = 52;
inline constexpr AtcBlock kWholeAtc = {0, kAtcWholeSpaceLog2};

// The smallest one that covers a range.
AtcBlock CoveringAtcBlock(const IovaRange& range);
// What the function keeps in a block of requests with an SSID; of requests without one, and with
// them those of all SSIDs (PCIe ATS without PASID; 17.8). After the TLBs, and after a sync (I8).
Command InvalidateAtc(uint32_t stream_id, const AtcBlock& block);
Command InvalidateAtcOfSsid(uint32_t stream_id, uint32_t ssid, const AtcBlock& block);

// --- Answers.
// RESP by its names in IHI 0070 4.5.2; Linux has the first two as PRI_RESP_DENY and PRI_RESP_FAIL.
enum class PriAnswer : uint8_t { kResponseFailure = 0, kInvalidRequest = 1, kSuccess = 2 };
struct PageRequestGroup {
  uint32_t stream_id = 0;
  absl::optional<uint32_t> ssid;
  uint16_t group = 0;  // 0..511
};
Command RespondToPageRequests(const PageRequestGroup& group, PriAnswer answer);

enum class ResumeAction : uint8_t { kTerminate = 0, kRetry = 1, kAbort = 2 };
Command Resume(uint32_t stream_id, uint16_t stall_tag, ResumeAction action);

// --- Completion: done when every command before it is.
// Seen in CONS alone.
Command Sync();
// As Sync, and `data` is written to the 4-byte aligned address, through the caches.
Command SyncWithMsi(PhysAddr address, uint32_t data);

}  // namespace viommu::smmu

#endif  // VIOMMU_ENGINE_ENTRIES_SMMU_COMMANDS_H_
