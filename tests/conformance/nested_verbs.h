// tests/conformance/nested_verbs.h -- Steps about nest parents, a guest's first stage, and watches.
#ifndef VIOMMU_TESTS_CONFORMANCE_NESTED_VERBS_H_
#define VIOMMU_TESTS_CONFORMANCE_NESTED_VERBS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "tests/conformance/case.h"
#include "viommu/v1/domain.pb.h"
#include "viommu/v1/watch.pb.h"

namespace viommu::conformance {

// ---- PAGING domains with flags ----
struct Flags {
  bool nest_parent = false;
  bool pasid = false;
  bool dirty_tracking = false;
  std::string fault_queue = {};
};
inline Flags ForPasids() { return {/*nest_parent=*/false, /*pasid=*/true}; }
Step NewPaging(const std::string& id, const std::string& ioas, const std::string& device,
               const Flags& flags);
Step NewParent(const std::string& id, const std::string& ioas, const std::string& device);

// ---- NESTED domains ----
// Of VT-d; behind an SMMUv3 NewNested makes those of a guest on its Viommu "v" that leaves `stage1`
// at no more than a table.
struct Stage1 {
  uint64_t table_address = 0;
  uint32_t address_width_bits = 48;
  bool supervisor_requests = false;
  bool write_protect = false;
  bool extended_accessed = false;
  bool pasid = false;  // Of the domain.
};
v1::Domain NestedOn(const std::string& parent, const std::string& device, const Stage1& stage1);
Step NewNested(const std::string& id, const std::string& parent, const std::string& device,
               const Stage1& stage1 = {});

// What a guest has to have before it has NESTED domains on a parent, with a first device, and what
// each other device has to have: behind an SMMUv3 a Viommu "v", and vdevices; nothing on VT-d.
inline constexpr uint64_t kFirstVirtualId = 0x11;
Step MakeRoomForGuest(const std::string& parent, const std::string& device);
Step Introduce(const std::string& device, uint64_t virtual_id);

// Where "r" is for a guest when all of it is mapped, and its tables in there.
inline constexpr uint64_t kGuestMemory = 0x10000000;
inline constexpr uint64_t kGuestTables = kGuestMemory + 0x10000;
// Region "r" over "a", a nest parent "p", and a NESTED domain "n" for a device that is claimed. The
// guest's tables let its address `kGuestPage` mean the region's page 2, which reads byte 3.
inline constexpr uint64_t kGuestPage = 0x5000;
std::vector<Step> Guest(const std::string& device, const Stage1& stage1 = {kGuestTables});
// Lets that address mean another page.
Step GuestMaps(int page);

// ---- Invalidation ----
struct Command {
  uint64_t address = 0;
  uint64_t page_count = 0;
  bool leaves_only = false;
};
Step Invalidate(const std::string& domain, const std::vector<Command>& commands);
// A command of an architecture that is not the domain's.
Step InvalidateAsArm(const std::string& domain);
// How many commands the last answer says were handled, and why the next was not: its error.
Step Handled(uint64_t commands);
Step HandledUntil(uint64_t commands, const Refusal& first_error);

// ---- Watches; each ends with the first sync ----
Step Watch(const v1::WatchRequest& request);
// Resumes in this boot, so many revisions above the last one.
Step Resume(int64_t above);

}  // namespace viommu::conformance

#endif  // VIOMMU_TESTS_CONFORMANCE_NESTED_VERBS_H_
