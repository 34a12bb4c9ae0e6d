// How fault queues, and Viommus and what belongs to them, are shown.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/differential/show.h"
#include "tests/differential/verb.h"

namespace viommu::differential {
namespace {

void PutName(Sheet& sheet, const std::string& owner, const std::string& id) {
  sheet.Put("owner", owner);
  sheet.Put("id", id);
}

void PutSorted(Sheet& sheet, const char* field, std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) sheet.Put(field, name);
}

std::vector<std::string> AllShown(const char* collection, const std::vector<Name>& names,
                                  const std::string& viewer) {
  std::vector<std::string> shown;
  for (const Name& name : names) shown.push_back(Shown(collection, name, viewer));
  return shown;
}

std::string DeviceName(size_t device) { return absl::StrCat("devices/dev", device); }

void PutPasid(Sheet& sheet, Spot pasid) {
  sheet.Put("has_pasid", pasid.has_value() ? 1 : 0);
  sheet.Put("pasid", pasid.value_or(0));
}

// Of what stalls the machine makes the number up.
void PutGroup(Sheet& sheet, const Hardware& hardware, uint32_t group) {
  if (!hardware.Stalls()) sheet.Put("group", group);
}

void PutPages(Sheet& sheet, const std::vector<FaultedPage>& pages) {
  for (const FaultedPage& page : pages) {
    sheet.Put("page", page.address);
    sheet.Put("access", (page.read ? 1u : 0u) | (page.write ? 2u : 0u) | (page.execute ? 4u : 0u) |
                            (page.privileged ? 8u : 0u));
  }
}

void PutEvent(Sheet& sheet, uint64_t sequence, bool lost, const ArmSmmuV3Event& event) {
  sheet.Put("sequence", sequence);
  sheet.Put("lost", lost ? 1 : 0);
  for (const uint64_t word : RecordOf(event)) sheet.Put("word", word);
}

}  // namespace

void Show(Sheet& sheet, const FaultQueueView& view) {
  PutName(sheet, view.object.owner, view.object.id);
  sheet.Put("depth", view.depth);
  PutSorted(sheet, "domain", view.domains);
  sheet.Put("waiting", view.waiting);
  sheet.Put("lost", view.lost);
  sheet.Put("streamed", view.streamed ? 1 : 0);
}

void ShowQueue(Sheet& sheet, const State& state, const Name& name, const std::string& viewer) {
  const Faults& queue = state.queues.at(name);
  PutName(sheet, name.owner, name.id);
  sheet.Put("depth", queue.depth);
  PutSorted(sheet, "domain", AllShown("domains", state.DomainsWith(name), viewer));
  sheet.Put("waiting", queue.waiting.size());
  sheet.Put("lost", queue.lost);
  sheet.Put("streamed", 0);
}

void Show(Sheet& sheet, const Hardware& hardware, const std::vector<FaultView>& faults) {
  for (const FaultView& fault : faults) {
    sheet.Put("cookie", fault.cookie);
    sheet.Put("number", fault.sequence);
    sheet.Put("device", fault.device);
    sheet.Put("domain", fault.domain);
    PutPasid(sheet, fault.pasid);
    PutGroup(sheet, hardware, fault.group);
    PutPages(sheet, fault.pages);
  }
}

void ShowFaults(Sheet& sheet, const State& state, const Name& name, const std::string& viewer) {
  for (const auto& [number, group] : state.queues.at(name).waiting) {
    sheet.Put("cookie", group.cookie);
    sheet.Put("number", number);
    sheet.Put("device", DeviceName(group.device));
    sheet.Put("domain", Shown("domains", group.domain, viewer));
    PutPasid(sheet, group.pasid);
    PutGroup(sheet, *state.hardware, group.group);
    PutPages(sheet, group.pages);
  }
}

void Show(Sheet& sheet, const Hardware& hardware, const std::vector<PageGroupResponse>& told) {
  for (const PageGroupResponse& response : told) {
    PutPasid(sheet, response.group.pasid);
    PutGroup(sheet, hardware, response.group.group);
    sheet.Put("told", static_cast<uint64_t>(response.code));
  }
}

void ShowTold(Sheet& sheet, const State& state, size_t device) {
  for (const Told& told : state.devices[device].told) {
    PutPasid(sheet, told.pasid);
    PutGroup(sheet, *state.hardware, told.group);
    sheet.Put("told", static_cast<uint64_t>(told.code));
  }
}

void Show(Sheet& sheet, const ViommuView& view) {
  PutName(sheet, view.object.owner, view.object.id);
  sheet.Put("type", static_cast<uint64_t>(view.type));
  sheet.Put("iommu", view.iommu);
  sheet.Put("parent", view.parent);
  sheet.Put("ioas", view.ioas);
  PutSorted(sheet, "domain", view.domains);
  PutSorted(sheet, "vdevice", view.vdevices);
  PutSorted(sheet, "event_queue", view.event_queues);
  PutSorted(sheet, "hardware_queue", view.hardware_queues);
}

void ShowViommu(Sheet& sheet, const State& state, const Name& name, const std::string& viewer) {
  const Guest& guest = state.viommus.at(name);
  PutName(sheet, name.owner, name.id);
  sheet.Put("type", static_cast<uint64_t>(guest.type));
  sheet.Put("iommu", "iommus/" + guest.unit);
  sheet.Put("parent", Shown("domains", guest.parent, viewer));
  sheet.Put("ioas", Shown("ioas", state.domains.at(guest.parent).ioas, viewer));
  PutSorted(sheet, "domain", AllShown("domains", state.DomainsOfViommu(name), viewer));
  PutSorted(sheet, "vdevice", AllShown("viommus", state.VdevicesOf(name), viewer));
  PutSorted(sheet, "event_queue", AllShown("viommus", state.EventQueuesOf(name), viewer));
}

void Show(Sheet& sheet, const VdeviceView& view) {
  PutName(sheet, view.object.owner, view.object.id);
  sheet.Put("viommu", view.viommu);
  sheet.Put("device", view.device);
  sheet.Put("virtual_id", view.virtual_id);
}

void ShowVdevice(Sheet& sheet, const State& state, const Name& name, const std::string& viewer) {
  const GuestDevice& vdevice = state.vdevices.at(name);
  PutName(sheet, name.owner, name.id);
  sheet.Put("viommu", Shown("viommus", vdevice.viommu, viewer));
  sheet.Put("device", DeviceName(vdevice.device));
  sheet.Put("virtual_id", vdevice.virtual_id);
}

void Show(Sheet& sheet, const EventQueueView& view) {
  PutName(sheet, view.object.owner, view.object.id);
  sheet.Put("viommu", view.viommu);
  sheet.Put("type", static_cast<uint64_t>(view.type));
  sheet.Put("depth", view.depth);
  sheet.Put("queued", view.queued);
  sheet.Put("reported", view.reported);
  sheet.Put("lost", view.lost);
  sheet.Put("next", view.next_sequence);
}

void ShowEventQueue(Sheet& sheet, const State& state, const Name& name, const std::string& viewer) {
  const GuestEvents& queue = state.event_queues.at(name);
  PutName(sheet, name.owner, name.id);
  sheet.Put("viommu", Shown("viommus", queue.viommu, viewer));
  sheet.Put("type", static_cast<uint64_t>(ViommuEventType::kArmSmmuV3));
  sheet.Put("depth", queue.depth);
  sheet.Put("queued", queue.events.size());
  sheet.Put("reported", queue.reported);
  sheet.Put("lost", queue.lost);
  sheet.Put("next", queue.reported);
}

void Show(Sheet& sheet, const std::vector<EventView>& events) {
  for (const EventView& view : events) PutEvent(sheet, view.sequence, view.lost, view.event);
}

void ShowEvents(Sheet& sheet, const State& state, const Name& name) {
  const GuestEvents& queue = state.event_queues.at(name);
  for (const GuestEvents::Event& event : queue.events) {
    PutEvent(sheet, event.sequence, false, event.event);
  }
  // One marker stands for all that was lost since, with the number of the last one.
  if (queue.lost_last) PutEvent(sheet, queue.reported - 1, true, {});
}

}  // namespace viommu::differential
