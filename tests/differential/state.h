// tests/differential/state.h -- Everything that the host has, as naively as it can be said.
//
// What can be derived is derived, each time, by looking at everything: what is reserved in an
// address space, who refers to what, what an owner uses. Says nothing of how the engine does it.
#ifndef VIOMMU_TESTS_DIFFERENTIAL_STATE_H_
#define VIOMMU_TESTS_DIFFERENTIAL_STATE_H_

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/address.h"
#include "engine/types.h"
#include "tests/differential/answer.h"
#include "tests/differential/machine.h"
#include "tests/differential/step.h"

namespace viommu::differential {

// Rules that are wrong on purpose, for testing what finds them and what shrinks a trace to them.
enum class WrongRule {
  kNone,
  kUnmapCutsAreas,
  kDeleteForgetsHostMappings,
  kReplaceIgnoresRegions,
  kDeleteForgetsChildren,
  kAutoDomainsStay,
  kDetachKeepsPasids,
  kDetachKeepsFaults,
  kVdevicesStay,
};

struct Name {
  std::string owner;
  std::string id;

  friend bool operator==(const Name& a, const Name& b) {
    return a.id == b.id && a.owner == b.owner;
  }
  friend bool operator!=(const Name& a, const Name& b) { return !(a == b); }
  friend bool operator<(const Name& a, const Name& b) {
    return a.owner != b.owner ? a.owner < b.owner : a.id < b.id;
  }
};

// A `version` is another one after every change that an etag tells.
struct Region {
  uint64_t capacity = 0;  // It was made with.
  uint64_t size = 0;      // Of it, what can be mapped.
  std::optional<int32_t> numa_node;
  bool read_only = false;
  bool suspended = false;  // Revoked.
  uint64_t physical = 0;   // Where the machine put it.
  uint64_t version = 0;
};

struct Mapped {
  IovaRange range;
  Name region;
  uint64_t offset = 0;
  uint64_t permission = 3;
  bool suspended = false;  // Its memory went.
};
using Areas = std::map<Iova, Mapped>;

struct Space {
  Areas areas;
  std::vector<IovaRange> allowed;  // Ascending.
  IoasMode mode = IoasMode::kNative;
  bool large_pages = true;
  std::set<size_t> loaded;  // Devices whose reserved regions are loaded.
  uint64_t version = 0;
  uint64_t mapping_version = 0;  // Another one after every batch that changed something.
};

struct Domain {
  Name ioas;  // Of a NESTED one that of its parent.
  Making making;
  std::optional<Name> parent;  // Of a NESTED one.
  std::optional<Name> viommu;  // Of a NESTED one for a guest's own SMMUv3.
  ArmSmmuV3Stage1 vste;        // What it stands for there.
  bool translates = false;     // That is a stage of the guest's.
  std::optional<Name> queue;   // For its page faults.
  bool automatic = false;      // Made by an attachment; it goes with the last one.
  uint64_t made = 0;           // Ascending.
  uint64_t version = 0;
};

struct Target {
  enum class Kind { kBlocked, kIdentity, kDomain };
  Kind kind = Kind::kBlocked;
  Name domain;

  friend bool operator==(const Target& a, const Target& b) {
    return a.kind == b.kind && a.domain == b.domain;
  }
};

// Which requests of a device: those with this PASID; none: those without, the RID's.
using Spot = std::optional<uint32_t>;

// A PASID that somebody has.
struct Taken {
  enum class How { kReserved, kAllocated, kByAttaching };
  How how = How::kReserved;
  std::string owner;
  std::string label;
};

// A group of page faults of a device that waits for its answer.
struct Waiting {
  uint32_t cookie = 0;
  size_t device = 0;
  Spot pasid;
  uint32_t group = 0;
  Spot at;  // The attachment that its requests met, and what that was to.
  Name domain;
  std::vector<FaultedPage> pages;
};

struct Faults {  // A fault queue.
  uint32_t depth = 0;
  std::map<uint64_t, Waiting> waiting;  // By number.
  uint64_t groups = 0;                  // That came: the number of the last one.
  uint32_t cookies = 0;                 // Given out.
  uint64_t lost = 0;
  uint64_t version = 0;
};

// What a device was told of a group.
struct Told {
  Spot pasid;
  uint32_t group = 0;
  PageResponse code = PageResponse::kInvalid;
};

struct Guest {  // A Viommu.
  ViommuType type = ViommuType::kArmSmmuV3;
  std::string unit;
  Name parent;
  uint64_t version = 0;
};

struct GuestDevice {  // A vdevice.
  Name viommu;
  size_t device = 0;
  uint64_t virtual_id = 0;
  uint64_t version = 0;
};

struct GuestEvents {  // An event queue.
  struct Event {
    uint64_t sequence = 0;
    ArmSmmuV3Event event;
  };
  Name viommu;
  uint32_t depth = 0;
  std::vector<Event> events;
  uint64_t reported = 0;  // The number of the next one, too.
  uint64_t lost = 0;
  bool lost_last = false;  // Nothing came behind what was lost.
  uint64_t version = 0;
};

struct Function {  // A device.
  size_t group = 0;
  bool present = true;  // Plugged in.
  std::set<Spot> attached;
  bool healthy = true;
  std::string health_reason;
  // Faults that wait for the last one of their group, by PASID and group.
  std::map<std::pair<Spot, uint32_t>, std::vector<FaultedPage>> asked;
  std::deque<Told> told;  // The last ones.
  uint64_t version = 0;
};

// Why a group's default domain is not what was asked for.
enum class Fallback { kNone, kUntrusted, kNoPassThrough, kNoDeferredFlush };

struct Isolation {  // A group.
  std::string name;
  std::vector<size_t> members;
  std::string claimed_by;            // Empty: the host has it.
  std::map<Spot, Target> targets;    // Where, and only where, members are attached.
  std::map<uint32_t, Taken> pasids;  // The members share them.
  DefaultDomainType default_domain = DefaultDomainType::kDma;
  Fallback fallback = Fallback::kNone;
  Areas host_areas;
  Areas waiting;  // Unmapped by the host, for a flush: their addresses are not free yet.
};

// What one owner uses, in the order of OwnerLimits.
struct Used {
  uint64_t regions = 0, spaces = 0, domains = 0, mappings = 0, mapped_bytes = 0, region_bytes = 0,
           pasids = 0, fault_queues = 0, fault_groups = 0, viommus = 0, queued_events = 0;
};

// What a step may have changed, so that it is compared.
struct Touched {
  std::vector<Name> regions, spaces, domains, queues, viommus, vdevices, event_queues;
  std::vector<size_t> devices;
};

// Plain value: a copy is what would be.
class State {
 public:
  // `hardware` outlives it and all its copies.
  State(const Hardware* hardware, const OwnerLimits& limits, WrongRule wrong);

  std::map<Name, Region> regions;
  std::map<Name, Space> spaces;
  std::map<Name, Domain> domains;
  std::map<Name, Faults> queues;
  std::map<Name, Guest> viommus;
  // By the name of their Viommu and their own: "vm0/vdevices/x1", "vm0/eventQueues/e1".
  std::map<Name, GuestDevice> vdevices;
  std::map<Name, GuestEvents> event_queues;
  std::vector<Function> devices;
  std::vector<Isolation> groups;

  const Hardware* hardware;
  OwnerLimits limits;
  WrongRule wrong = WrongRule::kNone;

  Touched touched;
  bool changed = false;  // Something was committed.
  bool stirred = false;  // What no revision tells has changed: page faults, events.

  // ---- Derived ----
  bool Has(Sort sort, const Name& name) const;
  Isolation& GroupOf(size_t device) { return groups[devices[device].group]; }
  const Isolation& GroupOf(size_t device) const { return groups[devices[device].group]; }
  // What a claimed group is on; BLOCKED where no member is attached.
  static Target TargetAt(const Isolation& group, Spot at);
  // The members of the device's group that are attached there.
  std::vector<size_t> AttachedAt(size_t device, Spot at) const;
  // With RID or PASIDs.
  std::vector<size_t> AttachedTo(const Target& target) const;
  // The PAGING ones, and the NESTED ones on one of these.
  std::vector<Name> DomainsOver(const Name& ioas) const;
  std::vector<Name> DomainsOn(const Name& parent) const;
  // What refers to a Viommu, and to a fault queue.
  std::vector<Name> DomainsOfViommu(const Name& viommu) const;
  std::vector<Name> VdevicesOf(const Name& viommu) const;
  std::vector<Name> EventQueuesOf(const Name& viommu) const;
  std::vector<Name> DomainsWith(const Name& queue) const;
  std::vector<Name> ViommusOn(const Name& parent) const;
  // The only one that a device can have.
  std::optional<Name> VdeviceOf(size_t device) const;
  // What an address space must leave free for a device whose RID is on `target` (section 7; under
  // a NESTED domain the guest lays out its addresses, only the SW_MSI window is the host's).
  std::vector<IovaRange> RegionsOn(size_t device, const Target& target) const;
  // Whether the tables over the address space can say what `permission` does.
  bool Holds(const Name& ioas, uint64_t permission) const;
  std::vector<IovaRange> Reserved(const Name& ioas) const;
  std::vector<IovaRange> Usable(const Name& ioas) const;
  uint64_t Alignment(const Name& ioas) const;
  // Areas that map a region, those of the host too.
  uint64_t MappingsOf(const Name& region) const;
  Used UsedBy(const std::string& owner) const;
  Used UsedByHost() const;
  // What a group gets when `asked` is asked for, and why if it is another.
  DefaultDomainType DefaultFor(const Isolation& group, DefaultDomainType asked,
                               Fallback* fallback) const;

  // ---- Changing ----
  uint64_t NextVersion() { return ++clock_; }
  void ChangeSpace(const Name& name);  // And its etag.
  void ChangeDomain(const Name& name);
  void ChangeDevice(size_t device);
  void ChangeQueue(const Name& name);
  void ChangeViommu(const Name& name);
  // The guest has no name for the device any more.
  void DropVdevice(size_t device);
  // Frees what waits for a flush of the group.
  void Flush(Isolation& group);

 private:
  uint64_t clock_ = 0;
};

// The enforced reserved regions of a device (iommufd-semantics.md section 7): all but those that
// may be relaxed.
std::vector<IovaRange> EnforcedRegions(const DeviceSpec& device);

bool Meets(const Areas& areas, const IovaRange& range);
bool Meets(const std::vector<IovaRange>& ranges, const IovaRange& range);

// Where a mapping of `size` bytes would go by iommufd-semantics.md 3.6; nullopt: nowhere.
std::optional<Iova> Choose(const Areas& areas, const std::vector<IovaRange>& reserved,
                           const std::vector<IovaRange>& allowed, uint64_t size, uint64_t source);

}  // namespace viommu::differential

#endif  // VIOMMU_TESTS_DIFFERENTIAL_STATE_H_
