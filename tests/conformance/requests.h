// tests/conformance/requests.h -- What all verbs are made with: requests by name, expectations.
#ifndef VIOMMU_TESTS_CONFORMANCE_REQUESTS_H_
#define VIOMMU_TESTS_CONFORMANCE_REQUESTS_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace viommu::conformance {

// A request about one object.
template <typename Request>
Request Named(std::string name) {
  Request request;
  request.set_name(std::move(name));
  return request;
}

inline std::string Hex(uint64_t value) { return absl::StrCat("0x", absl::Hex(value)); }

inline absl::Status Expect(bool holds, const std::string& otherwise) {
  return holds ? absl::OkStatus() : absl::FailedPreconditionError(otherwise);
}

}  // namespace viommu::conformance

#endif  // VIOMMU_TESTS_CONFORMANCE_REQUESTS_H_
