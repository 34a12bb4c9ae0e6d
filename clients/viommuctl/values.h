// clients/viommuctl/values.h -- Numbers as operators write and read them.
//
// Addresses are hexadecimal where they are shown; decimal is understood. Sizes have the exact units
// K, M, G, T (1024 each). Nothing is rounded, and what does not fit in 64 bits is refused.
#ifndef VIOMMU_CLIENTS_VIOMMUCTL_VALUES_H_
#define VIOMMU_CLIENTS_VIOMMUCTL_VALUES_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "viommu/v1/common.pb.h"

namespace viommu {

// "0x40000000" or "1073741824".
// kInvalidArgument: something else, or above 2^64 - 1.
absl::StatusOr<uint64_t> ParseAddress(absl::string_view text);

// "4096", "0x1000", "4K", "2M", "1G", "1T"; also "4KiB".
// kInvalidArgument: something else, or above 2^64 - 1.
absl::StatusOr<uint64_t> ParseSize(absl::string_view text);

// A whole number from `least`.
// kInvalidArgument: something else, or above 2^31 - 1.
absl::StatusOr<int> ParseNumber(absl::string_view text, int least);

// "r", "w" or "rw".
// kInvalidArgument: something else.
absl::StatusOr<v1::Permission> ParsePermission(absl::string_view text);

// "FIRST-LAST", both included, or "FIRST+SIZE".
// kInvalidArgument: something else; the last address is below the first or above 2^64 - 1.
absl::StatusOr<v1::IovaRange> ParseRange(absl::string_view text);

// "500ms", "2s", "1m".
// kInvalidArgument: something else, or not above 0.
absl::StatusOr<absl::Duration> ParseDuration(absl::string_view text);

// "68656c6c6f", spaces allowed between bytes.
// kInvalidArgument: an odd number of digits, none, or something that is no digit.
absl::StatusOr<std::string> ParseHexBytes(absl::string_view text);

// "0x40000000".
std::string FormatAddress(uint64_t address);

// "1G", "12K", "100": in the largest unit that divides it, so that ParseSize gives it back.
std::string FormatSize(uint64_t bytes);

// "r", "w", "rw"; "-" for none of these.
std::string FormatPermission(v1::Permission permission);

// "[0x1000, 0x1fff]".
std::string FormatRange(uint64_t first, uint64_t last);

// `data` as lines of "ADDRESS  HEX  |TEXT|", 16 bytes each, addresses from `first`.
std::string HexDump(uint64_t first, absl::string_view data);

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_VIOMMUCTL_VALUES_H_
