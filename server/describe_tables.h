// server/describe_tables.h -- What an operator sees of the hardware's tables, as the API's
// messages.
#ifndef VIOMMU_SERVER_DESCRIBE_TABLES_H_
#define VIOMMU_SERVER_DESCRIBE_TABLES_H_

#include "absl/functional/function_ref.h"
#include "engine/types.h"
#include "viommu/v1/simulation.pb.h"

namespace viommu {

// In one answer of ExportTables: 256 KiB of memory, some 100 KiB of anything else.
inline constexpr int kPagesInPart = 64;
inline constexpr int kRequestersInPart = 512;

v1::TableEntry Describe(const TableEntryDump& entry);
v1::TranslationExplanation Describe(const TranslationExplanation& explanation);

// Calls `take` with the answers that hold an image, in order, until it answers false.
void DescribeInParts(const TableImage& image,
                     absl::FunctionRef<bool(const v1::ExportTablesResponse&)> take);

}  // namespace viommu

#endif  // VIOMMU_SERVER_DESCRIBE_TABLES_H_
