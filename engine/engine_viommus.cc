// The Engine's verbs for Viommus and what belongs to them.
#include <algorithm>
#include <optional>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/core.h"
#include "engine/model/viommu_views.h"
#include "engine/object_pages.h"
#include "engine/operations/claims.h"
#include "engine/operations/event_queue_operations.h"
#include "engine/operations/hardware_queue_operations.h"
#include "engine/operations/invalidate_viommu_operation.h"
#include "engine/operations/vdevice_operations.h"
#include "engine/operations/viommu_operations.h"

namespace viommu {
namespace {

constexpr uint32_t kMaxSubstream = 0xfffff;
constexpr uint8_t kMaxAccessClass = 3;
// Those that a guest is told of (iommufd-semantics.md section 12.3).
constexpr uint8_t kGuestEvents[] = {0x04, 0x06, 0x08, 0x0a, 0x10, 0x11, 0x12, 0x13};

template <typename T, typename View>
absl::StatusOr<View> Show(const Model& model, const CallContext& context, const ObjectRef& ref) {
  ASSIGN_OR_RETURN(const T* object, model.Find<T>(context, ref));
  return ViewOf(model, *object, context.principal);
}

template <typename T, typename View>
absl::StatusOr<Page<View>> ShowChildren(const Model& model, const CallContext& context,
                                        const ObjectRef& ref, const PageRequest& page) {
  ASSIGN_OR_RETURN(const Viommu* viommu, model.Find<Viommu>(context, ref));
  return PageOfObjects<T, View>(
      model, viommu->owner(), ChildPrefix(viommu->id(), T::kKind), page,
      [&](const T& object) { return ViewOf(model, object, context.principal); });
}

absl::Status CheckEvent(const ArmSmmuV3Event& event) {
  const auto invalid = [](absl::string_view field, absl::string_view why) {
    return Error(absl::StatusCode::kInvalidArgument, "INVALID_EVENT", why)
        .Errno("EINVAL")
        .Field(field);
  };
  if (std::find(std::begin(kGuestEvents), std::end(kGuestEvents), event.id) ==
      std::end(kGuestEvents)) {
    return invalid("event.id", absl::StrCat("no guest is told of event ", Hex(event.id)));
  }
  if (event.substream_id > kMaxSubstream) {
    return invalid("event.substream_id",
                   absl::StrCat("substream ", event.substream_id, " is above ", kMaxSubstream));
  }
  if (event.access_class <= kMaxAccessClass) return absl::OkStatus();
  return invalid("event.access_class",
                 absl::StrCat("class ", event.access_class, " is above ", kMaxAccessClass));
}

absl::Status NoVdevice(const Device& device) {
  return Error(absl::StatusCode::kFailedPrecondition, "VDEVICE_MISSING",
               absl::StrCat("no guest has a name for ", device.Name()))
      .Errno("ENOENT")
      .Resource(device.Name())
      .Violation(absl::StrCat("make a vdevice of ", device.Name()));
}

}  // namespace

absl::StatusOr<ViommuView> Engine::CreateViommu(const CallContext& context, const std::string& id,
                                                const ViommuRequest& request) {
  CreateViommuOperation operation(context, id, request);
  return core_->Execute(operation);
}

absl::StatusOr<ViommuView> Engine::GetViommu(const CallContext& context, const ObjectRef& ref) {
  absl::MutexLock lock(&core_->pipeline.mutex());
  return Show<Viommu, ViommuView>(core_->model, context, ref);
}

absl::StatusOr<Page<ViommuView>> Engine::ListViommus(const CallContext& context,
                                                     const PageRequest& page) {
  absl::MutexLock lock(&core_->pipeline.mutex());
  return PageOfObjects<Viommu, ViommuView>(core_->model, context, page, [&](const Viommu& viommu) {
    return ViewOf(core_->model, viommu, context.principal);
  });
}

absl::Status Engine::DeleteViommu(const CallContext& context, const ObjectRef& ref,
                                  const std::string& etag) {
  DeleteViommuOperation operation(context, ref, etag);
  return core_->ExecuteVoid(operation);
}

absl::StatusOr<VdeviceView> Engine::CreateVdevice(const CallContext& context,
                                                  const ObjectRef& viommu, const std::string& id,
                                                  const std::string& device, uint64_t virtual_id) {
  CreateVdeviceOperation operation(context, viommu, id, device, virtual_id);
  return core_->Execute(operation);
}

absl::StatusOr<VdeviceView> Engine::GetVdevice(const CallContext& context, const ObjectRef& ref) {
  absl::MutexLock lock(&core_->pipeline.mutex());
  return Show<Vdevice, VdeviceView>(core_->model, context, ref);
}

absl::StatusOr<Page<VdeviceView>> Engine::ListVdevices(const CallContext& context,
                                                       const ObjectRef& viommu,
                                                       const PageRequest& page) {
  absl::MutexLock lock(&core_->pipeline.mutex());
  return ShowChildren<Vdevice, VdeviceView>(core_->model, context, viommu, page);
}

absl::Status Engine::DeleteVdevice(const CallContext& context, const ObjectRef& ref,
                                   const std::string& etag) {
  DeleteVdeviceOperation operation(context, ref, etag);
  return core_->ExecuteVoid(operation);
}

absl::StatusOr<InvalidateAnswer> Engine::InvalidateViommu(const CallContext& context,
                                                          const ObjectRef& viommu,
                                                          const InvalidationBatch& batch,
                                                          Uid only) {
  InvalidateViommuOperation operation(context, viommu, &batch, only);
  return core_->Execute(operation);
}

absl::StatusOr<EventQueueView> Engine::CreateEventQueue(const CallContext& context,
                                                        const ObjectRef& viommu,
                                                        const std::string& id, ViommuEventType type,
                                                        uint32_t depth) {
  CreateEventQueueOperation operation(context, viommu, id, type, depth);
  return core_->Execute(operation);
}

absl::StatusOr<EventQueueView> Engine::GetEventQueue(const CallContext& context,
                                                     const ObjectRef& ref) {
  core_->events.Deliver();
  absl::MutexLock lock(&core_->pipeline.mutex());
  return Show<ViommuEventQueue, EventQueueView>(core_->model, context, ref);
}

absl::StatusOr<Page<EventQueueView>> Engine::ListEventQueues(const CallContext& context,
                                                             const ObjectRef& viommu,
                                                             const PageRequest& page) {
  core_->events.Deliver();
  absl::MutexLock lock(&core_->pipeline.mutex());
  return ShowChildren<ViommuEventQueue, EventQueueView>(core_->model, context, viommu, page);
}

absl::Status Engine::DeleteEventQueue(const CallContext& context, const ObjectRef& ref,
                                      const std::string& etag) {
  DeleteEventQueueOperation operation(context, ref, etag);
  return core_->ExecuteVoid(operation);
}

absl::StatusOr<Page<EventView>> Engine::ListEvents(const CallContext& context, const ObjectRef& ref,
                                                   const PageRequest& page) {
  RETURN_IF_ERROR(CheckPageSize(page));
  // The cursor is the number of the first event that was not shown.
  uint64_t next = 0;
  if (!page.cursor.empty() && !absl::SimpleAtoi(page.cursor, &next)) return UnknownPageToken();
  core_->events.Deliver();
  absl::MutexLock lock(&core_->pipeline.mutex());
  ASSIGN_OR_RETURN(const ViommuEventQueue* queue,
                   core_->model.Find<ViommuEventQueue>(context, ref));
  Page<EventView> result;
  while (true) {
    const std::optional<EventQueue::Entry> entry = queue->events.FirstFrom(next);
    if (!entry.has_value()) return result;
    if (result.items.size() == page.page_size) {
      result.next_cursor = absl::StrCat(entry->number);
      return result;
    }
    result.items.push_back(entry->view);
    next = entry->number + 1;
  }
}

absl::StatusOr<HardwareQueueView> Engine::CreateHardwareQueue(const CallContext& context,
                                                              const ObjectRef& viommu,
                                                              const std::string& id,
                                                              const HardwareQueueRequest& request) {
  CreateHardwareQueueOperation operation(context, viommu, id, request);
  return core_->Execute(operation);
}

absl::StatusOr<HardwareQueueView> Engine::GetHardwareQueue(const CallContext& context,
                                                           const ObjectRef& ref) {
  absl::MutexLock lock(&core_->pipeline.mutex());
  return Show<HardwareQueue, HardwareQueueView>(core_->model, context, ref);
}

absl::StatusOr<Page<HardwareQueueView>> Engine::ListHardwareQueues(const CallContext& context,
                                                                   const ObjectRef& viommu,
                                                                   const PageRequest& page) {
  absl::MutexLock lock(&core_->pipeline.mutex());
  return ShowChildren<HardwareQueue, HardwareQueueView>(core_->model, context, viommu, page);
}

absl::Status Engine::DeleteHardwareQueue(const CallContext& context, const ObjectRef& ref,
                                         const std::string& etag) {
  DeleteHardwareQueueOperation operation(context, ref, etag);
  return core_->ExecuteVoid(operation);
}

absl::StatusOr<RaiseAnswer> Engine::RaiseEvent(const CallContext& context, const std::string& id,
                                               const ArmSmmuV3Event& event) {
  RETURN_IF_ERROR(CheckSimulated(*core_->backend));
  // What happened before it comes before it.
  core_->events.Deliver();
  absl::MutexLock lock(&core_->pipeline.mutex());
  const Model& model = core_->model;
  ASSIGN_OR_RETURN(const Device* device, core_->model.FindDevice(id));
  if (!context.is_operator) RETURN_IF_ERROR(CheckClaimed(model, *device, context.principal));
  RETURN_IF_ERROR(CheckEvent(event));
  const Vdevice* const vdevice =
      device->vdevice == 0 ? nullptr : model.Get<Vdevice>(device->vdevice);
  if (vdevice == nullptr || !vdevice->exists()) return NoVdevice(*device);
  ViommuEvent raised{vdevice->viommu, ViommuEventType::kArmSmmuV3, 0, event};
  raised.event.stream_id = static_cast<uint32_t>(vdevice->virtual_id);
  return core_->events.Report(raised);
}

}  // namespace viommu
