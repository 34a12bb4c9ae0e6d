#include "engine/model/viommu_views.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/model/object_view.h"

namespace viommu {
namespace {

// What is still being made refers to the Viommu too, and is not shown.
template <typename Map>
std::vector<std::string> NamesOf(const Model& model, const Map& children,
                                 absl::string_view principal) {
  std::vector<std::string> names;
  for (const auto& [key, uid] : children) {
    const Object& child = *model.objects.FindByUid(uid);
    if (child.exists()) names.push_back(child.NameFor(principal));
  }
  return names;
}

}  // namespace

ViommuView ViewOf(const Model& model, const Viommu& viommu, absl::string_view principal) {
  const Domain& parent = *model.Get<Domain>(viommu.parent);
  ViommuView view;
  view.object = ViewOfObject(viommu);
  view.type = viommu.type;
  view.iommu = absl::StrCat("iommus/", viommu.iommu);
  view.parent = parent.NameFor(principal);
  view.ioas = model.Get<Ioas>(parent.ioas)->NameFor(principal);
  for (const auto& [holder, count] : viommu.referrers()) {
    const Object& child = *model.objects.FindByUid(holder);
    if (child.kind() == ObjectKind::kDomain && child.exists()) {
      view.domains.push_back(child.NameFor(principal));
    }
  }
  view.vdevices = NamesOf(model, viommu.vdevices, principal);
  view.event_queues = NamesOf(model, viommu.event_queues, principal);
  view.hardware_queues = NamesOf(model, viommu.hardware_queues, principal);
  return view;
}

VdeviceView ViewOf(const Model& model, const Vdevice& vdevice, absl::string_view principal) {
  return {ViewOfObject(vdevice), model.Get<Viommu>(vdevice.viommu)->NameFor(principal),
          model.devices[vdevice.device].Name(), vdevice.virtual_id};
}

EventQueueView ViewOf(const Model& model, const ViommuEventQueue& queue,
                      absl::string_view principal) {
  EventQueueView view;
  view.object = ViewOfObject(queue);
  view.viommu = model.Get<Viommu>(queue.viommu)->NameFor(principal);
  view.type = queue.type;
  view.depth = queue.events.depth();
  view.queued = static_cast<uint32_t>(queue.events.size());
  view.reported = queue.events.reported();
  view.lost = queue.events.lost();
  view.next_sequence = EventQueue::SequenceOf(queue.events.next());
  return view;
}

HardwareQueueView ViewOf(const Model& model, const HardwareQueue& queue,
                         absl::string_view principal) {
  return {ViewOfObject(queue), model.Get<Viommu>(queue.viommu)->NameFor(principal), queue.type,
          queue.spec};
}

}  // namespace viommu
