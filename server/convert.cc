#include "server/convert.h"

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"

namespace viommu {
namespace {

absl::Status Missing(absl::string_view field) {
  return Error(absl::StatusCode::kInvalidArgument, "MISSING_FIELD",
               absl::StrCat(field, " is required"))
      .Errno("EINVAL")
      .Field(field);
}

absl::Status UnknownEnumValue(absl::string_view field, int value) {
  return Error(absl::StatusCode::kInvalidArgument, "UNKNOWN_ENUM_VALUE",
               absl::StrCat(field, ": ", value, " is not known"))
      .Errno("EINVAL")
      .Field(field);
}

}  // namespace

absl::StatusOr<Permission> ParsePermission(absl::string_view field, int value,
                                           Permission unspecified) {
  switch (value) {
    case v1::PERMISSION_UNSPECIFIED:
      return unspecified;
    case v1::PERMISSION_READ:
      return Permission::kRead;
    case v1::PERMISSION_WRITE:
      return Permission::kWrite;
    case v1::PERMISSION_READ_WRITE:
      return Permission::kReadWrite;
    case v1::PERMISSION_NONE:
      return Error(absl::StatusCode::kInvalidArgument, "INVALID_PERMISSION",
                   absl::StrCat(field, ": PERMISSION_NONE grants nothing"))
          .Errno("EINVAL")
          .Field(field)
          .ToStatus();
    default:
      return UnknownEnumValue(field, value);
  }
}

absl::StatusOr<DefaultDomainType> ParseDefaultDomainType(absl::string_view field,
                                                         v1::DefaultDomainType type) {
  switch (type) {
    case v1::DEFAULT_DOMAIN_TYPE_UNSPECIFIED:
      return Missing(field);
    case v1::DEFAULT_DOMAIN_TYPE_IDENTITY:
      return DefaultDomainType::kIdentity;
    case v1::DEFAULT_DOMAIN_TYPE_DMA:
      return DefaultDomainType::kDma;
    case v1::DEFAULT_DOMAIN_TYPE_DMA_FQ:
      return DefaultDomainType::kDmaFq;
    default:
      return UnknownEnumValue(field, type);
  }
}

absl::StatusOr<DeviceHealth> ParseDeviceHealth(absl::string_view field, v1::DeviceHealth health) {
  switch (health) {
    case v1::DEVICE_HEALTH_UNSPECIFIED:
      return Missing(field);
    case v1::DEVICE_HEALTH_HEALTHY:
      return DeviceHealth::kHealthy;
    case v1::DEVICE_HEALTH_UNHEALTHY:
      return DeviceHealth::kUnhealthy;
    default:
      return UnknownEnumValue(field, health);
  }
}

absl::StatusOr<HealthReason> ParseHealthCause(absl::string_view field,
                                              v1::DeviceHealthCause cause) {
  switch (cause) {
    case v1::DEVICE_HEALTH_CAUSE_UNSPECIFIED:
      return HealthReason::kNone;
    case v1::DEVICE_HEALTH_CAUSE_INJECTED:
      return HealthReason::kInjected;
    case v1::DEVICE_HEALTH_CAUSE_RESET_FAILED:
      return HealthReason::kResetFailed;
    case v1::DEVICE_HEALTH_CAUSE_INVALIDATION_FAILED:
      return HealthReason::kInvalidationFailed;
    case v1::DEVICE_HEALTH_CAUSE_UNPLUG_FAILED:
      return HealthReason::kUnplugFailed;
    case v1::DEVICE_HEALTH_CAUSE_STATE_LOST:
      return HealthReason::kStateLost;
    default:
      return UnknownEnumValue(field, cause);
  }
}

absl::StatusOr<PageResponse> ParsePageResponse(absl::string_view field, v1::PageResponseCode code) {
  switch (code) {
    case v1::PAGE_RESPONSE_CODE_UNSPECIFIED:
      return Missing(field);
    case v1::PAGE_RESPONSE_CODE_SUCCESS:
      return PageResponse::kSuccess;
    case v1::PAGE_RESPONSE_CODE_INVALID:
      return PageResponse::kInvalid;
    case v1::PAGE_RESPONSE_CODE_FAILURE:
      return PageResponse::kFailure;
    default:
      return UnknownEnumValue(field, code);
  }
}

absl::StatusOr<IoasMode> ParseIoasMode(absl::string_view field, v1::IoasMode mode) {
  switch (mode) {
    case v1::IOAS_MODE_UNSPECIFIED:
    case v1::IOAS_MODE_NATIVE:
      return IoasMode::kNative;
    case v1::IOAS_MODE_VFIO_TYPE1:
      return IoasMode::kVfioType1;
    case v1::IOAS_MODE_VFIO_TYPE1V2:
      return IoasMode::kVfioType1v2;
    case v1::IOAS_MODE_PROCESS:
      return IoasMode::kProcess;
    case v1::IOAS_MODE_VFIO_TYPE1_NESTING:
      return Error(absl::StatusCode::kUnimplemented, "MODE_NOT_SUPPORTED",
                   absl::StrCat(field,
                                ": there is no VFIO nesting type; a nest parent is a kind of "
                                "domain"))
          .Errno("EOPNOTSUPP")
          .Field(field)
          .ToStatus();
    default:
      return UnknownEnumValue(field, mode);
  }
}

IovaRange ParseRange(const v1::IovaRange& range) { return IovaRange{range.first(), range.last()}; }

absl::Status CheckAccessLength(absl::string_view field, uint64_t length_bytes) {
  if (length_bytes >= 1 && length_bytes <= kMaxAccessBytes) return absl::OkStatus();
  return Error(
             absl::StatusCode::kInvalidArgument, "INVALID_LENGTH",
             absl::StrCat(field, ": ", length_bytes, " bytes, but 1 to ", kMaxAccessBytes, " fit"))
      .Errno("EINVAL")
      .Field(field);
}

v1::Permission ToProto(Permission permission) {
  switch (permission) {
    case Permission::kRead:
      return v1::PERMISSION_READ;
    case Permission::kWrite:
      return v1::PERMISSION_WRITE;
    case Permission::kReadWrite:
      return v1::PERMISSION_READ_WRITE;
  }
  return v1::PERMISSION_UNSPECIFIED;
}

v1::DefaultDomainType ToProto(DefaultDomainType type) {
  switch (type) {
    case DefaultDomainType::kIdentity:
      return v1::DEFAULT_DOMAIN_TYPE_IDENTITY;
    case DefaultDomainType::kDma:
      return v1::DEFAULT_DOMAIN_TYPE_DMA;
    case DefaultDomainType::kDmaFq:
      return v1::DEFAULT_DOMAIN_TYPE_DMA_FQ;
  }
  return v1::DEFAULT_DOMAIN_TYPE_UNSPECIFIED;
}

v1::DeviceHealth ToProto(DeviceHealth health) {
  return health == DeviceHealth::kHealthy ? v1::DEVICE_HEALTH_HEALTHY : v1::DEVICE_HEALTH_UNHEALTHY;
}

v1::DeviceHealthCause ToProto(HealthReason cause) {
  switch (cause) {
    case HealthReason::kNone:
      return v1::DEVICE_HEALTH_CAUSE_UNSPECIFIED;
    case HealthReason::kInjected:
      return v1::DEVICE_HEALTH_CAUSE_INJECTED;
    case HealthReason::kResetFailed:
      return v1::DEVICE_HEALTH_CAUSE_RESET_FAILED;
    case HealthReason::kInvalidationFailed:
      return v1::DEVICE_HEALTH_CAUSE_INVALIDATION_FAILED;
    case HealthReason::kUnplugFailed:
      return v1::DEVICE_HEALTH_CAUSE_UNPLUG_FAILED;
    case HealthReason::kStateLost:
      return v1::DEVICE_HEALTH_CAUSE_STATE_LOST;
  }
  return v1::DEVICE_HEALTH_CAUSE_UNSPECIFIED;
}

v1::IoasMode ToProto(IoasMode mode) {
  switch (mode) {
    case IoasMode::kNative:
      return v1::IOAS_MODE_NATIVE;
    case IoasMode::kVfioType1:
      return v1::IOAS_MODE_VFIO_TYPE1;
    case IoasMode::kVfioType1v2:
      return v1::IOAS_MODE_VFIO_TYPE1V2;
    case IoasMode::kProcess:
      return v1::IOAS_MODE_PROCESS;
  }
  return v1::IOAS_MODE_UNSPECIFIED;
}

v1::ObjectState StateToProto(bool suspended) {
  return suspended ? v1::OBJECT_STATE_SUSPENDED : v1::OBJECT_STATE_ACTIVE;
}

v1::DeviceOwnership ToProto(DeviceOwnership ownership) {
  return ownership == DeviceOwnership::kHost ? v1::DEVICE_OWNERSHIP_HOST
                                             : v1::DEVICE_OWNERSHIP_CLAIMED;
}

v1::PasidState ToProto(PasidState state) {
  switch (state) {
    case PasidState::kReserved:
      return v1::PASID_STATE_RESERVED;
    case PasidState::kAllocated:
      return v1::PASID_STATE_ALLOCATED;
    case PasidState::kAttached:
      return v1::PASID_STATE_ATTACHED;
  }
  return v1::PASID_STATE_UNSPECIFIED;
}

v1::ReservedRegionType ToProto(ReservedRegionType type) {
  switch (type) {
    case ReservedRegionType::kDirect:
      return v1::RESERVED_REGION_TYPE_DIRECT;
    case ReservedRegionType::kDirectRelaxable:
      return v1::RESERVED_REGION_TYPE_DIRECT_RELAXABLE;
    case ReservedRegionType::kReserved:
      return v1::RESERVED_REGION_TYPE_RESERVED;
    case ReservedRegionType::kMsi:
      return v1::RESERVED_REGION_TYPE_MSI;
    case ReservedRegionType::kSwMsi:
      return v1::RESERVED_REGION_TYPE_SW_MSI;
  }
  return v1::RESERVED_REGION_TYPE_UNSPECIFIED;
}

v1::PageResponseCode ToProto(PageResponse response) {
  switch (response) {
    case PageResponse::kSuccess:
      return v1::PAGE_RESPONSE_CODE_SUCCESS;
    case PageResponse::kInvalid:
      return v1::PAGE_RESPONSE_CODE_INVALID;
    case PageResponse::kFailure:
      return v1::PAGE_RESPONSE_CODE_FAILURE;
  }
  return v1::PAGE_RESPONSE_CODE_UNSPECIFIED;
}

v1::IovaRange ToProto(const IovaRange& range) {
  v1::IovaRange out;
  out.set_first(range.first);
  out.set_last(range.last);
  out.set_text(ToString(range));
  return out;
}

v1::Transition ToProto(const Transition& transition) {
  v1::Transition out;
  out.set_hitless(transition.hitless);
  out.set_reason(transition.reason);
  return out;
}

google::protobuf::Timestamp ToProto(absl::Time time) {
  const absl::Duration since_epoch = time - absl::UnixEpoch();
  absl::Duration rest;
  google::protobuf::Timestamp out;
  // Downward, so that the nanoseconds are never negative, also before 1970.
  const int64_t seconds = absl::ToInt64Seconds(absl::Floor(since_epoch, absl::Seconds(1)));
  rest = since_epoch - absl::Seconds(seconds);
  out.set_seconds(seconds);
  out.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
  return out;
}

}  // namespace viommu
