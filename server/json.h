// server/json.h -- Writes JSON strings; all that logs and endpoints.json need of JSON.
#ifndef VIOMMU_SERVER_JSON_H_
#define VIOMMU_SERVER_JSON_H_

#include <string>

#include "absl/strings/string_view.h"

namespace viommu {

// `text` as a JSON string with its quotes. Bytes that are no UTF-8 become U+FFFD, because a line
// that a log collector can not parse is lost.
std::string JsonString(absl::string_view text);

}  // namespace viommu

#endif  // VIOMMU_SERVER_JSON_H_
