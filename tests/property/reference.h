// tests/property/reference.h -- What the engine should do, as naively as it can be said.
//
// Maps from page to page, scanned from end to end; no trees, no leaves, no caches. It knows only
// the small world of world.h: whole pages, one principal who is the operator.
#ifndef VIOMMU_TESTS_PROPERTY_REFERENCE_H_
#define VIOMMU_TESTS_PROPERTY_REFERENCE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "engine/backend/topology.h"
#include "engine/base/address.h"

namespace viommu::property {

inline constexpr uint64_t kPage = 4096;

// What a device meets at a page: VT-d's fault reason, or the page of a region behind it, or
// (identity) a physical address.
struct View {
  uint8_t fault = 0;  // 0: none.
  int region = -1;    // -1 under identity.
  uint64_t offset = 0;

  friend bool operator==(const View& a, const View& b) {
    return a.fault == b.fault && a.region == b.region && a.offset == b.offset;
  }
};

// VT-d fault reasons that this world can raise (formats-amd-riscv.md A.1).
inline constexpr uint8_t kNotPresent = 0x79;   // SSS.2
inline constexpr uint8_t kBlocked = 0x59;      // SPT.2
inline constexpr uint8_t kWriteDenied = 0x85;  // SGN.6
inline constexpr uint8_t kReadDenied = 0x86;   // SGN.7
inline constexpr uint8_t kTooWide = 0x84;      // SGN.5

struct RefArea {
  uint64_t size = 0;
  int region = 0;
  uint64_t offset = 0;
  int permission = 3;  // Bit 0 read, bit 1 write.
};

struct RefIoas {
  std::map<Iova, RefArea> areas;
};

struct RefDomain {
  int ioas = 0;
  int width_bits = 48;
};

// Where a group is.
enum class Place { kHostDma, kHostIdentity, kBlocked, kIdentity, kDomain };

struct RefGroup {
  std::vector<int> members;
  Place place = Place::kHostDma;
  Place host_place = Place::kHostDma;
  int domain = -1;
  bool claimed() const { return place != Place::kHostDma && place != Place::kHostIdentity; }
};

class Reference {
 public:
  explicit Reference(const Topology& topology, int ioas_count, int domain_count);

  // Whether each would succeed; the ones that change something change it then.
  bool MapAt(int ioas, Iova iova, const RefArea& area);
  // Where a chosen IOVA would be; nullopt: nowhere.
  std::optional<Iova> Choose(int ioas, uint64_t size, uint64_t offset) const;
  // Bytes unmapped; nullopt: refused.
  std::optional<uint64_t> Unmap(int ioas, Iova iova, uint64_t size);
  bool CreateDomain(int domain, int ioas, int device);
  bool DestroyDomain(int domain);
  bool Claim(int device);
  bool Release(int device);
  // `domain`: a number, or kToBlocked or kToIdentity.
  static constexpr int kToBlocked = -1;
  static constexpr int kToIdentity = -2;
  bool Attach(int device, int domain);
  bool Replace(int device, int domain);
  bool Detach(int device);

  View Look(int device, Iova iova, bool write) const;

  const std::vector<RefIoas>& ioases() const { return ioases_; }
  RefGroup& GroupOf(size_t device) { return groups_[group_of_[device]]; }
  const RefGroup& GroupOf(size_t device) const { return groups_[group_of_[device]]; }
  bool attached(int device) const { return attached_[device]; }
  const std::optional<RefDomain>& domain(int number) const { return domains_[number]; }

 private:
  int Width(int device) const;
  // Ranges in which nothing may be mapped now.
  std::vector<IovaRange> Reserved(int ioas) const;
  bool Free(int ioas, const IovaRange& range) const;
  bool ReservesConflict(int ioas, int device) const;
  bool CanUse(int device, int domain) const;

  const Topology topology_;
  std::vector<RefIoas> ioases_;
  std::vector<std::optional<RefDomain>> domains_;
  std::vector<RefGroup> groups_;
  std::vector<size_t> group_of_;
  std::vector<bool> attached_;
};

}  // namespace viommu::property

#endif  // VIOMMU_TESTS_PROPERTY_REFERENCE_H_
