// engine/shown_usage.h -- What an owner's account must say: the sum of what its listings show.
// For tests.
#ifndef VIOMMU_ENGINE_SHOWN_USAGE_H_
#define VIOMMU_ENGINE_SHOWN_USAGE_H_

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "engine/types.h"

namespace viommu {

// One line for each limit that is used: "alice max_ioas 1".
inline std::string UsageText(const std::vector<UsageView>& usage) {
  std::string text;
  for (const UsageView& view : usage) {
    text += view.owner + " " + view.limit + " " + std::to_string(view.in_use) + "\n";
  }
  return text;
}

// The PASIDs that `owner` has taken, each once for the group that shares it.
inline uint64_t OwnPasids(Engine& engine, const CallContext& owner) {
  std::set<std::pair<std::string, uint32_t>> pasids;
  const PageRequest all{kMaxPageSize, ""};
  const auto devices = engine.ListDevices(owner, all);
  for (const DeviceView& device : devices->items) {
    const auto taken_ones = engine.ListPasids(owner, device.spec.id, all);
    for (const PasidView& taken : taken_ones->items) {
      if (taken.owner == owner.principal) pasids.emplace(device.spec.group, taken.pasid);
    }
  }
  return pasids.size();
}

// UsageText of what `owner` must be charged for while it has neither a call under way nor an open
// stream. It is no operator, and has at most kMaxPageSize objects of a kind.
inline std::string ShownUsage(Engine& engine, const CallContext& owner) {
  const PageRequest all{kMaxPageSize, ""};
  const auto regions = engine.ListMemoryRegions(owner, all);
  const auto spaces = engine.ListIoas(owner, all);
  const auto domains = engine.ListDomains(owner, all);
  uint64_t region_bytes = 0, mappings = 0, mapped_bytes = 0, own_domains = 0;
  for (const MemoryRegionView& region : regions->items) region_bytes += region.size_bytes;
  for (const IoasView& ioas : spaces->items) {
    mappings += ioas.mapping_count;
    mapped_bytes += ioas.mapped_bytes;
  }
  // The static ones are nobody's.
  for (const DomainView& domain : domains->items) {
    if (!domain.object.owner.empty()) ++own_domains;
  }
  const auto queues = engine.ListFaultQueues(owner, all);
  uint64_t fault_groups = 0;
  for (const FaultQueueView& queue : queues->items) fault_groups += queue.depth;
  std::vector<UsageView> usage = {{owner.principal, "max_memory_regions", regions->items.size()},
                                  {owner.principal, "max_ioas", spaces->items.size()},
                                  {owner.principal, "max_domains", own_domains},
                                  {owner.principal, "max_mappings", mappings},
                                  {owner.principal, "max_mapped_bytes", mapped_bytes},
                                  {owner.principal, "max_region_bytes_total", region_bytes},
                                  {owner.principal, "max_pasids", OwnPasids(engine, owner)},
                                  {owner.principal, "max_fault_queues", queues->items.size()},
                                  {owner.principal, "max_fault_groups", fault_groups}};
  std::vector<UsageView> used;
  for (UsageView& view : usage) {
    if (view.in_use != 0) used.push_back(std::move(view));
  }
  return UsageText(used);
}

}  // namespace viommu

#endif  // VIOMMU_ENGINE_SHOWN_USAGE_H_
