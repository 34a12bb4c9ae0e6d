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
};
struct CreateIoas {
  uint64_t uid;
  std::string id;
};
struct CreateDomain {
  uint64_t uid;
  std::string id;
  uint64_t ioas;
  std::string device;
  bool nest_parent;
  bool pasid;
};
struct CreateNestedDomain {
  uint64_t uid;
  std::string id;
  uint64_t parent;
  std::string device;
  bool pasid;
  // The guest's first stage, of VT-d.
  uint64_t table_address;
  int address_width_bits;
  bool supervisor_requests;
  bool write_protect;
  bool extended_accessed;
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

}  // namespace record

using LogicalOperation =
    std::variant<record::CreateMemoryRegion, record::CreateIoas, record::CreateDomain,
                 record::CreateNestedDomain, record::Destroy, record::Map, record::Unmap,
                 record::SetAllowedRanges, record::Claim, record::Release, record::Attach,
                 record::Detach, record::SetDefaultDomain, record::HostMapping, record::SetHealth>;

struct Record {
  std::string principal;
  std::string request_id;  // Empty: none.
  std::string request_digest;
  LogicalOperation operation;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_JOURNAL_RECORD_H_
