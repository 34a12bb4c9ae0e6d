#include "clients/client/batch_builder.h"

#include <algorithm>
#include <utility>

namespace viommu {
namespace {

// An array with one element stands for all entries.
template <typename Array>
void CutIfUniform(Array* array) {
  const auto differs = [array](const auto& value) { return value != array->Get(0); };
  if (std::none_of(array->begin(), array->end(), differs)) array->Truncate(1);
}

}  // namespace

absl::Status BatchBuilder::Check(const MapOne& entry) const {
  if (!entry.memory_region.empty() || !default_memory_region_.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "memory_region: the map names none, and the stream has no default");
}

uint32_t BatchBuilder::IndexOf(const std::string& region) {
  const auto [found, is_new] = regions_.emplace(region, static_cast<uint32_t>(regions_.size()));
  if (is_new) request_.mutable_map()->add_memory_regions(region);
  return found->second;
}

void BatchBuilder::Add(const MapOne& entry) {
  kind_ = KindOf(entry);
  ++size_;
  v1::MapBatch& batch = *request_.mutable_map();
  if (entry.iova.has_value()) batch.add_iova(*entry.iova);
  batch.add_offset(entry.offset);
  batch.add_length(entry.length);
  batch.add_permission(entry.permission);
  const std::string& region =
      entry.memory_region.empty() ? default_memory_region_ : entry.memory_region;
  batch.add_memory_region_index(IndexOf(region));
}

void BatchBuilder::Add(const UnmapOne& entry) {
  kind_ = Kind::kUnmap;
  ++size_;
  request_.mutable_unmap()->add_iova(entry.iova);
  request_.mutable_unmap()->add_length(entry.length);
}

void BatchBuilder::AddUnmapAll() {
  kind_ = Kind::kUnmap;
  size_ = 1;
  request_.mutable_unmap()->set_all(true);
}

v1::StreamMappingsRequest BatchBuilder::Take(uint64_t sequence) {
  if (request_.has_map()) {
    v1::MapBatch& batch = *request_.mutable_map();
    batch.set_sequence(sequence);
    CutIfUniform(batch.mutable_offset());
    // Something has to say how many entries there are.
    if (kind_ == Kind::kMapAt) CutIfUniform(batch.mutable_length());
    CutIfUniform(batch.mutable_permission());
    CutIfUniform(batch.mutable_memory_region_index());
  } else {
    request_.mutable_unmap()->set_sequence(sequence);
  }
  size_ = 0;
  regions_.clear();
  return std::exchange(request_, v1::StreamMappingsRequest());
}

}  // namespace viommu
