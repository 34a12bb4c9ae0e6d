#include "engine/backend/soft/hardware/smmu_config_cache.h"

#include <limits>

namespace viommu::hardware::smmu {
namespace {

constexpr uint32_t kLastIndex = std::numeric_limits<uint32_t>::max();

template <typename Map, typename Key>
auto* FindOrNull(const Map& map, const Key& key) {
  const auto it = map.find(key);
  return it == map.end() ? nullptr : &it->second;
}

template <typename Map, typename Key>
void EraseRange(Map& map, const Key& first, const Key& last) {
  map.erase(map.lower_bound(first), map.upper_bound(last));
}

}  // namespace

const uint64_t* ConfigCache::FindStreamTable(uint32_t part) const {
  return FindOrNull(stream_tables_, part);
}

void ConfigCache::InsertStreamTable(uint32_t part, uint64_t descriptor) {
  stream_tables_.insert_or_assign(part, descriptor);
}

const StreamEntry* ConfigCache::FindStream(uint32_t stream_id) const {
  return FindOrNull(streams_, stream_id);
}

void ConfigCache::InsertStream(uint32_t stream_id, const StreamEntry& entry) {
  streams_.insert_or_assign(stream_id, entry);
}

const uint64_t* ConfigCache::FindContextTable(uint32_t stream_id, uint32_t part) const {
  return FindOrNull(context_tables_, Key(stream_id, part));
}

void ConfigCache::InsertContextTable(uint32_t stream_id, uint32_t part, uint64_t descriptor) {
  context_tables_.insert_or_assign(Key(stream_id, part), descriptor);
}

const ContextEntry* ConfigCache::FindContext(uint32_t stream_id, uint32_t index) const {
  return FindOrNull(contexts_, Key(stream_id, index));
}

void ConfigCache::InsertContext(uint32_t stream_id, uint32_t index, const ContextEntry& entry) {
  contexts_.insert_or_assign(Key(stream_id, index), entry);
}

void ConfigCache::DropStreams(uint32_t first, uint32_t last, bool leaf, int split) {
  EraseRange(streams_, first, last);
  EraseRange(contexts_, Key(first, 0), Key(last, kLastIndex));
  EraseRange(context_tables_, Key(first, 0), Key(last, kLastIndex));
  if (!leaf) EraseRange(stream_tables_, first >> split, last >> split);
}

void ConfigCache::DropContext(uint32_t stream_id, uint32_t index, bool leaf) {
  contexts_.erase(Key(stream_id, index));
  if (!leaf) EraseRange(context_tables_, Key(stream_id, 0), Key(stream_id, kLastIndex));
}

void ConfigCache::DropContexts(uint32_t stream_id) {
  EraseRange(contexts_, Key(stream_id, 0), Key(stream_id, kLastIndex));
  EraseRange(context_tables_, Key(stream_id, 0), Key(stream_id, kLastIndex));
}

}  // namespace viommu::hardware::smmu
