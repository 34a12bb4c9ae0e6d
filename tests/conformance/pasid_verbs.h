// tests/conformance/pasid_verbs.h -- Steps about PASIDs, auto domains and resets.
#ifndef VIOMMU_TESTS_CONFORMANCE_PASID_VERBS_H_
#define VIOMMU_TESTS_CONFORMANCE_PASID_VERBS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "tests/conformance/case.h"

namespace viommu::conformance {

// ---- Attachments of one PASID ----
Step AttachPasid(const std::string& device, uint32_t pasid, const std::string& domain);
Step ReplacePasid(const std::string& device, uint32_t pasid, const std::string& domain);
Step DetachPasid(const std::string& device, uint32_t pasid);
// As Reads and Faults of verbs.h, for requests with that PASID.
Step PasidReads(const std::string& device, uint32_t pasid, uint64_t iova, int byte);
Step PasidFaults(const std::string& device, uint32_t pasid, uint64_t iova);

// ---- Attachments to an address space, that is to an auto domain of it ----
Step AttachTo(const std::string& device, const std::string& ioas,
              std::optional<uint32_t> pasid = {});
Step ReplaceTo(const std::string& device, const std::string& ioas,
               std::optional<uint32_t> pasid = {});
// The domains that all AttachTo and ReplaceTo of the case answered, in order, "a" the first of
// them, "b" the first other one: "aba".
Step Picked(const std::string& domains);
// The domain that the index-th of them answered.
Step GetPicked(size_t index);
Step DeletePicked(size_t index);
Step PickedSays(size_t index, const std::string& text);

// ---- The table of PASIDs ----
struct PasidRange {
  std::optional<uint32_t> min = {};
  std::optional<uint32_t> max = {};
  std::string label = {};
};
Step AllocatePasid(const std::string& device, const PasidRange& range = {});
Step ReservePasid(const std::string& device, std::optional<uint32_t> pasid,
                  const std::string& label = "");
Step FreePasid(const std::string& device, std::optional<uint32_t> pasid);
// All that are taken of the device's group, with what they are taken for: "1:attached 5:reserved".
Step Taken(const std::string& device, const std::string& pasids);

// ---- Resets ----
Step Reset(const std::string& device);

}  // namespace viommu::conformance

#endif  // VIOMMU_TESTS_CONFORMANCE_PASID_VERBS_H_
