// engine/backend/soft/hardware/smmu_event.h -- What an SMMUv3 reports about a request that it did
// not let pass: the kinds of events and their records.
//
// Sources: Arm IHI 0070 7.3 (event records); ids as Linux arm-smmu-v3.h EVT_ID_*.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_EVENT_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_EVENT_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>

namespace viommu::hardware::smmu {

enum EventId : uint8_t {
  kNoEvent = 0x00,
  kUnsupportedTransaction = 0x01,    // F_UUT
  kBadStreamId = 0x02,               // C_BAD_STREAMID
  kSteFetch = 0x03,                  // F_STE_FETCH
  kBadSte = 0x04,                    // C_BAD_STE
  kBadAtsTranslationRequest = 0x05,  // F_BAD_ATS_TREQ
  kStreamDisabled = 0x06,            // F_STREAM_DISABLED
  kTranslatedForbidden = 0x07,       // F_TRANSL_FORBIDDEN
  kBadSubstreamId = 0x08,            // C_BAD_SUBSTREAMID
  kCdFetch = 0x09,                   // F_CD_FETCH
  kBadCd = 0x0a,                     // C_BAD_CD
  kWalkAbort = 0x0b,                 // F_WALK_EABT
  kTranslationFault = 0x10,          // F_TRANSLATION
  kAddressSizeFault = 0x11,          // F_ADDR_SIZE
  kAccessFault = 0x12,               // F_ACCESS
  kPermissionFault = 0x13,           // F_PERMISSION
};

// What the request was doing when a fault met it (CLASS).
enum class EventClass : uint8_t {
  kCd = 0,     // Fetching a CD or a table of CDs, through stage 2.
  kTable = 1,  // Fetching a stage 1 table entry, through stage 2.
  kInput = 2,  // The address that it came with.
};

// An event, or that there is none (id 0). Fields that its kind does not have are 0.
struct Event {
  EventId id = kNoEvent;
  uint32_t stream_id = 0;
  std::optional<uint32_t> substream_id;  // SSV, SSID
  bool stalled = false;                  // STALL: the request waits for a RESUME with `stall_tag`.
  uint16_t stall_tag = 0;                // STAG
  bool privileged = false;               // PnU
  bool instruction = false;              // InD
  bool read = false;                     // RnW
  bool stage2 = false;                   // S2
  EventClass event_class = EventClass::kCd;
  bool table_read = false;  // TTRnW: of a stage 1 table, read and not marked.
  uint64_t address = 0;     // InputAddr
  // 0x10 to 0x13 with S2: the IPA of the page. 0x03, 0x09, 0x0b: the address fetched.
  uint64_t second_address = 0;
  bool recorded = true;  // CD.R and STE.S2R do not silence it.
  // The request completes as if it were harmless instead of with an abort (CD.A of 0): a read is 0,
  // a write ignored.
  bool reads_zero = false;
  // Without an event (id 0): ended all the same, as what an abort STE does.
  bool terminated = false;

  bool none() const { return id == kNoEvent && !terminated; }
};

// The 32 bytes in the event queue.
std::array<uint64_t, 4> EncodeEvent(const Event& event);

// "F_TRANSLATION" and so on; "0x3f" for what is no event.
std::string EventName(uint8_t id);

// Whether a request that stalls instead of ending may have met it: 0x10 to 0x13.
inline bool MayStall(EventId id) { return id >= kTranslationFault && id <= kPermissionFault; }

}  // namespace viommu::hardware::smmu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_EVENT_H_
