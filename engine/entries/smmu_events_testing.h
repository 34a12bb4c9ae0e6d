// engine/entries/smmu_events_testing.h -- For tests: event records and page requests as hardware
// writes them.
#ifndef VIOMMU_ENGINE_ENTRIES_SMMU_EVENTS_TESTING_H_
#define VIOMMU_ENGINE_ENTRIES_SMMU_EVENTS_TESTING_H_

#include "engine/entries/smmu_events.h"

namespace viommu::smmu {

inline EventRecord EncodeEvent(const Event& event) {
  const auto flag = [](bool value, uint64_t bit) { return value ? bit : 0; };
  EventRecord record = {kEventId.Put(static_cast<uint64_t>(event.id)) |
                        kEventStreamId.Put(event.stream_id)};
  if (event.ssid.has_value()) record[0] |= kEventSsidValid | kEventSsid.Put(*event.ssid);
  record[1] = flag(event.stalled, kEventStall) | kEventStallTag.Put(event.stall_tag) |
              flag(event.privileged, kEventPrivileged) |
              flag(event.instruction, kEventInstruction) | flag(event.read, kEventRead) |
              flag(event.stage2, kEventStage2) |
              kEventClass.Put(static_cast<uint64_t>(event.reason)) |
              flag(event.table_read, kEventTableRead);
  record[2] = event.address;
  record[3] = event.ipa & kEventIpaMask;
  return record;
}

inline PageRequestRecord EncodePageRequest(const PageRequest& request) {
  const auto flag = [](bool value, uint64_t bit) { return value ? bit : 0; };
  PageRequestRecord record = {kPageRequestStreamId.Put(request.stream_id)};
  if (request.ssid.has_value()) {
    record[0] |= kPageRequestSsidValid | kPageRequestSsid.Put(*request.ssid);
  }
  record[0] |= flag(request.privileged, kPageRequestPrivileged) |
               flag(request.execute, kPageRequestExecute) | flag(request.read, kPageRequestRead) |
               flag(request.write, kPageRequestWrite) | flag(request.last, kPageRequestLast);
  record[1] = kPageRequestGroup.Put(request.group) | (request.address & kPageRequestAddressMask);
  return record;
}

}  // namespace viommu::smmu

#endif  // VIOMMU_ENGINE_ENTRIES_SMMU_EVENTS_TESTING_H_
