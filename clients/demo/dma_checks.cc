#include "clients/demo/dma_checks.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace viommu {

std::string HowBlocked(const v1::DmaFault& fault) {
  return absl::StrCat("at ", fault.iova_text(), ": ", fault.reason(), ", ", fault.description());
}

absl::StatusOr<v1::DmaFault> MustBeBlocked(const v1::DmaResponse& response, uint64_t iova) {
  if (!response.has_fault()) return absl::InternalError("a DMA was not blocked");
  if (response.bytes_done() == 0 && response.fault().iova() == iova) return response.fault();
  return absl::InternalError(absl::StrCat("a DMA at 0x", absl::Hex(iova), " was blocked after ",
                                          response.bytes_done(), " bytes ",
                                          HowBlocked(response.fault())));
}

absl::Status MustBeDone(const v1::DmaResponse& response, uint64_t length) {
  if (response.has_fault()) {
    return absl::InternalError(absl::StrCat("a DMA was blocked ", HowBlocked(response.fault())));
  }
  if (response.bytes_done() == length) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat("a DMA of ", length, " bytes did ", response.bytes_done()));
}

absl::Status MustBeEqual(absl::string_view found, absl::string_view wanted,
                         absl::string_view what) {
  if (found == wanted) return absl::OkStatus();
  const auto differ = std::mismatch(found.begin(), found.end(), wanted.begin(), wanted.end());
  return absl::DataLossError(
      absl::StrCat(what, " is wrong from byte ", differ.first - found.begin(), " on"));
}

}  // namespace viommu
