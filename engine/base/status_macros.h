// engine/base/status_macros.h -- Passing an absl::Status up in one line.
#ifndef VIOMMU_ENGINE_BASE_STATUS_MACROS_H_
#define VIOMMU_ENGINE_BASE_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Returns from the enclosing function when `expr` is not OK.
#define RETURN_IF_ERROR(expr)                                                                \
  do {                                                                                       \
    if (::absl::Status viommu_status_ = (expr); !viommu_status_.ok()) return viommu_status_; \
  } while (false)

#define VIOMMU_CONCAT_INNER(a, b) a##b
#define VIOMMU_CONCAT(a, b) VIOMMU_CONCAT_INNER(a, b)

// Declares or assigns `lhs` from a StatusOr; returns its status when it has no value. What is
// declared can not stand in parentheses, hence NOLINT.
#define ASSIGN_OR_RETURN(lhs, expr) \
  ASSIGN_OR_RETURN_INNER(VIOMMU_CONCAT(viommu_statusor_, __LINE__), lhs, expr)
#define ASSIGN_OR_RETURN_INNER(tmp, lhs, expr)                \
  auto tmp = (expr); /* NOLINT(bugprone-macro-parentheses) */ \
  if (!(tmp).ok()) return (tmp).status();                     \
  lhs = *std::move(tmp)  // NOLINT(bugprone-macro-parentheses)

#endif  // VIOMMU_ENGINE_BASE_STATUS_MACROS_H_
