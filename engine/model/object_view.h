// engine/model/object_view.h -- What the views of all objects have in common.
#ifndef VIOMMU_ENGINE_MODEL_OBJECT_VIEW_H_
#define VIOMMU_ENGINE_MODEL_OBJECT_VIEW_H_

#include "engine/model/object.h"
#include "engine/types.h"

namespace viommu {

inline ObjectView ViewOfObject(const Object& object) {
  return {object.id(),   object.owner(),  object.uid(),
          object.Etag(), object.revision, object.create_time};
}

}  // namespace viommu

#endif  // VIOMMU_ENGINE_MODEL_OBJECT_VIEW_H_
