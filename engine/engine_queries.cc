// The reading half of the Engine: every method looks under the pipeline's lock and copies out.
#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/core.h"
#include "engine/model/views.h"
#include "engine/object_pages.h"
#include "engine/paging.h"

namespace viommu {
namespace {

// Pages over something with positions 0..count-1 (devices, units): the cursor is a position.
template <typename T, typename F>
absl::StatusOr<Page<T>> PageOfPositions(size_t count, const PageRequest& page, F&& item_at) {
  RETURN_IF_ERROR(CheckPageSize(page));
  size_t position = 0;
  if (!page.cursor.empty() &&
      (!absl::SimpleAtoi(page.cursor, &position) || position == 0 || position > count)) {
    return UnknownPageToken();
  }
  Page<T> result;
  for (; position < count; ++position) {
    std::optional<T> item = item_at(position);
    if (!item.has_value()) continue;
    if (result.items.size() == page.page_size) {
      result.next_cursor = absl::StrCat(position);
      break;
    }
    result.items.push_back(*std::move(item));
  }
  return result;
}

uint64_t CountPresent(const Model& model) {
  return std::count_if(model.devices.begin(), model.devices.end(),
                       [](const Device& device) { return device.present; });
}

const IommuSpec* FindIommu(const Model& model, const std::string& id) {
  for (const IommuSpec& iommu : model.backend().topology().iommus) {
    if (iommu.id == id) return &iommu;
  }
  return nullptr;
}

absl::Status IommuNotFound(const std::string& id) {
  const std::string name = absl::StrCat("iommus/", id);
  return Error(absl::StatusCode::kNotFound, "IOMMU_NOT_FOUND",
               absl::StrCat(name, " does not exist"))
      .Errno("ENOENT")
      .Resource(name);
}

absl::string_view CauseName(FlushQueue::Cause cause) {
  switch (cause) {
    case FlushQueue::Cause::kFull:
      return "full";
    case FlushQueue::Cause::kTimer:
      return "timer";
    case FlushQueue::Cause::kSync:
      return "sync";
  }
  return "";
}

absl::string_view CauseName(HealthReason reason) {
  switch (reason) {
    case HealthReason::kNone:
      break;
    case HealthReason::kInjected:
      return "injected";
    case HealthReason::kResetFailed:
      return "reset_failed";
    case HealthReason::kInvalidationFailed:
      return "invalidation_failed";
    case HealthReason::kUnplugFailed:
      return "unplug_failed";
    case HealthReason::kStateLost:
      return "state_lost";
  }
  return "";
}

void CountDevices(const Model& model, EngineStats* stats) {
  constexpr HealthReason kReasons[] = {HealthReason::kInjected, HealthReason::kResetFailed,
                                       HealthReason::kInvalidationFailed,
                                       HealthReason::kUnplugFailed, HealthReason::kStateLost};
  for (const HealthReason reason : kReasons) {
    stats->unhealthy_devices.emplace_back(
        CauseName(reason),
        std::count_if(model.devices.begin(), model.devices.end(), [&](const Device& device) {
          return device.present && device.health_cause == reason;
        }));
  }
  for (const Device& device : model.devices) {
    stats->claimed_devices += device.present && model.GroupOf(device).claimed() ? 1 : 0;
    stats->attached_devices += device.attachments.empty() ? 0 : 1;
    stats->quarantined_devices += device.present && device.held_back ? 1 : 0;
  }
}

void CountMappings(const Model& model, EngineStats* stats) {
  uint64_t suspended_mappings = 0;
  model.objects.Visit(ObjectKind::kIoas, std::nullopt, {"", ""}, [&](Object& object) {
    const auto& ioas = static_cast<const Ioas&>(object);
    stats->mappings += ioas.mapping_count();
    stats->mapped_bytes += ioas.mapped_bytes();
    suspended_mappings += ioas.suspended_count();
    return true;
  });
  uint64_t suspended_regions = 0;
  model.objects.Visit(ObjectKind::kMemoryRegion, std::nullopt, {"", ""}, [&](Object& object) {
    suspended_regions += static_cast<const MemoryRegion&>(object).suspended ? 1 : 0;
    return true;
  });
  stats->suspended = {{"memory_region", suspended_regions}, {"mapping", suspended_mappings}};
}

EngineStats::FlushQueues FlushQueueStats(const Model& model) {
  EngineStats::FlushQueues stats;
  for (const FlushQueue::Cause cause : FlushQueue::kCauses) {
    stats.flushes.emplace_back(CauseName(cause), 0);
  }
  for (const Group& group : model.groups) {
    const FlushQueue& queue = group.host.queue;
    stats.waiting += queue.size();
    stats.deepest = std::max<uint64_t>(stats.deepest, queue.size());
    stats.failures += queue.failures();
    for (const FlushQueue::Cause cause : FlushQueue::kCauses) {
      stats.flushes[static_cast<size_t>(cause)].second += queue.Flushes(cause);
    }
  }
  return stats;
}

EngineStats::PageFaults PageFaultStats(const Model& model) {
  const PageFaults& faults = model.page_faults;
  EngineStats::PageFaults stats;
  model.objects.Visit(ObjectKind::kFaultQueue, std::nullopt, {"", ""}, [&](Object& object) {
    stats.waiting += static_cast<const FaultQueue&>(object).size();
    return true;
  });
  stats.partial = faults.partial.size();
  stats.lost = faults.lost;
  stats.dropped = faults.dropped;
  stats.answered = {{"success", faults.Answered(PageResponse::kSuccess)},
                    {"invalid", faults.Answered(PageResponse::kInvalid)},
                    {"failure", faults.Answered(PageResponse::kFailure)}};
  return stats;
}

EngineStats::Events EventStats(const Model& model) {
  EngineStats::Events stats;
  model.objects.Visit(ObjectKind::kEventQueue, std::nullopt, {"", ""}, [&](Object& object) {
    stats.waiting += static_cast<const ViommuEventQueue&>(object).events.size();
    return true;
  });
  stats.lost = model.events_lost;
  return stats;
}

}  // namespace

HostView Engine::GetHost() {
  absl::MutexLock lock(&core_->pipeline.mutex());
  return {core_->options.version,
          std::string(core_->backend->name()),
          core_->boot_id,
          core_->model.revision,
          core_->start_time,
          core_->options.owner_limits,
          core_->options.flush_queue};
}

void Engine::ForgetRequests(const std::string& principal) { core_->requests.Forget(principal); }

std::vector<UsageView> Engine::ListUsage(const CallContext& context) {
  absl::MutexLock lock(&core_->pipeline.mutex());
  std::vector<UsageView> usage = core_->model.ledger.List();
  if (context.is_operator) return usage;
  const auto foreign = [&](const UsageView& view) {
    return view.owner.empty() || view.owner != context.principal;  // Empty: the host's.
  };
  usage.erase(std::remove_if(usage.begin(), usage.end(), foreign), usage.end());
  return usage;
}

absl::StatusOr<IommuView> Engine::GetIommu(const CallContext&, const std::string& id) {
  absl::MutexLock lock(&core_->pipeline.mutex());
  const IommuSpec* const iommu = FindIommu(core_->model, id);
  if (iommu == nullptr) return IommuNotFound(id);
  return ViewOf(core_->model, *iommu);
}

absl::StatusOr<Page<IommuView>> Engine::ListIommus(const CallContext&, const PageRequest& page) {
  absl::MutexLock lock(&core_->pipeline.mutex());
  const std::vector<IommuSpec>& iommus = core_->backend->topology().iommus;
  return PageOfPositions<IommuView>(iommus.size(), page, [&](size_t i) {
    return std::optional<IommuView>(ViewOf(core_->model, iommus[i]));
  });
}

absl::StatusOr<QueueState> Engine::GetInvalidationQueue(const CallContext&,
                                                        const std::string& iommu) {
  for (QueueState& queue : core_->backend->Queues()) {
    if (queue.iommu == iommu) return std::move(queue);
  }
  return IommuNotFound(iommu);
}

absl::StatusOr<Page<QueueState>> Engine::ListInvalidationQueues(const CallContext&,
                                                                const PageRequest& page) {
  const std::vector<QueueState> queues = core_->backend->Queues();
  return PageOfPositions<QueueState>(
      queues.size(), page, [&](size_t i) { return std::optional<QueueState>(queues[i]); });
}

absl::StatusOr<MemoryRegionView> Engine::GetMemoryRegion(const CallContext& context,
                                                         const ObjectRef& ref) {
  absl::MutexLock lock(&core_->pipeline.mutex());
  ASSIGN_OR_RETURN(const MemoryRegion* region, core_->model.Find<MemoryRegion>(context, ref));
  return ViewOf(*region, context.principal);
}

absl::StatusOr<Page<MemoryRegionView>> Engine::ListMemoryRegions(const CallContext& context,
                                                                 const PageRequest& page) {
  absl::MutexLock lock(&core_->pipeline.mutex());
  return PageOfObjects<MemoryRegion, MemoryRegionView>(
      core_->model, context, page,
      [&](const MemoryRegion& region) { return ViewOf(region, context.principal); });
}

absl::StatusOr<IoasView> Engine::GetIoas(const CallContext& context, const ObjectRef& ref) {
  absl::MutexLock lock(&core_->pipeline.mutex());
  ASSIGN_OR_RETURN(const Ioas* ioas, core_->model.Find<Ioas>(context, ref));
  return ViewOf(core_->model, *ioas, context.principal);
}

absl::StatusOr<Page<IoasView>> Engine::ListIoas(const CallContext& context,
                                                const PageRequest& page) {
  absl::MutexLock lock(&core_->pipeline.mutex());
  return PageOfObjects<Ioas, IoasView>(core_->model, context, page, [&](const Ioas& ioas) {
    return ViewOf(core_->model, ioas, context.principal);
  });
}

absl::StatusOr<Page<MappingView>> Engine::ListMappings(const CallContext& context,
                                                       const ObjectRef& ref,
                                                       const IovaRange& window,
                                                       const PageRequest& page) {
  RETURN_IF_ERROR(CheckPageSize(page));
  IovaRange rest = window;
  if (!page.cursor.empty() &&
      (!absl::SimpleAtoi(page.cursor, &rest.first) || !window.Contains(rest.first))) {
    return UnknownPageToken();
  }
  absl::MutexLock lock(&core_->pipeline.mutex());
  ASSIGN_OR_RETURN(const Ioas* ioas, core_->model.Find<Ioas>(context, ref));
  Page<MappingView> result;
  ioas->VisitCommitted(rest, [&](const PlacedArea& area) {
    if (result.items.size() == page.page_size) {
      result.next_cursor = absl::StrCat(area.range.first);
      return false;
    }
    result.items.push_back(ViewOf(core_->model, area, context.principal));
    return true;
  });
  return result;
}

absl::StatusOr<TranslationView> Engine::Translate(const CallContext& context, const ObjectRef& ref,
                                                  Iova iova) {
  absl::MutexLock lock(&core_->pipeline.mutex());
  ASSIGN_OR_RETURN(const Ioas* ioas, core_->model.Find<Ioas>(context, ref));
  const std::optional<PlacedArea> area = ioas->FindCommitted(iova);
  if (!area.has_value()) {
    return Error(absl::StatusCode::kNotFound, "IOVA_NOT_COVERED",
                 absl::StrCat("no area covers ", Hex(iova)))
        .Errno("ENOENT")
        .Field("iova");
  }
  if (area->area.suspended) return NotInForce(*area);
  const uint64_t into = iova - area->range.first;
  return TranslationView{iova, ViewOf(core_->model, *area, context.principal),
                         area->area.offset_bytes + into, area->range.size_bytes() - into};
}

absl::StatusOr<std::vector<IovaRange>> Engine::ListIovaRanges(const CallContext& context,
                                                              const ObjectRef& ref) {
  absl::MutexLock lock(&core_->pipeline.mutex());
  ASSIGN_OR_RETURN(const Ioas* ioas, core_->model.Find<Ioas>(context, ref));
  return ioas->space().UsableRanges();
}

absl::StatusOr<DomainView> Engine::GetDomain(const CallContext& context, const ObjectRef& ref) {
  absl::MutexLock lock(&core_->pipeline.mutex());
  if (!ref.owner.has_value() && ref.id == kIdentityDomain) {
    return StaticDomainView(core_->model, DomainTarget::Kind::kIdentity, context);
  }
  if (!ref.owner.has_value() && ref.id == kBlockedDomain) {
    return StaticDomainView(core_->model, DomainTarget::Kind::kBlocked, context);
  }
  ASSIGN_OR_RETURN(const Domain* domain, core_->model.Find<Domain>(context, ref));
  return ViewOf(core_->model, *domain, context.principal);
}

absl::StatusOr<Page<DomainView>> Engine::ListDomains(const CallContext& context,
                                                     const PageRequest& page) {
  absl::MutexLock lock(&core_->pipeline.mutex());
  RETURN_IF_ERROR(CheckPageSize(page));
  // The static ones stand before the objects: cursors "#1" and "#2" say how many were shown.
  constexpr DomainTarget::Kind kStatic[] = {DomainTarget::Kind::kBlocked,
                                            DomainTarget::Kind::kIdentity};
  size_t shown = 0;
  PageRequest rest = page;
  if (page.cursor.empty() || page.cursor[0] == '#') {
    if (!page.cursor.empty() && page.cursor != "#1" && page.cursor != "#2") {
      return UnknownPageToken();
    }
    shown = page.cursor.empty() ? 0 : page.cursor[1] - '0';
    rest.cursor.clear();
  } else {
    shown = 2;
  }
  std::vector<DomainView> first;
  for (; shown < 2 && first.size() < page.page_size; ++shown) {
    first.push_back(StaticDomainView(core_->model, kStatic[shown], context));
  }
  if (first.size() == page.page_size) {
    return Page<DomainView>{std::move(first), absl::StrCat("#", shown)};
  }
  rest.page_size = page.page_size - first.size();
  ASSIGN_OR_RETURN(
      Page<DomainView> result,
      (PageOfObjects<Domain, DomainView>(core_->model, context, rest, [&](const Domain& domain) {
        return ViewOf(core_->model, domain, context.principal);
      })));
  result.items.insert(result.items.begin(), first.begin(), first.end());
  return result;
}

absl::StatusOr<FaultQueueView> Engine::GetFaultQueue(const CallContext& context,
                                                     const ObjectRef& ref) {
  core_->DeliverPageFaults();
  absl::MutexLock lock(&core_->pipeline.mutex());
  ASSIGN_OR_RETURN(const FaultQueue* queue, core_->model.Find<FaultQueue>(context, ref));
  return ViewOf(core_->model, *queue, context.principal);
}

absl::StatusOr<Page<FaultQueueView>> Engine::ListFaultQueues(const CallContext& context,
                                                             const PageRequest& page) {
  core_->DeliverPageFaults();
  absl::MutexLock lock(&core_->pipeline.mutex());
  return PageOfObjects<FaultQueue, FaultQueueView>(
      core_->model, context, page,
      [&](const FaultQueue& queue) { return ViewOf(core_->model, queue, context.principal); });
}

absl::StatusOr<DeviceView> Engine::GetDevice(const CallContext& context, const std::string& id) {
  absl::MutexLock lock(&core_->pipeline.mutex());
  ASSIGN_OR_RETURN(const Device* device, core_->model.FindDevice(id));
  return ViewOf(core_->model, *device, context);
}

absl::StatusOr<Page<DeviceView>> Engine::ListDevices(const CallContext& context,
                                                     const PageRequest& page) {
  absl::MutexLock lock(&core_->pipeline.mutex());
  const Model& model = core_->model;
  return PageOfPositions<DeviceView>(model.devices.size(), page,
                                     [&](size_t i) -> std::optional<DeviceView> {
                                       if (!model.devices[i].present) return std::nullopt;
                                       return ViewOf(model, model.devices[i], context);
                                     });
}

absl::StatusOr<std::vector<ReservedRegionView>> Engine::ListReservedRegions(const CallContext&,
                                                                            const std::string& id) {
  absl::MutexLock lock(&core_->pipeline.mutex());
  ASSIGN_OR_RETURN(const Device* device, core_->model.FindDevice(id));
  std::vector<ReservedRegionView> views;
  for (const ReservedRegion& region : device->spec.reserved_regions) {
    views.push_back({region, device->Name()});
  }
  std::sort(views.begin(), views.end(), [](const auto& a, const auto& b) {
    return std::pair(a.region.range.first, a.region.type) <
           std::pair(b.region.range.first, b.region.type);
  });
  return views;
}

absl::StatusOr<HardwareView> Engine::GetHardwareInfo(const CallContext&, const std::string& id) {
  absl::MutexLock lock(&core_->pipeline.mutex());
  ASSIGN_OR_RETURN(const Device* device, core_->model.FindDevice(id));
  return HardwareOf(core_->model, *device);
}

EngineStats Engine::Stats() {
  EngineStats stats;
  stats.backend = core_->backend->Stats();
  stats.queues = core_->backend->Queues();
  stats.remembered_requests = core_->requests.size();
  absl::MutexLock lock(&core_->pipeline.mutex());
  const Model& model = core_->model;
  stats.limit_refusals = model.ledger.Refusals();
  stats.objects = {{"memory_region", model.objects.CountLive(ObjectKind::kMemoryRegion)},
                   {"ioas", model.objects.CountLive(ObjectKind::kIoas)},
                   {"domain", model.objects.CountLive(ObjectKind::kDomain)},
                   {"fault_queue", model.objects.CountLive(ObjectKind::kFaultQueue)},
                   {"viommu", model.objects.CountLive(ObjectKind::kViommu)},
                   {"vdevice", model.objects.CountLive(ObjectKind::kVdevice)},
                   {"event_queue", model.objects.CountLive(ObjectKind::kEventQueue)},
                   {"hardware_queue", model.objects.CountLive(ObjectKind::kHardwareQueue)},
                   {"device", CountPresent(model)},
                   {"iommu", core_->backend->topology().iommus.size()}};
  CountMappings(model, &stats);
  CountDevices(model, &stats);
  stats.quarantines = model.quarantines;
  stats.flush_queues = FlushQueueStats(model);
  stats.page_faults = PageFaultStats(model);
  stats.events = EventStats(model);
  for (const DomainState from : kDomainStates) {
    for (const DomainState to : kDomainStates) {
      if (from == to && from != DomainState::kPaging) continue;
      const auto count = [&](int hitless) {
        const auto it = model.transitions[hitless].find({from, to});
        return it == model.transitions[hitless].end() ? uint64_t{0} : it->second;
      };
      stats.transitions.push_back(
          {absl::StrCat(DomainStateName(from), "_to_", DomainStateName(to)), count(1), count(0)});
    }
  }
  return stats;
}

}  // namespace viommu
