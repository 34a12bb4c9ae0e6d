#include <type_traits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "engine/base/address.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/entries/smmu_guest.h"

namespace viommu::smmu {
namespace {

// Fields as a set.
constexpr uint32_t kAsid = 1 << 0;
constexpr uint32_t kVsid = 1 << 1;
constexpr uint32_t kSsid = 1 << 2;
constexpr uint32_t kSsv = 1 << 3;
constexpr uint32_t kGlobal = 1 << 4;
constexpr uint32_t kAddress = 1 << 5;
constexpr uint32_t kLeaf = 1 << 6;
constexpr uint32_t kRange = 1 << 7;
constexpr uint32_t kSize = 1 << 8;

// The sixth bit of the scale belongs to 52-bit addresses.
constexpr uint32_t kMaxShortScale = 31;
constexpr GuestCommandCaps kEverything = {true, true, true, 16, 20, 0};

struct Field {
  const char* name;
  uint32_t in;  // The set that it belongs to.
  int word;
  BitField bits;
};

// Calls `visit(field, value)` for each but the address, which is a number of bytes. The one place
// that knows where a field lies.
template <typename CommandT, typename Visit>
void VisitFields(CommandT& command, const Visit& visit) {
  constexpr auto kFlag = [](int bit) { return BitField{bit, 1}; };
  visit(Field{"asid", kAsid, 0, kTlbiAsid}, command.asid);
  visit(Field{"vsid", kVsid, 0, kCommandStreamId}, command.vsid);
  visit(Field{"ssid", kSsid, 0, kCommandSsid}, command.ssid);
  visit(Field{"ssv", kSsv, 0, kFlag(11)}, command.ssv);
  visit(Field{"global", kGlobal, 0, kFlag(9)}, command.global);
  visit(Field{"range.num", kRange, 0, kTlbiNum}, command.range.num);
  visit(Field{"range.scale", kRange, 0, kTlbiScale}, command.range.scale);
  visit(Field{"range.ttl", kRange, 1, kTlbiTtl}, command.range.ttl);
  visit(Field{"range.tg", kRange, 1, kTlbiTg}, command.range.tg);
  visit(Field{"leaf", kLeaf, 1, kFlag(0)}, command.leaf);
  visit(Field{"size_log2", kSize, 1, kAtcSize}, command.size_log2);
}

struct Fields {
  uint32_t set = 0;
  bool command_allowed = true;
};

// What the command has on this hardware.
Fields FieldsOf(Opcode opcode, const GuestCommandCaps& caps) {
  const uint32_t ranges = caps.range_invalidation ? kRange : 0;
  const bool substreams = caps.ssid_bits != 0;
  switch (opcode) {
    case Opcode::kTlbiNsnhAll:
    case Opcode::kTlbiNhAll:
      return {};
    case Opcode::kTlbiNhAsid:
      return {kAsid};
    case Opcode::kTlbiNhVa:
      return {kAsid | kAddress | kLeaf | ranges};
    case Opcode::kTlbiNhVaa:
      return {kAddress | kLeaf | ranges};
    case Opcode::kAtcInv:
      return {kVsid | kAddress | kSize | (substreams ? kSsv | kSsid | kGlobal : 0), caps.ats};
    case Opcode::kCfgiCd:
      return {kVsid | kLeaf | (substreams ? kSsid : 0)};
    case Opcode::kCfgiCdAll:
      return {kVsid};
    default:
      return {0, false};
  }
}

bool CarriesVmid(Opcode opcode) {
  return opcode == Opcode::kTlbiNhAll || opcode == Opcode::kTlbiNhAsid ||
         opcode == Opcode::kTlbiNhVa || opcode == Opcode::kTlbiNhVaa;
}

Error Refusal(const char* reason, absl::string_view message, absl::string_view field,
              uint64_t value) {
  return Error(absl::StatusCode::kInvalidArgument, reason, message)
      .Errno("EIO")
      .Field(field)
      .Meta("value", Hex(value));
}

absl::Status CommandNotAllowed(Opcode opcode) {
  const auto code = static_cast<uint64_t>(opcode);
  return Refusal("GUEST_COMMAND_NOT_ALLOWED",
                 absl::StrFormat("a guest has no command 0x%02x (%s) here", code, NameOf(opcode)),
                 "opcode", code);
}

absl::Status FieldNotAllowed(Opcode opcode, const char* field, uint64_t value) {
  return Refusal("GUEST_COMMAND_FIELD_NOT_ALLOWED",
                 absl::StrFormat("%s has no %s here, but it is 0x%x", NameOf(opcode), field, value),
                 field, value);
}

absl::Status OutOfRange(const char* field, uint64_t value, uint64_t max) {
  return Refusal("GUEST_COMMAND_FIELD_OUT_OF_RANGE",
                 absl::StrFormat("%s is 0x%x; at most 0x%x", field, value, max), field, value);
}

uint64_t MaxOf(const Field& field, const GuestCommandCaps& caps) {
  if (field.in == kAsid) return (uint64_t{1} << caps.asid_bits) - 1;
  if (field.in == kSize) return kAtcWholeSpaceLog2;
  return field.bits.max();
}

absl::Status CheckAddress(const GuestCommand& command, uint32_t allowed) {
  if (command.address == 0) return absl::OkStatus();
  if ((allowed & kAddress) == 0) {
    return FieldNotAllowed(command.opcode, "address", command.address);
  }
  if ((command.address & ~kCommandAddressMask) == 0) return absl::OkStatus();
  return Refusal("GUEST_COMMAND_FIELD_OUT_OF_RANGE",
                 absl::StrFormat("address 0x%x is not a multiple of 4 KiB", command.address),
                 "address", command.address);
}

absl::Status CheckFields(const GuestCommand& command, uint32_t allowed,
                         const GuestCommandCaps& caps) {
  absl::Status status;
  VisitFields(command, [&](const Field& field, const auto& member) {
    const auto value = static_cast<uint64_t>(member);
    if (!status.ok() || value == 0) return;
    if ((allowed & field.in) == 0) {
      status = FieldNotAllowed(command.opcode, field.name, value);
    } else if (const uint64_t max = MaxOf(field, caps); value > max) {
      status = OutOfRange(field.name, value, max);
    }
  });
  if (status.ok()) status = CheckAddress(command, allowed);
  return status;
}

absl::Status RangeReserved(absl::string_view message, const char* field, uint32_t value) {
  return Refusal("GUEST_RANGE_RESERVED", message, field, value);
}

// Of values that fit.
absl::Status CheckRange(const GuestCommand::Range& range, const GuestCommandCaps& caps) {
  if (range.scale > kMaxShortScale && !caps.wide_addresses) {
    return OutOfRange("range.scale", range.scale, kMaxShortScale);
  }
  if (range.tg == 0) {
    constexpr absl::string_view kNoRange = "num, scale and ttl count for nothing without tg";
    if (range.num != 0) return RangeReserved(kNoRange, "range.num", range.num);
    if (range.scale != 0) return RangeReserved(kNoRange, "range.scale", range.scale);
    if (range.ttl != 0) return RangeReserved(kNoRange, "range.ttl", range.ttl);
    return absl::OkStatus();
  }
  const uint64_t granule_bytes = uint64_t{1} << (10 + 2 * range.tg);
  if ((caps.granules & granule_bytes) == 0) {
    return Refusal("GUEST_GRANULE_NOT_SUPPORTED",
                   absl::StrFormat("tg %d: the hardware has no tables of %d KiB", range.tg,
                                   granule_bytes / 1024),
                   "range.tg", range.tg);
  }
  const bool level_of_wide_addresses =
      range.ttl == 1 && range.tg == RangeGranuleCode(Granule::k16KiB);
  if (level_of_wide_addresses && !caps.wide_addresses) {
    return RangeReserved("tables of 16 KiB have no leaves at level 1 here", "range.ttl", range.ttl);
  }
  if (range.num == 0 && range.scale == 0 && range.ttl == 0) {
    return RangeReserved("tg with num, scale and ttl 0 is reserved", "range.tg", range.tg);
  }
  return absl::OkStatus();
}

Command Encode(const GuestCommand& command) {
  Command words = {kCommandOpcode.Put(static_cast<uint64_t>(command.opcode)), command.address};
  VisitFields(command, [&](const Field& field, const auto& member) {
    words[field.word] |= field.bits.Put(static_cast<uint64_t>(member));
  });
  return words;
}

}  // namespace

bool NamesStream(Opcode opcode) { return (FieldsOf(opcode, kEverything).set & kVsid) != 0; }

absl::StatusOr<GuestCommand> ParseGuestCommand(const Command& raw) {
  GuestCommand command;
  command.opcode = OpcodeOf(raw);
  const Fields allowed = FieldsOf(command.opcode, kEverything);
  if (!allowed.command_allowed) return CommandNotAllowed(command.opcode);
  Command rest = {raw[0] & ~kCommandOpcode.mask(), raw[1]};
  if (CarriesVmid(command.opcode)) rest[0] &= ~kTlbiVmid.mask();
  if ((allowed.set & kAddress) != 0) {
    command.address = raw[1] & kCommandAddressMask;
    rest[1] &= ~kCommandAddressMask;
  }
  VisitFields(command, [&](const Field& field, auto& member) {
    if ((allowed.set & field.in) == 0) return;
    member = static_cast<std::decay_t<decltype(member)>>(field.bits.Get(raw[field.word]));
    rest[field.word] &= ~field.bits.mask();
  });
  for (int word = 0; word < 2; ++word) {
    if (rest[word] == 0) continue;
    return Refusal("GUEST_COMMAND_FIELD_NOT_ALLOWED",
                   absl::StrFormat("word %d of %s sets bits of no field of it: 0x%x", word,
                                   NameOf(command.opcode), rest[word]),
                   absl::StrCat("cmd[", word, "]"), rest[word])
        .ToStatus();
  }
  return command;
}

absl::StatusOr<Command> MakePhysicalCommand(const GuestCommand& command,
                                            const GuestCommandTarget& target,
                                            const GuestCommandCaps& caps) {
  const Fields allowed = FieldsOf(command.opcode, caps);
  if (!allowed.command_allowed) return CommandNotAllowed(command.opcode);
  RETURN_IF_ERROR(CheckFields(command, allowed.set, caps));
  RETURN_IF_ERROR(CheckRange(command.range, caps));
  GuestCommand physical = command;
  if (NamesStream(command.opcode)) {
    if (!target.stream_id.has_value()) {
      return Refusal("VSID_UNKNOWN",
                     absl::StrFormat("no device of the guest has the stream id 0x%x", command.vsid),
                     "vsid", command.vsid)
          .ToStatus();
    }
    physical.vsid = *target.stream_id;
    return Encode(physical);
  }
  if (command.opcode == Opcode::kTlbiNsnhAll) physical.opcode = Opcode::kTlbiNhAll;
  Command words = Encode(physical);
  words[0] |= kTlbiVmid.Put(target.vmid);
  return words;
}

}  // namespace viommu::smmu
