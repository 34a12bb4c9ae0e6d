// engine/backend/soft/smmu_table_dump.h -- The table entries on the path of one request through an
// SMMUv3, and why the path ends, put into words for an operator.
//
// As table_dump.h for VT-d: which entries those are says the hardware model, by a cold look; what
// they say, the side that writes them, and beside that their fields by the specifications' names.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_SMMU_TABLE_DUMP_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_SMMU_TABLE_DUMP_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/backend/soft/hardware/smmu_event.h"
#include "engine/backend/soft/hardware/smmu_model.h"
#include "engine/backend/soft/physical_memory.h"
#include "engine/backend/table_view.h"
#include "engine/base/address.h"

namespace viommu {

// A stream of a unit, and the SubstreamID that it sends; none: requests without.
struct DumpedStream {
  const hardware::SmmuModel& hardware;
  const PhysicalMemory& memory;  // Of the hardware.
  uint32_t stream_id = 0;
  std::optional<uint32_t> substream_id;
};

// From the stream table down to the page of `iova`, or to the entry that ends the way, for a read
// or a write, whichever gets further. Where a guest's stage 1 stands on a stage 2, its context
// descriptor and each of its descriptors come behind the stage 2 ones that lead to them.
std::vector<TableEntryDump> DumpPath(const DumpedStream& stream, Iova iova);

// What becomes of an access to one byte: what a DMA would meet if no cache held anything.
TranslationExplanation ExplainPath(const DumpedStream& stream, Iova iova, bool write);

// The event's name and its words; "ABORTED" when the unit says nothing.
std::pair<std::string, std::string> NameAndWordsOf(const hardware::smmu::Event& event);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_SMMU_TABLE_DUMP_H_
