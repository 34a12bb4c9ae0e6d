#include "clients/viommuctl/exit_code.h"

namespace viommu {
namespace {

constexpr ExitCodeMeaning kMeanings[] = {
    {kExitOk, "done"},
    {kExitFailure, "another failure, inside viommud or in writing the output"},
    {kExitUsage, "the command line, or a value in it, is wrong"},
    {kExitNotFound, "there is no such object or mapping"},
    {kExitRefused, "the state of things does not allow it: in use, not claimed, changed meanwhile"},
    {kExitPermission, "the caller may not do it"},
    {kExitExhausted,
     "no room left: memory, addresses, domain ids, a limit of the owner or of viommud"},
    {kExitUnavailable, "nobody answers, or not in time"},
    {kExitExists, "the id or the address is taken"},
    {kExitUnimplemented, "this viommud or its hardware can not do it"},
    {kExitFault, "dma: the IOMMU stopped the device"},
};

}  // namespace

absl::Span<const ExitCodeMeaning> ExitCodes() { return kMeanings; }

ExitCode ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kExitOk;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
      return kExitUsage;
    case absl::StatusCode::kNotFound:
      return kExitNotFound;
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kAborted:
      return kExitRefused;
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      return kExitPermission;
    case absl::StatusCode::kResourceExhausted:
      return kExitExhausted;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kCancelled:
      return kExitUnavailable;
    case absl::StatusCode::kAlreadyExists:
      return kExitExists;
    case absl::StatusCode::kUnimplemented:
      return kExitUnimplemented;
    default:
      return kExitFailure;
  }
}

}  // namespace viommu
