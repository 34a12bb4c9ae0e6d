// engine/backend/soft/hardware/smmu_config_cache.h -- What an SMMUv3 remembers of its
// configuration: stream table entries, context descriptors, and the first levels of their tables.
//
// The worst a real unit may do: nothing falls out by itself, and what is not valid is remembered as
// well as what is (IHI 0070 4.3: after a structure is altered in any way it has to be invalidated).
// Only first-level stream table descriptors without a table are not, since no driver invalidates
// those before the first use of a stream.
//
// Thread-compatible: the SmmuModel holds its lock.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_CONFIG_CACHE_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_CONFIG_CACHE_H_

#include <cstdint>
#include <utility>

#include "absl/container/btree_map.h"
#include "engine/backend/soft/hardware/smmu_entries.h"

namespace viommu::hardware::smmu {

class ConfigCache {
 public:
  // Null where nothing is cached. A first-level descriptor is the word in memory; `part` is the
  // index in the first-level table.
  const uint64_t* FindStreamTable(uint32_t part) const;
  void InsertStreamTable(uint32_t part, uint64_t descriptor);
  const StreamEntry* FindStream(uint32_t stream_id) const;
  void InsertStream(uint32_t stream_id, const StreamEntry& entry);
  const uint64_t* FindContextTable(uint32_t stream_id, uint32_t part) const;
  void InsertContextTable(uint32_t stream_id, uint32_t part, uint64_t descriptor);
  const ContextEntry* FindContext(uint32_t stream_id, uint32_t index) const;
  void InsertContext(uint32_t stream_id, uint32_t index, const ContextEntry& entry);

  // CFGI_STE: streams first to last with all their context descriptors and tables of these. Unless
  // `leaf`, the first-level stream table descriptors on the way too: 2^`split` streams have one.
  void DropStreams(uint32_t first, uint32_t last, bool leaf, int split);
  // CFGI_CD: one context descriptor, and unless `leaf` all first-level descriptors of its stream
  // (at least the one on the way to it).
  void DropContext(uint32_t stream_id, uint32_t index, bool leaf);
  // CFGI_CD_ALL
  void DropContexts(uint32_t stream_id);

 private:
  using Key = std::pair<uint32_t, uint32_t>;  // Stream, index or part.

  absl::btree_map<uint32_t, uint64_t> stream_tables_;
  absl::btree_map<uint32_t, StreamEntry> streams_;
  absl::btree_map<Key, uint64_t> context_tables_;
  absl::btree_map<Key, ContextEntry> contexts_;
};

}  // namespace viommu::hardware::smmu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_CONFIG_CACHE_H_
