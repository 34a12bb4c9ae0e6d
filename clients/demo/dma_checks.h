// clients/demo/dma_checks.h -- What a DMA must have done, judged from the answer alone.
#ifndef VIOMMU_CLIENTS_DEMO_DMA_CHECKS_H_
#define VIOMMU_CLIENTS_DEMO_DMA_CHECKS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "viommu/v1/simulation.pb.h"

namespace viommu {

// "at 0x1000: SPT.2, PASID-table entry not present".
std::string HowBlocked(const v1::DmaFault& fault);

// The fault that stopped a DMA at `iova` before any byte moved.
// kInternal: there was none, or it came later or elsewhere.
absl::StatusOr<v1::DmaFault> MustBeBlocked(const v1::DmaResponse& response, uint64_t iova);

// kInternal: `response` has a fault, or did fewer bytes than `length`.
absl::Status MustBeDone(const v1::DmaResponse& response, uint64_t length);

// kDataLoss: they differ; tells `what` and where.
absl::Status MustBeEqual(absl::string_view found, absl::string_view wanted, absl::string_view what);

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_DEMO_DMA_CHECKS_H_
