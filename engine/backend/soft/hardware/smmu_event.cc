#include "engine/backend/soft/hardware/smmu_event.h"

#include "absl/strings/str_format.h"
#include "engine/backend/soft/hardware/smmu_spec.h"

namespace viommu::hardware::smmu {
namespace {

// Of the first word, and of the second.
constexpr uint64_t kSubstreamValid = Bit(11);  // SSV
constexpr uint64_t kStall = Bit(31);
constexpr uint64_t kPrivileged = Bit(33);   // PnU
constexpr uint64_t kInstruction = Bit(34);  // InD
constexpr uint64_t kRead = Bit(35);         // RnW
constexpr uint64_t kStage2 = Bit(39);       // S2
constexpr uint64_t kTableRead = Bit(44);    // TTRnW
constexpr uint64_t kPageAddress = Bits(51, 12);
constexpr uint64_t kFetchAddress = Bits(55, 3);

bool HasInput(EventId id) {
  return MayStall(id) || id == kWalkAbort || id == kTranslatedForbidden ||
         id == kBadAtsTranslationRequest;
}

uint64_t SyndromeOf(const Event& event) {
  uint64_t word = event.read ? kRead : 0;
  if (event.id == kTranslatedForbidden || event.id == kBadAtsTranslationRequest) return word;
  word |= (event.privileged ? kPrivileged : 0) | (event.instruction ? kInstruction : 0);
  word |= (event.stage2 ? kStage2 : 0) | uint64_t{static_cast<uint8_t>(event.event_class)} << 40;
  if (event.stage2 && event.table_read) word |= kTableRead;
  if (event.stalled) word |= kStall | event.stall_tag;
  return word;
}

}  // namespace

std::array<uint64_t, 4> EncodeEvent(const Event& event) {
  std::array<uint64_t, 4> words = {event.id | uint64_t{event.stream_id} << 32, 0, 0, 0};
  if (event.substream_id.has_value()) {
    words[0] |= kSubstreamValid | (uint64_t{*event.substream_id} & 0xfffff) << 12;
  }
  if (HasInput(event.id)) {
    words[1] = SyndromeOf(event);
    words[2] = event.address;
  }
  words[3] = event.second_address & (MayStall(event.id) ? kPageAddress : kFetchAddress);
  return words;
}

std::string EventName(uint8_t id) {
  switch (id) {
    case kUnsupportedTransaction:
      return "F_UUT";
    case kBadStreamId:
      return "C_BAD_STREAMID";
    case kSteFetch:
      return "F_STE_FETCH";
    case kBadSte:
      return "C_BAD_STE";
    case kBadAtsTranslationRequest:
      return "F_BAD_ATS_TREQ";
    case kStreamDisabled:
      return "F_STREAM_DISABLED";
    case kTranslatedForbidden:
      return "F_TRANSL_FORBIDDEN";
    case kBadSubstreamId:
      return "C_BAD_SUBSTREAMID";
    case kCdFetch:
      return "F_CD_FETCH";
    case kBadCd:
      return "C_BAD_CD";
    case kWalkAbort:
      return "F_WALK_EABT";
    case kTranslationFault:
      return "F_TRANSLATION";
    case kAddressSizeFault:
      return "F_ADDR_SIZE";
    case kAccessFault:
      return "F_ACCESS";
    case kPermissionFault:
      return "F_PERMISSION";
  }
  return absl::StrFormat("0x%02x", id);
}

}  // namespace viommu::hardware::smmu
