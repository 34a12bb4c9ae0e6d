#include "engine/base/errors.h"

#include <cstddef>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace viommu {
namespace {

constexpr absl::string_view kPayloadUrl = "viommu/ErrorDetail";

// The payload is a list of length-prefixed strings ("<length>:<bytes>"), tag before value, so that
// any byte may stand in a value.
void Put(std::string& out, absl::string_view tag, absl::string_view value) {
  absl::StrAppend(&out, tag.size(), ":", tag, value.size(), ":", value);
}

bool Take(absl::string_view& in, std::string& out) {
  const size_t colon = in.find(':');
  size_t length = 0;
  if (colon == absl::string_view::npos || !absl::SimpleAtoi(in.substr(0, colon), &length)) {
    return false;
  }
  in.remove_prefix(colon + 1);
  if (in.size() < length) return false;
  out.assign(in.data(), length);
  in.remove_prefix(length);
  return true;
}

std::string Encode(const ErrorDetail& detail) {
  std::string out;
  Put(out, "reason", detail.reason);
  Put(out, "errno", detail.errno_name);
  Put(out, "field", detail.field);
  Put(out, "resource", detail.resource);
  if (detail.index.has_value()) Put(out, "index", absl::StrCat(*detail.index));
  for (const std::string& violation : detail.violations) Put(out, "violation", violation);
  for (const auto& [key, value] : detail.metadata) Put(out, absl::StrCat("meta.", key), value);
  return out;
}

absl::Status WithDetail(absl::StatusCode code, absl::string_view message,
                        const ErrorDetail& detail) {
  absl::Status status(code, message);
  status.SetPayload(kPayloadUrl, absl::Cord(Encode(detail)));
  return status;
}

}  // namespace

Error::Error(absl::StatusCode code, absl::string_view reason, absl::string_view message)
    : code_(code), message_(message) {
  detail_.reason = std::string(reason);
}

Error&& Error::Errno(absl::string_view name) && {
  detail_.errno_name = std::string(name);
  return std::move(*this);
}

Error&& Error::Field(absl::string_view path) && {
  detail_.field = std::string(path);
  return std::move(*this);
}

Error&& Error::Index(uint64_t index) && {
  detail_.index = index;
  return std::move(*this);
}

Error&& Error::Resource(absl::string_view name) && {
  detail_.resource = std::string(name);
  return std::move(*this);
}

Error&& Error::Violation(absl::string_view description) && {
  detail_.violations.emplace_back(description);
  return std::move(*this);
}

Error& Error::Violation(absl::string_view description) & {
  detail_.violations.emplace_back(description);
  return *this;
}

Error&& Error::Meta(absl::string_view key, absl::string_view value) && {
  detail_.metadata[std::string(key)] = std::string(value);
  return std::move(*this);
}

absl::Status Error::ToStatus() const { return WithDetail(code_, message_, detail_); }

std::optional<ErrorDetail> DetailOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kPayloadUrl);
  if (!payload.has_value()) return std::nullopt;
  const std::string bytes(*payload);
  absl::string_view in = bytes;
  ErrorDetail detail;
  std::string tag, value;
  while (!in.empty() && Take(in, tag) && Take(in, value)) {
    uint64_t index = 0;
    if (tag == "reason") {
      detail.reason = value;
    } else if (tag == "errno") {
      detail.errno_name = value;
    } else if (tag == "field") {
      detail.field = value;
    } else if (tag == "resource") {
      detail.resource = value;
    } else if (tag == "index" && absl::SimpleAtoi(value, &index)) {
      detail.index = index;
    } else if (tag == "violation") {
      detail.violations.push_back(value);
    } else if (tag.rfind("meta.", 0) == 0) {
      detail.metadata[tag.substr(5)] = value;
    }
  }
  return detail;
}

absl::Status AtIndex(const absl::Status& status, uint64_t index, absl::string_view field_prefix) {
  std::optional<ErrorDetail> detail = DetailOf(status);
  if (!detail.has_value()) return status;
  detail->index = index;
  detail->field = detail->field.empty() ? std::string(field_prefix)
                                        : absl::StrCat(field_prefix, ".", detail->field);
  return WithDetail(status.code(), absl::StrCat("entry ", index, ": ", status.message()), *detail);
}

}  // namespace viommu
