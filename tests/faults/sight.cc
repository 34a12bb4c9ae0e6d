#include "tests/faults/sight.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/backend/soft/hardware/smmu_model.h"
#include "engine/backend/soft/hardware/vtd_model.h"

namespace viommu::faults {
namespace {

const PageRequest kAll{kMaxPageSize, ""};

void AppendMappings(Engine* engine, const CallContext& as, const IoasView& space,
                    std::string* all) {
  absl::StrAppend(all, space.object.id, " at ", space.mapping_revision, "\n");
  const ObjectRef ref{space.object.id, std::nullopt};
  const auto mappings = engine->ListMappings(as, ref, {0, kMaxAddress}, kAll);
  for (const auto& m : mappings->items) {
    absl::StrAppend(all, "  ", ToString(m.range), " ", m.memory_region, "+", m.offset_bytes, " ",
                    static_cast<int>(m.permission), m.suspended ? " suspended" : "", "\n");
  }
}

void AppendSpaces(Engine* engine, const CallContext& as, Sight* sight) {
  const auto spaces = engine->ListIoas(as, kAll);
  for (const auto& i : spaces->items) {
    absl::StrAppend(&sight->objects, i.object.id, " ", i.object.etag, " mode ",
                    static_cast<int>(i.mode), i.large_pages ? " large" : " small", " ",
                    i.mapping_count, " ", i.suspended_mapping_count, " ", i.mapped_bytes, " ",
                    i.alignment_bytes, " loaded ", absl::StrJoin(i.loaded_devices, ","),
                    " domains ", absl::StrJoin(i.domains, ","));
    const auto usable = engine->ListIovaRanges(as, {i.object.id, std::nullopt});
    for (const IovaRange& r : *usable) absl::StrAppend(&sight->objects, " free ", ToString(r));
    absl::StrAppend(&sight->objects, "\n");
    AppendMappings(engine, as, i, &sight->mappings);
  }
}

void AppendDomains(Engine* engine, const CallContext& as, Sight* sight) {
  const auto domains = engine->ListDomains(as, kAll);
  for (const auto& d : domains->items) {
    absl::StrAppend(&sight->objects, d.object.id, " ", d.object.etag, " over ", d.ioas, " on ",
                    d.parent, " for ", d.device, d.pasid ? " pasid" : "",
                    d.properties.nest_parent ? " parent" : "", " children ",
                    absl::StrJoin(d.children, ","), " attached ",
                    absl::StrJoin(d.attached_devices, ","), "\n");
    if (d.automatic && d.attached_devices.empty()) sight->idle_auto_domains.insert(d.object.id);
  }
}

void AppendViommus(Engine* engine, const CallContext& as, Sight* sight) {
  const auto viommus = engine->ListViommus(as, kAll);
  for (const auto& v : viommus->items) {
    absl::StrAppend(&sight->objects, v.object.id, " ", v.object.etag, " on ", v.parent, " domains ",
                    absl::StrJoin(v.domains, ","), "\n");
    const auto vdevices = engine->ListVdevices(as, {v.object.id, std::nullopt}, kAll);
    for (const auto& d : vdevices->items) {
      sight->vdevices.insert(d.object.id);
      absl::StrAppend(&sight->objects, "  ", d.object.id, " ", d.object.etag, " is ", d.device,
                      "\n");
    }
  }
}

void AppendObjects(Engine* engine, const CallContext& as, Sight* sight) {
  const auto regions = engine->ListMemoryRegions(as, kAll);
  for (const auto& r : regions->items) {
    absl::StrAppend(&sight->objects, r.object.id, " ", r.object.etag, " ", r.size_bytes, " ",
                    r.mapping_count, r.suspended ? " suspended" : "", "\n");
  }
  AppendSpaces(engine, as, sight);
  AppendDomains(engine, as, sight);
  AppendViommus(engine, as, sight);
  const std::vector<UsageView> usage = engine->ListUsage(as);
  for (const UsageView& use : usage) {
    absl::StrAppend(&sight->objects, use.owner, " ", use.limit, " ", use.in_use, "\n");
  }
}

std::string PasidsOf(Engine* engine, const CallContext& as, const std::string& device) {
  std::string all;
  const auto attachments = engine->ListAttachments(as, device, kAll);
  for (const auto& a : attachments->items) {
    absl::StrAppend(&all, "\n  attached ", a.pasid.has_value() ? absl::StrCat(*a.pasid) : "RID",
                    " to ", a.domain, " at ", a.revision);
  }
  const auto pasids = engine->ListPasids(as, device, kAll);
  if (!pasids.ok()) return absl::StrCat(all, "\n  ", pasids.status().message());
  for (const auto& p : pasids->items) {
    absl::StrAppend(&all, "\n  PASID ", p.pasid, " ", static_cast<int>(p.state), " ", p.domain, " ",
                    p.label, " at ", p.revision);
  }
  return all;
}

void AppendDevice(Engine* engine, const CallContext& as, const std::string& id,
                  DeviceSight* sight) {
  const auto device = engine->GetDevice(as, id);
  if (!device.ok()) {
    sight->shown = "out";
    return;
  }
  sight->health = device->health_cause;
  sight->shown =
      absl::StrCat(device->etag, " on ", device->domain, device->attached ? " attached" : "",
                   " of ", device->claimed_by, " health ", device->health_reason, " default ",
                   static_cast<int>(device->default_domain), " ", device->default_domain_fallback,
                   PasidsOf(engine, as, id));
}

Ways WaysOf(hardware::VtdModel& hardware, uint32_t requester, std::optional<uint32_t> pasid,
            Iova iova) {
  hardware::Request request;
  request.source_id = static_cast<uint16_t>(requester);
  request.pasid = pasid;
  request.address = iova;
  const hardware::Translation cold = hardware.Probe(request);
  const hardware::Translation warm = hardware.Translate(request);
  return {cold.fault_reason, cold.physical.value, warm.fault_reason, warm.physical.value};
}

// An entry that aborts without an event is none of the events.
uint16_t CodeOf(const hardware::smmu::Event& event) {
  constexpr uint16_t kAborted = 0x100;
  return event.terminated ? kAborted : uint16_t{event.id};
}

Ways WaysOf(hardware::SmmuModel& hardware, uint32_t requester, std::optional<uint32_t> pasid,
            Iova iova) {
  hardware::SmmuModel::Request request;
  request.stream_id = requester;
  request.substream_id = pasid;
  request.address = iova;
  const auto cold = hardware.Probe(request);
  const auto warm = hardware.Translate(request);
  return {CodeOf(cold.fault), cold.physical.value, CodeOf(warm.fault), warm.physical.value};
}

std::vector<Ways> WaysOf(SoftBackend* backend, DeviceIndex device, const Places& places) {
  SoftMachine& machine = backend->machine();
  VtdUnit* const vtd = machine.find_vtd(device);
  const uint32_t requester = machine.requester_of(device);
  std::vector<Ways> ways;
  for (const std::optional<uint32_t>& pasid : places.pasids) {
    for (const Iova iova : places.iovas) {
      ways.push_back(vtd != nullptr
                         ? WaysOf(vtd->hardware(), requester, pasid, iova)
                         : WaysOf(machine.smmu_of(device).hardware(), requester, pasid, iova));
    }
  }
  return ways;
}

std::string Text(const Ways& ways) {
  return absl::StrCat("in memory ", ways.cold_fault, ":", Hex(ways.cold_address), ", cached ",
                      ways.warm_fault, ":", Hex(ways.warm_address));
}

// What caches hold may be what memory had before.
bool IsOnlyCached(const Ways& was, const Ways& is) {
  return is.cold_fault != 0 && was.warm_fault == is.warm_fault &&
         was.warm_address == is.warm_address;
}

std::string HardwareDifference(const DeviceSight& before, const DeviceSight& after,
                               bool may_be_blocked, bool may_be_cached, bool must_be_blocked) {
  for (size_t i = 0; i < before.hardware.size(); ++i) {
    const Ways& was = before.hardware[i];
    const Ways& is = after.hardware[i];
    if (must_be_blocked ? is.blocked() : was == is || (may_be_blocked && is.blocked())) continue;
    if (may_be_cached && IsOnlyCached(was, is)) continue;
    return absl::StrCat("at place ", i, " it met ", Text(was), ", and meets ", Text(is));
  }
  return "";
}

std::string DeviceDifference(const Sight& before, const Sight& after, size_t device,
                             const Allowance& allowance) {
  const DeviceSight& was = before.devices[device];
  const DeviceSight& is = after.devices[device];
  const bool held = allowance.device == device;
  if (held && is.health != allowance.cause) return "it is not unhealthy for the right cause";
  if (!held && was.shown != is.shown) return absl::StrCat("was ", was.shown, "\nis  ", is.shown);
  const bool of_group =
      allowance.device.has_value() && before.devices[*allowance.device].group == was.group;
  return HardwareDifference(was, is, allowance.areas_unmapped || of_group,
                            allowance.areas_unmapped && allowance.flush_owed, held);
}

std::string ObjectsDifference(const Sight& before, const Sight& after, const Allowance& allowance) {
  if (allowance.auto_domain_left) {
    const bool left =
        std::any_of(after.idle_auto_domains.begin(), after.idle_auto_domains.end(),
                    [&](const std::string& id) { return before.idle_auto_domains.count(id) == 0; });
    return left ? "" : "no auto domain is left, and the backend did not destroy it";
  }
  if (before.objects != after.objects) {
    return absl::StrCat("objects were\n", before.objects, "and are\n", after.objects);
  }
  if (!allowance.device.has_value() && before.revision != after.revision) {
    return absl::StrCat("revision ", before.revision, " is now ", after.revision);
  }
  return "";
}

}  // namespace

Sight LookAt(Engine* engine, SoftBackend* backend, const CallContext& as, const Places& places,
             uint64_t kept_pages) {
  Sight sight;
  sight.revision = engine->GetHost().revision;
  sight.table_pages = backend->Stats().table_pages - kept_pages;
  AppendObjects(engine, as, &sight);
  const std::vector<DeviceSpec>& devices = backend->topology().devices;
  for (DeviceIndex device = 0; device < devices.size(); ++device) {
    DeviceSight seen;
    seen.group = devices[device].group;
    AppendDevice(engine, as, devices[device].id, &seen);
    seen.hardware = WaysOf(backend, device, places);
    sight.devices.push_back(std::move(seen));
  }
  return sight;
}

std::string Difference(const Sight& before, const Sight& after, const Allowance& allowance) {
  std::string objects = ObjectsDifference(before, after, allowance);
  if (!objects.empty()) return objects;
  if (before.mappings != after.mappings) {
    return absl::StrCat("mappings were\n", before.mappings, "and are\n", after.mappings);
  }
  for (size_t device = 0; device < before.devices.size(); ++device) {
    const std::string of_device = DeviceDifference(before, after, device, allowance);
    if (!of_device.empty()) return absl::StrCat("device ", device, ": ", of_device);
  }
  const bool fewer =
      allowance.fewer_table_pages || allowance.areas_unmapped || allowance.device.has_value();
  if (before.table_pages == after.table_pages || allowance.auto_domain_left ||
      allowance.flush_owed || (fewer && after.table_pages < before.table_pages)) {
    return "";
  }
  return absl::StrCat("table pages were ", before.table_pages, " and are ", after.table_pages);
}

}  // namespace viommu::faults
