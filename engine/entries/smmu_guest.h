// engine/entries/smmu_guest.h -- What a guest may say to an Arm SMMUv3: its stream table entry and
// its invalidations, by allow-list (rule R8).
//
// An entry: iommufd-semantics.md 17.3 (kernel: arm_smmu_validate_vste). Commands: section 10, Linux
// 7.3 (arm_vsmmu_validate_user_cmd): a field that the command does not have, or that this hardware
// reserves, would stop the queue that all devices share (CERROR_ILL). Ids and addresses that are
// merely wrong harm the guest alone.
#ifndef VIOMMU_ENGINE_ENTRIES_SMMU_GUEST_H_
#define VIOMMU_ENGINE_ENTRIES_SMMU_GUEST_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "engine/entries/smmu_commands.h"
#include "engine/entries/smmu_fields.h"
#include "engine/entries/smmu_ste.h"

namespace viommu::smmu {

enum class GuestSteKind : uint8_t { kAbort, kBypass, kTranslate };

// A guest's entry, checked.
struct GuestSte {
  GuestSteKind kind = GuestSteKind::kAbort;
  // The same for all entries that mean the same: what `kind` does not use, and EATS, is 0.
  GuestSteWords words = {kSteValid, 0};
  // The guest lets the device's ATS requests through; only where it translates.
  bool ats = false;
};

// Pure. `words` are the first two of the guest's entry; one that is not valid aborts, whatever else
// it says. All refusals are EIO.
// kInvalidArgument: VSTE_FIELD_NOT_ALLOWED: bits other than V, Config, S1Fmt, S1ContextPtr,
// S1CDMax, S1DSS, S1CIR, S1COR, S1CSH, S1STALLD, EATS are set. kInvalidArgument:
// VSTE_CONFIG_NOT_ALLOWED: Config is neither abort, nor bypass, nor stage 1. kInvalidArgument:
// VSTE_EATS_NOT_ALLOWED: EATS is neither abort nor full ATS.
absl::StatusOr<GuestSte> ValidateVste(const GuestSteWords& words);

// The entry for the hardware: nested, or `parent` alone where the guest bypasses, or abort.
Ste MakeGuestSte(const GuestSte& guest, const Stage2Fields& parent);

// What the hardware has of what commands can ask for.
struct GuestCommandCaps {
  bool range_invalidation = false;  // IDR3.RIL.
  bool wide_addresses = false;      // IDR5.DS: 52 bits with every granule.
  bool ats = false;                 // IDR0.ATS.
  int asid_bits = 8;                // 16 with IDR0.ASID16.
  int ssid_bits = 0;                // IDR1.SSIDSIZE.
  uint64_t granules = 0;            // Sizes in bytes, or-ed (IDR5.GRAN4K, 16K, 64K).
};

// One invalidation by a guest, field by field. What its opcode does not have is 0.
struct GuestCommand {
  struct Range {
    uint32_t num = 0;
    uint32_t scale = 0;
    uint32_t ttl = 0;
    uint32_t tg = 0;
  };

  // NSNH_ALL, NH_ALL, NH_ASID, NH_VA, NH_VAA, ATC_INV, CFGI_CD, CFGI_CD_ALL.
  Opcode opcode = Opcode::kTlbiNsnhAll;
  uint32_t asid = 0;
  uint32_t vsid = 0;  // The guest's stream id: a vdevice's virtual id.
  uint32_t ssid = 0;
  bool ssv = false;
  bool global = false;
  uint64_t address = 0;
  bool leaf = false;
  Range range;
  uint32_t size_log2 = 0;  // Of ATC_INV: pages of 4 KiB; 52 for all.
};

// Whether a command of this kind names a stream.
bool NamesStream(Opcode opcode);

// Pure. Takes a command apart as the guest wrote it. Its VMID is dropped: the guest does not know
// its own. Both refusals are EIO.
// kInvalidArgument: GUEST_COMMAND_NOT_ALLOWED: guests have no such command.
// kInvalidArgument: GUEST_COMMAND_FIELD_NOT_ALLOWED: a bit is set that belongs to none of its
// fields.
absl::StatusOr<GuestCommand> ParseGuestCommand(const Command& raw);

// Whom a guest's command reaches.
struct GuestCommandTarget {
  uint16_t vmid = 0;  // The guest's.
  // The physical id of `vsid`; nullopt: the guest has no such device. Of commands that name one.
  absl::optional<uint32_t> stream_id;
};

// Pure. The command for the hardware: with the VMID and the stream of `target`. "Everything"
// becomes everything of the guest's. All refusals are EIO and name the field of GuestCommand.
// kInvalidArgument: GUEST_COMMAND_NOT_ALLOWED: guests have no such command, or this hardware has
// not. kInvalidArgument: GUEST_COMMAND_FIELD_NOT_ALLOWED: a field is set that this command does not
// have on this hardware. kInvalidArgument: GUEST_COMMAND_FIELD_OUT_OF_RANGE: a value does not fit
// into its field, or the address is not a multiple of 4 KiB. kInvalidArgument:
// GUEST_RANGE_RESERVED: num, scale or ttl without tg; tg alone; a ttl that the granule does not
// have. kInvalidArgument: GUEST_GRANULE_NOT_SUPPORTED: tg is a granule that this hardware does not
// have. kInvalidArgument: VSID_UNKNOWN: no device of the guest has the stream id.
absl::StatusOr<Command> MakePhysicalCommand(const GuestCommand& command,
                                            const GuestCommandTarget& target,
                                            const GuestCommandCaps& caps);

}  // namespace viommu::smmu

#endif  // VIOMMU_ENGINE_ENTRIES_SMMU_GUEST_H_
