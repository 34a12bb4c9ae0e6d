#include "engine/backend/viommus.h"

namespace viommu {
namespace {

// Arm SMMUv3 7.3: where the fields of an event record are.
constexpr int kSubstreamValid = 11;  // Word 0.
constexpr int kSubstreamId = 12;     // Word 0, 31:12.
constexpr int kStreamId = 32;        // Word 0, 63:32.
constexpr int kPrivileged = 33;      // Word 1.
constexpr int kInstruction = 34;     // Word 1.
constexpr int kRead = 35;            // Word 1.
constexpr int kAccessClass = 40;     // Word 1, 41:40.
constexpr uint32_t kSubstreamBits = 0xfffff;

}  // namespace

std::array<uint64_t, 4> RecordOf(const ArmSmmuV3Event& event) {
  return {uint64_t{event.id} | uint64_t{event.substream_valid} << kSubstreamValid |
              uint64_t{event.substream_id & kSubstreamBits} << kSubstreamId |
              uint64_t{event.stream_id} << kStreamId,
          uint64_t{event.privileged} << kPrivileged | uint64_t{event.instruction} << kInstruction |
              uint64_t{event.read} << kRead | uint64_t{event.access_class & 3u} << kAccessClass,
          event.address, 0};
}

}  // namespace viommu
