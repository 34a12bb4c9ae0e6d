// engine/backend/soft/table_dump.h -- The table entries on the path of one request through a VT-d
// unit, and why the path ends, put into words for an operator.
//
// Which entries those are says the hardware model, which looks at them as a device without any
// cache would make it; what they say, the side that writes them. Nothing is cached, marked, counted
// or recorded. Entries that change meanwhile may be shown half old, half new.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_TABLE_DUMP_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_TABLE_DUMP_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/backend/soft/hardware/vtd_model.h"
#include "engine/backend/soft/physical_memory.h"
#include "engine/backend/table_view.h"
#include "engine/base/address.h"

namespace viommu {

// A function behind a unit, and the PASID that it sends; none: requests without PASID.
struct DumpedRequester {
  const hardware::VtdModel& hardware;
  const PhysicalMemory& memory;  // Of the hardware.
  uint16_t source_id = 0;
  std::optional<uint32_t> pasid;
};

// From the root entry down to the page of `iova`, or to the entry that ends the way, for a read or
// a write, whichever gets further. Under nesting each entry of the first stage comes behind the
// second-stage entries that lead to it, and those that lead to the page come last.
std::vector<TableEntryDump> DumpPath(const DumpedRequester& requester, Iova iova);

// What becomes of an access to one byte: what a DMA would meet if no cache held anything.
TranslationExplanation ExplainPath(const DumpedRequester& requester, Iova iova, bool write);

// "SPT.2: PASID-table entry not present" as its name and its words.
std::pair<std::string, std::string> SplitFaultName(uint8_t code);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_TABLE_DUMP_H_
