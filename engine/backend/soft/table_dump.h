// engine/backend/soft/table_dump.h -- The table entries on the path of one request, read from
// memory as they are now and put into words for an operator.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_TABLE_DUMP_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_TABLE_DUMP_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/backend/soft/physical_memory.h"
#include "engine/base/address.h"

namespace viommu {

// From the root entry in `root_table` down to the page of `iova`, or to the first entry that is not
// present, for a request with `pasid` or (none) without. Where a guest's table can not be reached,
// the second-stage entries on the way to it come last. Reads word by word and takes no lock but the
// memory's: entries that change meanwhile may be shown half old, half new.
std::vector<TableEntryDump> DumpPath(const PhysicalMemory& memory, PhysAddr root_table,
                                     uint16_t source_id, std::optional<uint32_t> pasid, Iova iova);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_TABLE_DUMP_H_
