// clients/client/batch_builder.h -- Packs maps or unmaps into the parallel arrays of one batch.
#ifndef VIOMMU_CLIENTS_CLIENT_BATCH_BUILDER_H_
#define VIOMMU_CLIENTS_CLIENT_BATCH_BUILDER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/types/optional.h"
#include "viommu/v1/common.pb.h"
#include "viommu/v1/mapping.pb.h"

namespace viommu {

// One wish to map; see MapEntry of ioas.proto.
struct MapOne {
  absl::optional<uint64_t> iova;  // None: the engine chooses.
  uint64_t offset = 0;
  uint64_t length = 0;
  v1::Permission permission = v1::PERMISSION_UNSPECIFIED;  // The stream's default.
  std::string memory_region{};                             // Empty: the stream's default.
};

// One range to unmap.
struct UnmapOne {
  uint64_t iova = 0;
  uint64_t length = 0;
};

// Thread-compatible.
class BatchBuilder {
 public:
  // For maps without a memory region of their own; may be empty.
  explicit BatchBuilder(std::string default_memory_region)
      : default_memory_region_(std::move(default_memory_region)) {}

  size_t size() const { return size_; }

  // Whether the entry may stand in one batch with those that are there: a batch is all maps or all
  // unmaps, and either all maps have an iova or none has.
  bool Accepts(const MapOne& entry) const { return size_ == 0 || kind_ == KindOf(entry); }
  bool Accepts(const UnmapOne& /*entry*/) const { return size_ == 0 || kind_ == Kind::kUnmap; }

  // kInvalidArgument: a map has no memory region, and there is no default.
  absl::Status Check(const MapOne& entry) const;
  static absl::Status Check(const UnmapOne& /*entry*/) { return absl::OkStatus(); }

  // Adds an entry that it accepts.
  void Add(const MapOne& entry);
  void Add(const UnmapOne& entry);
  // Unmaps everything. It must be empty.
  void AddUnmapAll();

  // The batch, under the number `sequence`; the builder is empty again.
  v1::StreamMappingsRequest Take(uint64_t sequence);

 private:
  enum class Kind { kMapAt, kMapAnywhere, kUnmap };

  static Kind KindOf(const MapOne& entry) {
    return entry.iova.has_value() ? Kind::kMapAt : Kind::kMapAnywhere;
  }
  uint32_t IndexOf(const std::string& region);

  const std::string default_memory_region_;
  size_t size_ = 0;
  Kind kind_ = Kind::kUnmap;
  v1::StreamMappingsRequest request_;
  std::map<std::string, uint32_t> regions_;  // Their positions in the batch.
};

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_CLIENT_BATCH_BUILDER_H_
