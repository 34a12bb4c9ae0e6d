#include "engine/backend/soft/soft_backend.h"

#include "absl/strings/str_cat.h"
#include "engine/backend/soft/soft_backend_inl.h"
#include "engine/base/errors.h"

namespace viommu {

namespace soft_internal {

absl::Status NoObject(absl::string_view kind, Uid uid) {
  return Error(absl::StatusCode::kNotFound, "BACKEND_OBJECT_NOT_FOUND",
               absl::StrCat("the backend has no ", kind, " ", uid))
      .Errno("ENOENT");
}

absl::Status ObjectExists(absl::string_view kind, Uid uid) {
  return Error(absl::StatusCode::kAlreadyExists, "BACKEND_OBJECT_EXISTS",
               absl::StrCat("the backend has a ", kind, " ", uid, " already"))
      .Errno("EEXIST");
}

absl::Status NotYet(absl::string_view what) {
  return Error(absl::StatusCode::kUnimplemented, "NOT_SUPPORTED",
               absl::StrCat("the soft backend has no ", what))
      .Errno("EOPNOTSUPP");
}

DefaultDomainType DefaultOf(absl::Span<const DeviceSpec* const> members) {
  for (const DeviceSpec* member : members) {
    // One member that must be translated decides for all: they share the domain.
    if (member->untrusted || member->default_domain != DefaultDomainType::kIdentity) {
      return DefaultDomainType::kDma;
    }
  }
  return DefaultDomainType::kIdentity;
}

absl::Status CheckDefault(DefaultDomainType type, absl::Span<const DeviceSpec* const> members) {
  if (type != DefaultDomainType::kIdentity) return absl::OkStatus();
  for (const DeviceSpec* member : members) {
    if (!member->untrusted) continue;
    return Error(absl::StatusCode::kPermissionDenied, "UNTRUSTED_DEVICE",
                 absl::StrCat(member->id, " is untrusted and never on IDENTITY"))
        .Errno("EPERM");
  }
  return absl::OkStatus();
}

}  // namespace soft_internal

template class SoftBackendT<PlainStore>;

}  // namespace viommu
