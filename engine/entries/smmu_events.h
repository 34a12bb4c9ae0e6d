// engine/entries/smmu_events.h -- Arm SMMUv3 event records and page requests as software reads
// them.
//
// Layouts: Arm IHI 0070 7.3 and 8.1, and the kernel's arm-smmu-v3.h EVTQ_*, PRIQ_*
// (iommufd-semantics.md 17.9). What a guest is told: section 12.3.
#ifndef VIOMMU_ENGINE_ENTRIES_SMMU_EVENTS_H_
#define VIOMMU_ENGINE_ENTRIES_SMMU_EVENTS_H_

#include <array>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "engine/base/address.h"
#include "engine/entries/smmu_fields.h"

namespace viommu::smmu {

using EventRecord = std::array<uint64_t, 4>;
using PageRequestRecord = std::array<uint64_t, 2>;

// --- Event record. Word 0.
inline constexpr BitField kEventId{0, 8};
inline constexpr uint64_t kEventSsidValid = Bit(11);  // SSV.
inline constexpr BitField kEventSsid{12, 20};
inline constexpr BitField kEventStreamId{32, 32};
// Word 1.
inline constexpr BitField kEventStallTag{0, 16};  // STAG.
inline constexpr uint64_t kEventStall = Bit(31);
inline constexpr uint64_t kEventPrivileged = Bit(33);   // PnU.
inline constexpr uint64_t kEventInstruction = Bit(34);  // InD.
inline constexpr uint64_t kEventRead = Bit(35);         // RnW.
inline constexpr uint64_t kEventStage2 = Bit(39);       // S2.
inline constexpr BitField kEventClass{40, 2};
inline constexpr uint64_t kEventTableRead = Bit(44);  // TT_READ.
// Word 2 is the address; word 3:
inline constexpr uint64_t kEventIpaMask = Bits(51, 12);

// Which event; there are others.
enum class EventId : uint8_t {
  kBadStreamId = 0x02,
  kSteFetch = 0x03,
  kBadSte = 0x04,
  kStreamDisabled = 0x06,
  kBadSubstreamId = 0x08,
  kCdFetch = 0x09,
  kBadCd = 0x0a,
  kTranslation = 0x10,
  kAddressSize = 0x11,
  kAccess = 0x12,
  kPermission = 0x13,
  kVmsFetch = 0x25,
};

// What the walk was for.
enum class EventClass : uint8_t {
  kCd = 0,           // To fetch a CD.
  kTable = 1,        // To fetch a word of a first-stage table.
  kTransaction = 2,  // For the request itself.
};

struct Event {
  EventId id = EventId::kBadStreamId;
  uint32_t stream_id = 0;
  absl::optional<uint32_t> ssid;
  // The next are only of translation, address size, access and permission faults.
  bool stalled = false;  // The request waits for a RESUME with
  uint16_t stall_tag = 0;
  bool privileged = false;
  bool instruction = false;
  bool read = false;
  bool stage2 = false;  // The second stage refused; `ipa` is what it was asked for.
  EventClass reason = EventClass::kCd;
  bool table_read = false;
  Iova address = 0;
  uint64_t ipa = 0;
};

Event DecodeEvent(const EventRecord& record);

// The architecture's: "F_TRANSLATION", "C_BAD_STE"; "unknown" of an id not listed above.
absl::string_view NameOf(EventId id);
std::string DescribeEvent(const Event& event);

// Whether the event is the business of the guest whose entry the stream has: the guest's tables or
// entry are wrong. What the second stage refused is the host's; what stalls is answered elsewhere.
bool GuestGets(const Event& event);
// The record that the guest reads: with its own id for the stream.
EventRecord GuestEventRecord(const EventRecord& record, uint32_t virtual_stream_id);

// --- Page request (PRI). Word 0.
inline constexpr BitField kPageRequestStreamId{0, 32};
inline constexpr BitField kPageRequestSsid{32, 20};
inline constexpr uint64_t kPageRequestPrivileged = Bit(58);
inline constexpr uint64_t kPageRequestExecute = Bit(59);
inline constexpr uint64_t kPageRequestRead = Bit(60);
inline constexpr uint64_t kPageRequestWrite = Bit(61);
inline constexpr uint64_t kPageRequestLast = Bit(62);
inline constexpr uint64_t kPageRequestSsidValid = Bit(63);
// Word 1.
inline constexpr BitField kPageRequestGroup{0, 9};  // PRG.
inline constexpr uint64_t kPageRequestAddressMask = Bits(63, 12);

struct PageRequest {
  uint32_t stream_id = 0;
  absl::optional<uint32_t> ssid;
  bool privileged = false;
  bool execute = false;
  bool read = false;
  bool write = false;
  bool last = false;  // Of its group: an answer is due, unless it asks for nothing (a stop marker).
  uint16_t group = 0;  // 0..511
  Iova address = 0;
};

PageRequest DecodePageRequest(const PageRequestRecord& record);

}  // namespace viommu::smmu

#endif  // VIOMMU_ENGINE_ENTRIES_SMMU_EVENTS_H_
