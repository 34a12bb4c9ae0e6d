#include "engine/entries/smmu_events.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace viommu::smmu {
namespace {

bool IsTranslationFault(EventId id) {
  return id >= EventId::kTranslation && id <= EventId::kPermission;
}

const char* NameOf(EventClass reason) {
  switch (reason) {
    case EventClass::kCd:
      return "while fetching a CD";
    case EventClass::kTable:
      return "while walking the first stage";
    case EventClass::kTransaction:
      return "for the request";
  }
  return "for a reserved reason";
}

std::string DescribeFault(const Event& event) {
  std::string text =
      absl::StrFormat(", %s%s at 0x%x, stage %d, %s", event.privileged ? "privileged " : "",
                      event.instruction ? "fetch"
                      : event.read      ? "read"
                                        : "write",
                      event.address, event.stage2 ? 2 : 1, NameOf(event.reason));
  if (event.stage2) absl::StrAppend(&text, ", intermediate address ", Hex(event.ipa));
  if (event.stalled) absl::StrAppend(&text, ", stalled with tag ", event.stall_tag);
  return text;
}

}  // namespace

Event DecodeEvent(const EventRecord& record) {
  Event event;
  event.id = EventId(kEventId.Get(record[0]));
  event.stream_id = static_cast<uint32_t>(kEventStreamId.Get(record[0]));
  if ((record[0] & kEventSsidValid) != 0) {
    event.ssid = static_cast<uint32_t>(kEventSsid.Get(record[0]));
  }
  if (!IsTranslationFault(event.id)) return event;
  event.stalled = (record[1] & kEventStall) != 0;
  event.stall_tag = static_cast<uint16_t>(kEventStallTag.Get(record[1]));
  event.privileged = (record[1] & kEventPrivileged) != 0;
  event.instruction = (record[1] & kEventInstruction) != 0;
  event.read = (record[1] & kEventRead) != 0;
  event.stage2 = (record[1] & kEventStage2) != 0;
  event.reason = EventClass(kEventClass.Get(record[1]));
  event.table_read = (record[1] & kEventTableRead) != 0;
  event.address = record[2];
  event.ipa = record[3] & kEventIpaMask;
  return event;
}

absl::string_view NameOf(EventId id) {
  switch (id) {
    case EventId::kBadStreamId:
      return "C_BAD_STREAMID";
    case EventId::kSteFetch:
      return "F_STE_FETCH";
    case EventId::kBadSte:
      return "C_BAD_STE";
    case EventId::kStreamDisabled:
      return "F_STREAM_DISABLED";
    case EventId::kBadSubstreamId:
      return "C_BAD_SUBSTREAMID";
    case EventId::kCdFetch:
      return "F_CD_FETCH";
    case EventId::kBadCd:
      return "C_BAD_CD";
    case EventId::kTranslation:
      return "F_TRANSLATION";
    case EventId::kAddressSize:
      return "F_ADDR_SIZE";
    case EventId::kAccess:
      return "F_ACCESS";
    case EventId::kPermission:
      return "F_PERMISSION";
    case EventId::kVmsFetch:
      return "F_VMS_FETCH";
  }
  return "unknown";
}

std::string DescribeEvent(const Event& event) {
  std::string text = absl::StrFormat("%s (0x%02x), stream 0x%x", NameOf(event.id),
                                     static_cast<int>(event.id), event.stream_id);
  if (event.ssid.has_value()) absl::StrAppend(&text, ", SSID ", *event.ssid);
  if (IsTranslationFault(event.id)) absl::StrAppend(&text, DescribeFault(event));
  return text;
}

bool GuestGets(const Event& event) {
  switch (event.id) {
    case EventId::kBadSte:
    case EventId::kStreamDisabled:
    case EventId::kBadSubstreamId:
    case EventId::kBadCd:
    case EventId::kTranslation:
    case EventId::kAddressSize:
    case EventId::kAccess:
    case EventId::kPermission:
      return !event.stage2 && !event.stalled;
    default:
      return false;
  }
}

EventRecord GuestEventRecord(const EventRecord& record, uint32_t virtual_stream_id) {
  EventRecord guest = record;
  guest[0] = (record[0] & ~kEventStreamId.mask()) | kEventStreamId.Put(virtual_stream_id);
  return guest;
}

PageRequest DecodePageRequest(const PageRequestRecord& record) {
  PageRequest request;
  request.stream_id = static_cast<uint32_t>(kPageRequestStreamId.Get(record[0]));
  if ((record[0] & kPageRequestSsidValid) != 0) {
    request.ssid = static_cast<uint32_t>(kPageRequestSsid.Get(record[0]));
  }
  request.privileged = (record[0] & kPageRequestPrivileged) != 0;
  request.execute = (record[0] & kPageRequestExecute) != 0;
  request.read = (record[0] & kPageRequestRead) != 0;
  request.write = (record[0] & kPageRequestWrite) != 0;
  request.last = (record[0] & kPageRequestLast) != 0;
  request.group = static_cast<uint16_t>(kPageRequestGroup.Get(record[1]));
  request.address = record[1] & kPageRequestAddressMask;
  return request;
}

}  // namespace viommu::smmu
