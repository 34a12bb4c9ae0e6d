#include "server/batches.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "server/convert.h"
#include "server/names.h"
#include "server/request_check.h"

namespace viommu {
namespace {

absl::Status CheckBatchSize(absl::string_view field, size_t entries) {
  if (entries <= kMaxBatchEntries) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument, "BATCH_TOO_LARGE",
               absl::StrCat(field, ": ", entries, " entries, but at most ", kMaxBatchEntries,
                            " are allowed"))
      .Errno("EINVAL")
      .Field(field);
}

absl::Status AllWithRanges(absl::string_view field) {
  return Error(absl::StatusCode::kInvalidArgument, "CONFLICTING_FIELDS",
               absl::StrCat("all leaves no room for ", field))
      .Errno("EINVAL")
      .Field(field);
}

// The distinct memory regions of a batch, in the order of their first use.
class RegionTable {
 public:
  // Batches use few regions, often one for all entries: the last answer is looked at first.
  absl::StatusOr<uint32_t> IndexOf(absl::string_view name) {
    if (last_name_ == name && !regions_.empty()) return last_index_;
    const auto known = index_.find(name);
    if (known == index_.end()) {
      ASSIGN_OR_RETURN(ObjectRef ref, ParseName(NameKind::kMemoryRegion, "memory_region", name));
      last_index_ = static_cast<uint32_t>(regions_.size());
      regions_.push_back(std::move(ref));
      index_.emplace(name, last_index_);
    } else {
      last_index_ = known->second;
    }
    last_name_ = name;
    return last_index_;
  }

  std::vector<ObjectRef> Take() { return std::move(regions_); }

 private:
  std::vector<ObjectRef> regions_;
  absl::flat_hash_map<absl::string_view, uint32_t> index_;  // Names live in the request.
  absl::string_view last_name_;
  uint32_t last_index_ = 0;
};

absl::StatusOr<MapEntry> ParseEntry(const v1::MapEntry& entry, RegionTable& regions) {
  MapEntry out;
  if (entry.has_iova()) out.iova = entry.iova();
  out.offset_bytes = entry.offset();
  out.length_bytes = entry.length();
  ASSIGN_OR_RETURN(out.region, regions.IndexOf(entry.memory_region()));
  ASSIGN_OR_RETURN(out.permission,
                   ParsePermission("permission", entry.permission(), Permission::kReadWrite));
  return out;
}

// One array of a stream batch: as many elements as the batch has entries, or one for all, or none.
template <typename Values>
class Column {
 public:
  Column(absl::string_view field, const Values& values)
      : field_(field), values_(values), step_(values.size() > 1 ? 1 : 0) {}

  bool empty() const { return values_.empty(); }
  size_t size() const { return values_.size(); }
  auto operator[](size_t i) const { return values_[static_cast<int>(i * step_)]; }

  // Whether it fits `entries` entries, which `longest` has; a single element does if `broadcast`.
  absl::Status Check(size_t entries, absl::string_view longest, bool broadcast = true) const {
    if (empty() || size() == entries || (broadcast && size() == 1)) return absl::OkStatus();
    return Error(absl::StatusCode::kInvalidArgument, "ARRAY_LENGTH_MISMATCH",
                 absl::StrCat(field_, " has ", size(), " elements, ", longest, " has ", entries))
        .Errno("EINVAL")
        .Field(field_);
  }

 private:
  absl::string_view field_;
  const Values& values_;
  size_t step_;
};

struct Longest {
  absl::string_view field;
  size_t entries = 0;

  void Consider(absl::string_view name, size_t size) {
    if (size > entries) *this = {name, size};
  }
};

absl::Status CheckRegionIndexes(const v1::MapBatch& batch, size_t regions) {
  for (int i = 0; i < batch.memory_region_index_size(); ++i) {
    if (batch.memory_region_index(i) < regions) continue;
    return Error(absl::StatusCode::kInvalidArgument, "REGION_INDEX_OUT_OF_RANGE",
                 absl::StrCat("map.memory_region_index[", i, "]: ", batch.memory_region_index(i),
                              ", but the batch has ", regions, " memory regions"))
        .Errno("EINVAL")
        .Field(absl::StrCat("map.memory_region_index[", i, "]"))
        .Index(i);
  }
  return absl::OkStatus();
}

// `status` with another field. The casts only choose the overload: all of them work in place.
absl::Status WithField(const absl::Status& status, const ErrorDetail& detail,
                       absl::string_view field) {
  Error error(status.code(), detail.reason, status.message());
  for (const std::string& violation : detail.violations) error.Violation(violation);
  for (const auto& [key, value] : detail.metadata) static_cast<Error&&>(error).Meta(key, value);
  if (detail.index.has_value()) static_cast<Error&&>(error).Index(*detail.index);
  return std::move(error).Errno(detail.errno_name).Resource(detail.resource).Field(field);
}

// `status` with the entry that it is about, and the field that is at fault.
absl::Status AtEntry(const absl::Status& status, uint64_t entry, absl::string_view field) {
  const absl::Status at = AtIndex(status, entry, field);
  return WithField(at, DetailOf(at).value_or(ErrorDetail()), field);
}

// The first of `entries` entries that shows the memory region at position `region`; none if the
// batch only names it.
std::optional<uint64_t> FirstUse(const v1::MapBatch& batch, size_t entries, uint32_t region) {
  const auto& indexes = batch.memory_region_index();
  if (entries == 0) return std::nullopt;
  if (indexes.empty()) return region == 0 ? std::make_optional<uint64_t>(0) : std::nullopt;
  // A single element stands for all entries, so that it is the first one's as well.
  const auto found = std::find(indexes.begin(), indexes.end(), region);
  if (found == indexes.end()) return std::nullopt;
  return static_cast<uint64_t>(found - indexes.begin());
}

absl::StatusOr<std::vector<ObjectRef>> ParseRegions(const v1::MapBatch& batch, size_t entries,
                                                    const StreamDefaults& defaults) {
  std::vector<ObjectRef> regions;
  if (batch.memory_regions().empty()) {
    RETURN_IF_ERROR(Require(defaults.region.has_value(), "map.memory_regions"));
    regions.push_back(*defaults.region);
    return regions;
  }
  RETURN_IF_ERROR(CheckBatchSize("map.memory_regions", batch.memory_regions_size()));
  regions.reserve(batch.memory_regions_size());
  for (int i = 0; i < batch.memory_regions_size(); ++i) {
    const std::string field = absl::StrCat("map.memory_regions[", i, "]");
    absl::StatusOr<ObjectRef> ref =
        ParseName(NameKind::kMemoryRegion, field, batch.memory_regions(i));
    if (!ref.ok()) {
      const std::optional<uint64_t> entry = FirstUse(batch, entries, static_cast<uint32_t>(i));
      return entry.has_value() ? AtEntry(ref.status(), *entry, field) : ref.status();
    }
    regions.push_back(*std::move(ref));
  }
  return regions;
}

absl::StatusOr<std::vector<Permission>> ParsePermissions(const v1::MapBatch& batch,
                                                         const StreamDefaults& defaults) {
  std::vector<Permission> out;
  out.reserve(batch.permission_size());
  for (int i = 0; i < batch.permission_size(); ++i) {
    const absl::StatusOr<Permission> permission =
        ParsePermission("permission", batch.permission(i), defaults.permission);
    if (!permission.ok()) {
      return AtEntry(permission.status(), i, absl::StrCat("map.permission[", i, "]"));
    }
    out.push_back(*permission);
  }
  return out;
}

}  // namespace

absl::StatusOr<MapBatch> ParseMap(const v1::MapRequest& request) {
  RETURN_IF_ERROR(CheckBatchSize("mappings", request.mappings_size()));
  MapBatch batch;
  batch.entries.reserve(request.mappings_size());
  RegionTable regions;
  for (int i = 0; i < request.mappings_size(); ++i) {
    absl::StatusOr<MapEntry> entry = ParseEntry(request.mappings(i), regions);
    if (!entry.ok()) return AtIndex(entry.status(), i, absl::StrCat("mappings[", i, "]"));
    batch.entries.push_back(*std::move(entry));
  }
  batch.regions = regions.Take();
  return batch;
}

absl::StatusOr<UnmapBatch> ParseUnmap(const v1::UnmapRequest& request) {
  RETURN_IF_ERROR(CheckBatchSize("ranges", request.ranges_size()));
  if (request.all() && request.ranges_size() != 0) return AllWithRanges("ranges");
  UnmapBatch batch;
  batch.all = request.all();
  batch.entries.reserve(request.ranges_size());
  for (int i = 0; i < request.ranges_size(); ++i) {
    const v1::UnmapEntry& range = request.ranges(i);
    const absl::Status present = Require(range.has_iova(), "iova");
    if (!present.ok()) return AtIndex(present, i, absl::StrCat("ranges[", i, "]"));
    batch.entries.push_back(UnmapEntry{range.iova(), range.length()});
  }
  return batch;
}

absl::StatusOr<StreamDefaults> ParseDefaults(const v1::OpenStream& open) {
  StreamDefaults defaults;
  ASSIGN_OR_RETURN(
      defaults.permission,
      ParsePermission("open.default_permission", open.default_permission(), defaults.permission));
  if (!open.default_memory_region().empty()) {
    ASSIGN_OR_RETURN(defaults.region,
                     ParseName(NameKind::kMemoryRegion, "open.default_memory_region",
                               open.default_memory_region()));
  }
  return defaults;
}

absl::StatusOr<MapBatch> ParseArrays(const v1::MapBatch& batch, const StreamDefaults& defaults) {
  const Column iova("map.iova", batch.iova());
  const Column offset("map.offset", batch.offset());
  const Column length("map.length", batch.length());
  const Column region("map.memory_region_index", batch.memory_region_index());
  const Column permission("map.permission", batch.permission());
  Longest longest;
  longest.Consider("map.length", length.size());
  longest.Consider("map.iova", iova.size());
  longest.Consider("map.offset", offset.size());
  longest.Consider("map.permission", permission.size());
  longest.Consider("map.memory_region_index", region.size());
  const size_t entries = longest.entries;
  RETURN_IF_ERROR(CheckBatchSize(longest.field, entries));
  RETURN_IF_ERROR(iova.Check(entries, longest.field, /*broadcast=*/false));
  RETURN_IF_ERROR(offset.Check(entries, longest.field));
  RETURN_IF_ERROR(length.Check(entries, longest.field));
  RETURN_IF_ERROR(permission.Check(entries, longest.field));
  RETURN_IF_ERROR(region.Check(entries, longest.field));
  if (entries != 0) RETURN_IF_ERROR(Require(!length.empty(), "map.length"));

  MapBatch out;
  ASSIGN_OR_RETURN(out.regions, ParseRegions(batch, entries, defaults));
  RETURN_IF_ERROR(CheckRegionIndexes(batch, out.regions.size()));
  ASSIGN_OR_RETURN(const std::vector<Permission> permissions, ParsePermissions(batch, defaults));
  out.entries.resize(entries);
  for (size_t i = 0; i < entries; ++i) {
    MapEntry& entry = out.entries[i];
    if (!iova.empty()) entry.iova = iova[i];
    entry.offset_bytes = offset.empty() ? 0 : offset[i];
    entry.length_bytes = length[i];
    entry.region = region.empty() ? 0 : region[i];
    entry.permission = defaults.permission;
    if (!permissions.empty()) entry.permission = permissions[permissions.size() > 1 ? i : 0];
  }
  return out;
}

absl::StatusOr<UnmapBatch> ParseArrays(const v1::UnmapBatch& batch) {
  const Column iova("unmap.iova", batch.iova());
  const Column length("unmap.length", batch.length());
  if (batch.all() && !(iova.empty() && length.empty())) {
    return AllWithRanges(iova.empty() ? "unmap.length" : "unmap.iova");
  }
  Longest longest;
  longest.Consider("unmap.iova", iova.size());
  longest.Consider("unmap.length", length.size());
  const size_t entries = longest.entries;
  RETURN_IF_ERROR(CheckBatchSize(longest.field, entries));
  if (entries != 0) {
    RETURN_IF_ERROR(Require(!iova.empty(), "unmap.iova"));
    RETURN_IF_ERROR(Require(!length.empty(), "unmap.length"));
  }
  RETURN_IF_ERROR(iova.Check(entries, longest.field, /*broadcast=*/false));
  RETURN_IF_ERROR(length.Check(entries, longest.field));
  UnmapBatch out;
  out.all = batch.all();
  out.entries.resize(entries);
  for (size_t i = 0; i < entries; ++i) out.entries[i] = UnmapEntry{iova[i], length[i]};
  return out;
}

ArrayNames::ArrayNames(const v1::MapBatch& batch)
    : is_map_(true),
      iovas_(batch.iova_size()),
      lengths_(batch.length_size()),
      offsets_(batch.offset_size()),
      permissions_(batch.permission_size()),
      region_indexes_(batch.memory_region_index_size()),
      regions_(batch.memory_regions_size()) {}

ArrayNames::ArrayNames(const v1::UnmapBatch& batch)
    : is_map_(false), iovas_(batch.iova_size()), lengths_(batch.length_size()) {}

size_t ArrayNames::SizeOf(absl::string_view leaf) const {
  if (leaf == "iova") return iovas_;
  if (leaf == "length") return lengths_;
  if (leaf == "offset") return offsets_;
  if (leaf == "permission") return permissions_;
  if (leaf == "memory_region_index") return region_indexes_;
  return regions_;
}

std::string ArrayNames::Place(absl::string_view leaf, std::optional<uint64_t> index) const {
  // What is said of an entry as a whole is said of the array that every batch has.
  if (leaf.empty()) leaf = is_map_ ? "length" : "iova";
  if (leaf == "memory_region")
    leaf = region_indexes_ > 0 ? "memory_region_index" : "memory_regions";
  const size_t size = SizeOf(leaf);
  if (size == 0 && leaf == "permission") return "open.default_permission";
  if (size == 0 && leaf == "memory_regions") return "open.default_memory_region";
  std::string place = absl::StrCat(is_map_ ? "map." : "unmap.", leaf);
  // A single element stands for all entries.
  if (size > 0 && index.has_value()) absl::StrAppend(&place, "[", size == 1 ? 0 : *index, "]");
  return place;
}

absl::Status ArrayNames::Rename(const absl::Status& status) const {
  const std::optional<ErrorDetail> detail = DetailOf(status);
  if (!detail.has_value()) return status;
  absl::string_view field = detail->field;
  if (field == "sequence") return WithField(status, *detail, Place(field, std::nullopt));
  if (!absl::ConsumePrefix(&field, is_map_ ? "mappings" : "ranges")) return status;
  if (field.empty()) return WithField(status, *detail, Place("", std::nullopt));
  // What is left is "[3]" or "[3].iova".
  const size_t dot = field.find('.');
  const absl::string_view leaf = dot == absl::string_view::npos ? "" : field.substr(dot + 1);
  return WithField(status, *detail, Place(leaf, detail->index));
}

}  // namespace viommu
