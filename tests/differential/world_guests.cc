// What of a World is about page faults and about guests' own IOMMUs.
#include "absl/strings/str_cat.h"
#include "tests/differential/show.h"
#include "tests/differential/world.h"

namespace viommu::differential {

void World::CompareQueue(const Name& name) {
  const CallContext root = ContextOf(Caller::kRoot);
  const ObjectRef ref{name.id, name.owner};
  const auto it = state_.queues.find(name);
  const auto view = engine_->GetFaultQueue(root, ref);
  const std::string what = Shown("faultQueues", name, "");
  if (!BothHave(what, view.status(), it != state_.queues.end())) {
    versions_.erase({Kind::kQueue, name});
    return;
  }
  Sheet engine(setting_.in_words), reference(setting_.in_words);
  Show(engine, *view);
  ShowQueue(reference, state_, name, root.principal);
  const auto faults = engine_->ListFaults(root, ref, {kMaxPageSize, ""});
  if (faults.ok()) Show(engine, hardware_, faults->items);
  ShowFaults(reference, state_, name, root.principal);
  CompareSheets(what, engine, reference);
  CompareVersion(Kind::kQueue, name,
                 {it->second.version, view->object.etag, view->object.revision});
}

void World::CompareViommu(const Name& name) {
  const CallContext root = ContextOf(Caller::kRoot);
  const auto it = state_.viommus.find(name);
  const auto view = engine_->GetViommu(root, {name.id, name.owner});
  const std::string what = Shown("viommus", name, "");
  if (!BothHave(what, view.status(), it != state_.viommus.end())) {
    versions_.erase({Kind::kViommu, name});
    return;
  }
  Sheet engine(setting_.in_words), reference(setting_.in_words);
  Show(engine, *view);
  ShowViommu(reference, state_, name, root.principal);
  CompareSheets(what, engine, reference);
  CompareVersion(Kind::kViommu, name,
                 {it->second.version, view->object.etag, view->object.revision});
}

void World::CompareVdevice(const Name& name) {
  const CallContext root = ContextOf(Caller::kRoot);
  const auto it = state_.vdevices.find(name);
  const auto view = engine_->GetVdevice(root, {name.id, name.owner});
  const std::string what = Shown("viommus", name, "");
  if (!BothHave(what, view.status(), it != state_.vdevices.end())) {
    versions_.erase({Kind::kVdevice, name});
    return;
  }
  Sheet engine(setting_.in_words), reference(setting_.in_words);
  Show(engine, *view);
  ShowVdevice(reference, state_, name, root.principal);
  CompareSheets(what, engine, reference);
  CompareVersion(Kind::kVdevice, name,
                 {it->second.version, view->object.etag, view->object.revision});
}

void World::CompareEventQueue(const Name& name) {
  const CallContext root = ContextOf(Caller::kRoot);
  const ObjectRef ref{name.id, name.owner};
  const auto it = state_.event_queues.find(name);
  const auto view = engine_->GetEventQueue(root, ref);
  const std::string what = Shown("viommus", name, "");
  if (!BothHave(what, view.status(), it != state_.event_queues.end())) {
    versions_.erase({Kind::kEventQueue, name});
    return;
  }
  Sheet engine(setting_.in_words), reference(setting_.in_words);
  Show(engine, *view);
  ShowEventQueue(reference, state_, name, root.principal);
  const auto events = engine_->ListEvents(root, ref, {kMaxPageSize, ""});
  if (events.ok()) Show(engine, events->items);
  ShowEvents(reference, state_, name);
  CompareSheets(what, engine, reference);
  CompareVersion(Kind::kEventQueue, name,
                 {it->second.version, view->object.etag, view->object.revision});
}

void World::ListGuests(const CallContext& viewer, Sheet& engine, Sheet& reference) {
  const PageRequest all{kMaxPageSize, ""};
  const auto may_see = [&](const Name& name) {
    return viewer.is_operator || name.owner == viewer.principal;
  };
  const auto queues = engine_->ListFaultQueues(viewer, all);
  for (const FaultQueueView& queue : queues->items) Show(engine, queue);
  for (const auto& [name, queue] : state_.queues) {
    if (may_see(name)) ShowQueue(reference, state_, name, viewer.principal);
  }
  const auto viommus = engine_->ListViommus(viewer, all);
  for (const ViommuView& viommu : viommus->items) {
    const ObjectRef ref{viommu.object.id, viommu.object.owner};
    Show(engine, viommu);
    const auto vdevices = engine_->ListVdevices(viewer, ref, all);
    for (const VdeviceView& vdevice : vdevices->items) Show(engine, vdevice);
    const auto events = engine_->ListEventQueues(viewer, ref, all);
    for (const EventQueueView& queue : events->items) Show(engine, queue);
  }
  for (const auto& [name, viommu] : state_.viommus) {
    if (!may_see(name)) continue;
    ShowViommu(reference, state_, name, viewer.principal);
    for (const Name& vdevice : state_.VdevicesOf(name)) {
      ShowVdevice(reference, state_, vdevice, viewer.principal);
    }
    for (const Name& queue : state_.EventQueuesOf(name)) {
      ShowEventQueue(reference, state_, queue, viewer.principal);
    }
  }
}

}  // namespace viommu::differential
