// clients/device_plugin/plugin_error.h -- What the kubelet and the log are told when something
// fails.
#ifndef VIOMMU_CLIENTS_DEVICE_PLUGIN_PLUGIN_ERROR_H_
#define VIOMMU_CLIENTS_DEVICE_PLUGIN_PLUGIN_ERROR_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "clients/client/call_error.h"

namespace viommu {

// A refusal of the plugin's own: "REASON: message".
inline absl::Status PluginError(absl::StatusCode code, absl::string_view reason,
                                absl::string_view message) {
  return absl::Status(code, absl::StrCat(reason, ": ", message));
}

// One line for a person, with the reason that viommud gave, if it is from there.
inline std::string Line(const absl::Status& status) {
  const std::string reason = ReasonOf(status);
  return reason.empty() ? std::string(status.message())
                        : absl::StrCat(reason, ": ", status.message());
}

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_DEVICE_PLUGIN_PLUGIN_ERROR_H_
