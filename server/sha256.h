// server/sha256.h -- One hash function, for what must be the same when a call is repeated.
#ifndef VIOMMU_SERVER_SHA256_H_
#define VIOMMU_SERVER_SHA256_H_

#include <string>

#include "absl/strings/string_view.h"

namespace viommu {

// The 32 bytes of SHA-256 (FIPS 180-4) over `bytes`.
std::string Sha256(absl::string_view bytes);

}  // namespace viommu

#endif  // VIOMMU_SERVER_SHA256_H_
