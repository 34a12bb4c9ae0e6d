// server/describe_watch.h -- The engine's watch events as the API's messages.
#ifndef VIOMMU_SERVER_DESCRIBE_WATCH_H_
#define VIOMMU_SERVER_DESCRIBE_WATCH_H_

#include "engine/types.h"
#include "viommu/v1/watch.pb.h"

namespace viommu {

// `caller` decides under which names objects are shown: see FormatName.
v1::WatchResponse Describe(const WatchEvent& event, const CallContext& caller);

}  // namespace viommu

#endif  // VIOMMU_SERVER_DESCRIBE_WATCH_H_
