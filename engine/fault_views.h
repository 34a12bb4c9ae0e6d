// engine/fault_views.h -- Page faults of devices and their queues as the engine shows them.
#ifndef VIOMMU_ENGINE_FAULT_VIEWS_H_
#define VIOMMU_ENGINE_FAULT_VIEWS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "engine/backend/backend.h"
#include "engine/base/address.h"
#include "engine/object_views.h"

namespace viommu {

struct FaultQueueView {
  ObjectView object;
  uint32_t depth = 0;                // Groups that it keeps; more are lost.
  std::vector<std::string> domains;  // Resource names of those whose faults it takes.
  // The rest changes without a revision.
  uint32_t waiting = 0;   // Groups that wait for an answer.
  uint64_t lost = 0;      // Groups that found it full, since it was made.
  bool streamed = false;  // Somebody has a stream of it open.
};

// One page that a device asks for.
struct FaultedPage {
  Iova address = 0;
  bool read = false;
  bool write = false;
  bool execute = false;
  bool privileged = false;
};

// A group of page faults that waits in a queue. One response answers all of it.
struct FaultView {
  uint32_t cookie = 0;    // Names it in its queue, from 1, until it is answered.
  uint64_t sequence = 0;  // From 1; what is lost has a number too.
  std::string device;     // Resource names.
  std::string domain;
  std::optional<uint32_t> pasid;
  uint32_t group = 0;  // By which the device names it.
  std::vector<FaultedPage> pages;
  absl::Time time;  // When its last fault came.
};

struct FaultResponse {
  uint32_t cookie = 0;
  PageResponse code = PageResponse::kSuccess;  // Not kFailure.
};

// Groups that a queue had no room for, since it was made.
struct FaultsLost {
  uint64_t total = 0;
};

using FaultStreamEvent = std::variant<FaultView, FaultsLost>;

}  // namespace viommu

#endif  // VIOMMU_ENGINE_FAULT_VIEWS_H_
