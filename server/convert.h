// server/convert.h -- Small values between the API and the engine.
#ifndef VIOMMU_SERVER_CONVERT_H_
#define VIOMMU_SERVER_CONVERT_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "engine/types.h"
#include "google/protobuf/timestamp.pb.h"
#include "viommu/v1/common.pb.h"
#include "viommu/v1/device.pb.h"
#include "viommu/v1/fault.pb.h"
#include "viommu/v1/host.pb.h"
#include "viommu/v1/ioas.pb.h"

namespace viommu {

// ---- Requests ----

// UNSPECIFIED gives `unspecified`.
// kInvalidArgument: INVALID_PERMISSION for NONE, UNKNOWN_ENUM_VALUE.
absl::StatusOr<Permission> ParsePermission(absl::string_view field, int value,
                                           Permission unspecified);

// kInvalidArgument: MISSING_FIELD for UNSPECIFIED.
absl::StatusOr<DefaultDomainType> ParseDefaultDomainType(absl::string_view field,
                                                         v1::DefaultDomainType type);
absl::StatusOr<DeviceHealth> ParseDeviceHealth(absl::string_view field, v1::DeviceHealth health);

// UNSPECIFIED gives kNone. kInvalidArgument: UNKNOWN_ENUM_VALUE.
absl::StatusOr<HealthReason> ParseHealthCause(absl::string_view field, v1::DeviceHealthCause cause);
// kInvalidArgument: UNKNOWN_ENUM_VALUE; kUnimplemented: MODE_NOT_SUPPORTED.
absl::StatusOr<IoasMode> ParseIoasMode(absl::string_view field, v1::IoasMode mode);

// What an answer to page faults says. kInvalidArgument: MISSING_FIELD for UNSPECIFIED,
// UNKNOWN_ENUM_VALUE.
absl::StatusOr<PageResponse> ParsePageResponse(absl::string_view field, v1::PageResponseCode code);

// The engine refuses first > last where it matters.
IovaRange ParseRange(const v1::IovaRange& range);

// kInvalidArgument: INVALID_LENGTH, not 1..kMaxAccessBytes.
absl::Status CheckAccessLength(absl::string_view field, uint64_t length_bytes);

// ---- Answers ----

v1::Permission ToProto(Permission permission);
v1::DefaultDomainType ToProto(DefaultDomainType type);
v1::DeviceHealth ToProto(DeviceHealth health);
v1::DeviceHealthCause ToProto(HealthReason cause);
v1::IoasMode ToProto(IoasMode mode);
v1::ObjectState StateToProto(bool suspended);
v1::DeviceOwnership ToProto(DeviceOwnership ownership);
v1::PasidState ToProto(PasidState state);
v1::ReservedRegionType ToProto(ReservedRegionType type);
v1::PageResponseCode ToProto(PageResponse response);
v1::IovaRange ToProto(const IovaRange& range);
v1::Transition ToProto(const Transition& transition);
google::protobuf::Timestamp ToProto(absl::Time time);

}  // namespace viommu

#endif  // VIOMMU_SERVER_CONVERT_H_
