// tests/property/reference.h -- What the engine should do, as naively as it can be said.
//
// Maps from page to page, scanned from end to end; no trees, no leaves, no caches. It knows only
// the small world of world.h: whole pages, one principal who is the operator, guests whose tables
// lie in one memory region (guest_tables.h).
#ifndef VIOMMU_TESTS_PROPERTY_REFERENCE_H_
#define VIOMMU_TESTS_PROPERTY_REFERENCE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/backend/topology.h"
#include "engine/base/address.h"
#include "tests/property/guest_tables.h"

namespace viommu::property {

// Why a device meets nothing. What hardware calls it is told in device_eye.cc.
enum class Fault : uint8_t {
  kNone,
  kBlocked,
  kNoPasids,  // The device issues none.
  kNotMapped,
  kFirstNotMapped,
  kNotCanonical,
  kTooWide,
  kReadDenied,
  kWriteDenied,
  kOfTranslation,  // In a nested walk: any but kBlocked. Which is left to the hardware's own tests.
};

// What a device meets at a page: a fault, or the page of a region behind it, or (identity) a
// physical address.
struct View {
  Fault fault = Fault::kNone;
  int region = -1;  // -1 under identity.
  uint64_t offset = 0;

  bool ok() const { return fault == Fault::kNone; }
  friend bool operator==(const View& a, const View& b) {
    return a.fault == b.fault && a.region == b.region && a.offset == b.offset;
  }
};

struct RefArea {
  uint64_t size = 0;
  int region = 0;
  uint64_t offset = 0;
  int permission = 3;  // Bit 0 read, bit 1 write.
};

struct RefIoas {
  std::map<Iova, RefArea> areas;
};

// What a guest's entry asks for; VT-d's always translates.
enum class GuestEntry { kTranslate, kBypass, kAbort };

// What a domain is asked to be. A NESTED one has a parent, or a Viommu, which has one.
struct RefDomainRequest {
  int ioas = 0;
  int device = 0;
  bool nest_parent = false;
  bool pasid = false;
  int parent = -1;
  int viommu = -1;
  int guest = 0;
  GuestEntry entry = GuestEntry::kTranslate;
};

struct RefDomain {
  int ioas = 0;
  int width_bits = 48;  // Of PAGING: of what can be mapped.
  bool first_stage = false;
  bool nest_parent = false;
  bool pasid = false;
  bool automatic = false;
  int parent = -1;
  int viommu = -1;
  int guest = 0;
  GuestEntry entry = GuestEntry::kTranslate;
  std::string iommu;  // The only one that can use it; empty: any whose tables are such.
  bool nested() const { return parent >= 0; }
  bool needs_vdevices() const { return viommu >= 0 && entry == GuestEntry::kTranslate; }
};

struct RefViommu {
  int parent = 0;
  std::string iommu;
};

// Where requests are, or are to go: kIoas is an auto domain of the Ioas `number`.
enum class Place { kHostDma, kHostIdentity, kBlocked, kIdentity, kDomain, kIoas };
struct RefTarget {
  Place place = Place::kBlocked;
  int number = -1;
  friend bool operator==(const RefTarget& a, const RefTarget& b) {
    return a.place == b.place && a.number == b.number;
  }
};

// Which requests of a device: those with a PASID, or (0) those without.
struct Requester {
  int device = 0;
  uint32_t pasid = 0;
};
inline constexpr uint32_t kRid = 0;

struct RefGroup {
  std::vector<int> members;
  Place host_place = Place::kHostDma;
  bool claimed = false;
  std::map<uint32_t, RefTarget> places;  // By PASID, where members are attached.
};

class Reference {
 public:
  // `tables_region`: in which region the guests' tables lie, from its start.
  Reference(const Topology& topology, int ioas_count, int tables_region);

  // Whether each would succeed; the ones that change something change it then.
  bool MapAt(int ioas, Iova iova, const RefArea& area);
  // Where a chosen IOVA would be; nullopt: nowhere.
  std::optional<Iova> Choose(int ioas, uint64_t size, uint64_t offset) const;
  // Bytes unmapped; nullopt: refused.
  std::optional<uint64_t> Unmap(int ioas, Iova iova, uint64_t size);
  bool CreateDomain(int number, const RefDomainRequest& request);
  bool DestroyDomain(int number);
  bool Claim(int device);
  bool Release(int device);
  bool Attach(const Requester& who, RefTarget target);
  bool Replace(const Requester& who, RefTarget target);
  bool Detach(const Requester& who);
  bool Reset(int device) const { return present_[device]; }
  bool Unplug(int device);
  bool Plug(int device);

  // The guests' tables; a word that is rewritten stays in force as well until a domain that may
  // have walked it has been told.
  void WriteGuest(uint64_t offset, uint64_t word);
  bool Invalidate(int domain, const IovaRange& range, bool leaves_only);

  // Of SMMUv3s. A device has one vdevice at most.
  bool CreateViommu(int number, int device, int parent);
  bool DestroyViommu(int number);
  bool CreateVdevice(int viommu, int device);
  bool DestroyVdevice(int device);

  // By the tables as they are.
  View Look(const Requester& who, Iova iova, bool write) const;
  // What caches may make of it.
  std::vector<View> LookThroughCaches(const Requester& who, Iova iova, bool write) const;

  const std::vector<RefIoas>& ioases() const { return ioases_; }
  const std::map<int, RefDomain>& domains() const { return domains_; }
  const std::map<int, RefViommu>& viommus() const { return viommus_; }
  const std::map<int, int>& vdevices() const { return vdevices_; }  // Viommu by device.
  bool claimed(int device) const { return GroupOf(device).claimed; }
  bool present(int device) const { return present_[device]; }
  bool attached(const Requester& who) const { return AttachedAt(who.device, who.pasid); }
  RefTarget Where(const Requester& who) const;
  // The domain on which the requests are; null: on none that was made by a client.
  const RefDomain* DomainAt(const Requester& who) const;
  // Whether the unit and the group of a device can use a domain.
  bool CanUse(int device, int number) const;
  // Words of `domain` that its caches may still hold.
  size_t StaleWords(int domain) const;

 private:
  // Which reserved regions a domain keeps out of its Ioas. Ascending.
  enum class Scope { kNone, kSwMsi, kAll };
  struct Demand {
    Scope scope = Scope::kNone;
    int ioas = -1;
  };
  struct Stale {
    int tag = 0;
    uint64_t offset = 0;
    uint64_t word = 0;
    std::vector<IovaRange> told;  // Where caches have been told since.
  };
  struct GuestWalk;

  const IommuSpec& UnitOf(int device) const;
  bool IsArm(int device) const { return UnitOf(device).architecture == IommuArchitecture::kSmmuV3; }
  int Width(int device) const;       // Of second stages.
  int FirstWidth(int device) const;  // Of first stages, without the sign.
  RefGroup& GroupOf(int device) { return groups_[group_of_[device]]; }
  const RefGroup& GroupOf(int device) const { return groups_[group_of_[device]]; }
  bool AttachedAt(int device, uint32_t pasid) const { return attached_.count({device, pasid}) > 0; }
  bool AnyAttached(const RefGroup& group, uint32_t pasid) const;
  RefDomain PagingFor(const RefDomainRequest& request) const;
  std::optional<RefDomain> NestedFor(const RefDomainRequest& request) const;
  bool CanHoldAreas(const RefDomain& domain) const;
  static bool CanHold(const RefDomain& domain, int permission);
  bool CanHold(int ioas, int permission) const;
  // Ranges in which nothing may be mapped now.
  std::vector<IovaRange> Reserved(int ioas) const;
  bool Free(int ioas, const IovaRange& range) const;
  Demand DemandOf(const RefTarget& target) const;
  static bool IsIn(Scope scope, ReservedRegionType type);
  bool Conflicts(int device, const Demand& from, const Demand& to) const;
  bool HasVdevices(const RefGroup& group, const RefTarget& target) const;
  bool PasidUsable(int device, uint32_t pasid) const;
  bool Serves(const RefTarget& target) const;
  bool PasidCompatible(const Requester& who, const RefTarget& target) const;
  // Fills `made` when an auto domain has to be made.
  bool Choose(const Requester& who, bool joins, RefTarget* target,
              std::optional<RefDomain>* made) const;
  bool Move(const Requester& who, RefTarget target, const std::vector<int>& movers, bool joins);
  void Leave(int device, uint32_t pasid);
  void DropUnusedAutoDomains();

  // Under what hardware caches what a guest's words say: a domain of VT-d has an id of its own; of
  // an SMMUv3's guest it is the nest parent's and the guest's.
  int TagOf(int number, const RefDomain& nested) const;
  bool HasTag(int tag) const;
  View LookAtArea(int ioas, Iova iova, bool write, Fault missing) const;
  View LookAtPaging(const RefDomain& domain, Iova iova, bool write) const;
  View ThroughParent(const RefDomain& nested, uint64_t address, bool write) const;
  std::vector<uint64_t> WordsAt(const GuestWalk& walk, const View& place) const;
  void WalkGuest(const GuestWalk& walk, int level, uint64_t table, bool writable) const;
  std::vector<View> LookAtNested(const Requester& who, Iova iova, bool write, bool stale) const;
  std::vector<View> Looks(const Requester& who, Iova iova, bool write, bool stale) const;

  const Topology topology_;
  const int tables_region_;
  const IommuArchitecture guests_;  // Whose words guests write.
  std::vector<RefIoas> ioases_;
  std::map<int, RefViommu> viommus_;
  std::map<int, int> vdevices_;
  std::map<int, RefDomain> domains_;  // Auto domains have numbers from kFirstAuto up.
  int next_auto_;
  std::vector<RefGroup> groups_;
  std::vector<size_t> group_of_;
  std::vector<bool> present_;
  std::set<std::pair<int, uint32_t>> attached_;
  std::vector<uint64_t> guest_words_;  // By offset / 8.
  std::vector<Stale> stale_;
};

}  // namespace viommu::property

#endif  // VIOMMU_TESTS_PROPERTY_REFERENCE_H_
