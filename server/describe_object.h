// server/describe_object.h -- The fields that every owned resource has.
#ifndef VIOMMU_SERVER_DESCRIBE_OBJECT_H_
#define VIOMMU_SERVER_DESCRIBE_OBJECT_H_

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "engine/types.h"
#include "server/convert.h"
#include "server/names.h"

namespace viommu {

template <typename Resource>
void DescribeObject(NameKind kind, const ObjectView& object, const CallContext& caller,
                    Resource* out) {
  out->set_name(FormatName(kind, object, caller));
  if (object.uid != 0) out->set_uid(absl::StrCat(object.uid));
  out->set_owner(object.owner);
  out->set_etag(object.etag);
  // The static domains were never made, and what a dry run shows is not made yet.
  if (object.create_time != absl::Time()) *out->mutable_create_time() = ToProto(object.create_time);
  out->set_revision(object.revision);
}

}  // namespace viommu

#endif  // VIOMMU_SERVER_DESCRIBE_OBJECT_H_
