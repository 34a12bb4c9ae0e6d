// engine/journal/record.h -- The logical operations that a journal keeps.
//
// A record says what was decided, not what was asked for: uids and IOVAs that the engine chose are
// in it, so that replaying gives the same state on any backend. Plain values.
#ifndef VIOMMU_ENGINE_JOURNAL_RECORD_H_
#define VIOMMU_ENGINE_JOURNAL_RECORD_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "engine/base/address.h"

namespace viommu {

namespace record {

struct CreateMemoryRegion {
  uint64_t uid;
  std::string id;
  uint64_t size_bytes;
  std::optional<int32_t> numa_node;
  bool read_only;
};
// What reaches beyond the size is suspended; suspends everything and for good when it is 0.
struct ResizeMemoryRegion {
  uint64_t uid;
  uint64_t size_bytes;
};
struct CreateIoas {
  uint64_t uid;
  std::string id;
  int mode;  // IoasMode.
  bool large_pages;
};
struct SetLargePages {
  uint64_t ioas;
  bool large_pages;
};
struct LoadReservedRegions {
  uint64_t ioas;
  std::string device;
};
struct UnloadReservedRegions {
  uint64_t ioas;
  std::string device;
};
struct CreateDomain {
  uint64_t uid;
  std::string id;
  uint64_t ioas;
  std::string device;
};
// Of an object of any kind.
struct Destroy {
  uint64_t uid;
};
struct Area {
  IovaRange range;
  uint64_t region;
  uint64_t offset_bytes;
  uint8_t permission;  // Bit 0 read, bit 1 write.
};
struct Map {
  uint64_t ioas;
  std::vector<Area> areas;
};
struct Unmap {
  uint64_t ioas;
  std::vector<IovaRange> areas;
  std::vector<Area> remnants;  // What stays of those that were cut: areas of their own from now on.
};
struct SetAllowedRanges {
  uint64_t ioas;
  std::vector<IovaRange> ranges;
};
struct Claim {
  std::string device;
};
struct Release {
  std::string device;
};
// The domain that the device's requests without PASID meet from now on: a uid, or 0 for the static
// one named.
struct Attach {
  std::string device;
  uint64_t domain;
  std::string static_domain;
};
struct Detach {
  std::string device;
};
// The host mapped (or unmapped) a range for itself. Orders it among the changes of its group; it is
// not restored, because the host's mappings die with the host.
struct HostMapping {
  std::string device;
  IovaRange range;
  bool mapped;
};
struct SetHealth {
  std::string device;
  bool healthy;
};
struct SetDefaultDomain {
  std::string device;
  int type;  // DefaultDomainType.
};
struct Unplug {
  std::string device;
};
struct Plug {
  std::string device;
};

}  // namespace record

using LogicalOperation =
    std::variant<record::CreateMemoryRegion, record::CreateIoas, record::CreateDomain,
                 record::Destroy, record::Map, record::Unmap, record::SetAllowedRanges,
                 record::ResizeMemoryRegion, record::SetLargePages, record::LoadReservedRegions,
                 record::UnloadReservedRegions, record::Claim, record::Release, record::Attach,
                 record::Detach, record::SetDefaultDomain, record::HostMapping, record::SetHealth,
                 record::Unplug, record::Plug>;

struct Record {
  std::string principal;
  std::string request_id;  // Empty: none.
  std::string request_digest;
  LogicalOperation operation;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_JOURNAL_RECORD_H_
