// tests/conformance/fault_verbs.h -- Steps about fault queues, page faults and their answers.
#ifndef VIOMMU_TESTS_CONFORMANCE_FAULT_VERBS_H_
#define VIOMMU_TESTS_CONFORMANCE_FAULT_VERBS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tests/conformance/case.h"
#include "viommu/v1/fault.pb.h"

namespace viommu::conformance {

inline constexpr v1::PageResponseCode kSuccess = v1::PAGE_RESPONSE_CODE_SUCCESS;
inline constexpr v1::PageResponseCode kInvalid = v1::PAGE_RESPONSE_CODE_INVALID;

// ---- Queues ----
std::string Queue(const std::string& id);
Step NewQueue(const std::string& id, uint32_t depth = 4);
Step GetQueue(const std::string& id);
Step DeleteQueue(const std::string& id);
// So many groups wait in "q".
Step Waiting(int groups);

// ---- Faults ----
// Asks for a page, with group 7; waits for the answer unless there is `more`. What stalls makes an
// access, with a group that the machine numbers.
Step Ask(const std::string& device, uint64_t iova, std::optional<uint32_t> pasid = {},
         bool more = false);
// The last thing that the device was told of its group 7.
Step Told(const std::string& device, v1::PageResponseCode code);
// The last thing that became of what stalled.
Step Resumed(const std::string& device, v1::PageResponseCode code);

// ---- Answers to what waits in "q" ----
struct Response {
  uint32_t cookie;
  v1::PageResponseCode code;
};
Step RespondAll(const std::vector<Response>& responses);
Step Respond(uint32_t cookie, v1::PageResponseCode code);

}  // namespace viommu::conformance

#endif  // VIOMMU_TESTS_CONFORMANCE_FAULT_VERBS_H_
