#include "engine/backend/soft/soft_backend.h"

#include "absl/strings/str_cat.h"
#include "engine/backend/soft/soft_backend_inl.h"
#include "engine/base/errors.h"
#include "engine/pagetable/leaf_count.h"

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

absl::Status WrongDomain(absl::string_view reason, Uid uid, absl::string_view what) {
  return Error(absl::StatusCode::kFailedPrecondition, reason,
               absl::StrCat("domain ", uid, " ", what))
      .Errno("EINVAL");
}

absl::Status DomainInUse(Uid uid) {
  return Error(absl::StatusCode::kFailedPrecondition, "BACKEND_OBJECT_IN_USE",
               absl::StrCat("other domains are nested on domain ", uid))
      .Errno("EBUSY");
}

std::vector<LeafCount> LeavesOf(const DomainProperties& properties, const BackendMapping& mapping,
                                PhysAddr to) {
  const LeafCounts counts =
      CountLeaves(properties.page_sizes, mapping.iova, to, mapping.size_bytes);
  std::vector<LeafCount> leaves;
  for (size_t shift = counts.size(); shift-- > 0;) {
    if (counts[shift] > 0) leaves.push_back({uint64_t{1} << shift, counts[shift]});
  }
  return leaves;
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
