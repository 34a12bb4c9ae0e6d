// engine/backend/soft/unit_port.h -- One remapping unit of any architecture, as domains and device
// groups drive it: what the requests of a requester are to meet, and what caches are to drop.
//
// A requester is known by the id that its requests carry (VT-d: source id, SMMUv3: StreamID). What
// it is on, with each PASID and without, is a UnitTranslation; how tables say so is the port's
// business. Whoever changes a translation knows the one before: the port reads none back.
//
// Where not even the flush of everything behind a failed change got through, it is owed: until the
// hardware has done it, nothing that rests on a flush succeeds.
//
// A requester whose device TLB does not answer is put into quarantine by the flush that meets it,
// which goes on without it: whatever its translations are, the unit refuses what it sends. Its
// translations change as those of any other, so whoever changes them need not know.
//
// Thread-safe. A domain's locks come before a port's.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_UNIT_PORT_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_UNIT_PORT_H_

#include <cstdint>
#include <memory>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/backend/backend.h"
#include "engine/backend/topology.h"
#include "engine/base/address.h"

namespace viommu {

// The PASID that stands for requests without one. Nobody attaches it.
inline constexpr uint32_t kRidPasid = 0;

enum class TranslationKind {
  kBlocked,
  kIdentity,
  kFirstStage,
  kProcess,  // A first stage that is made of a process.
  kSecondStage,
  kNested,  // A guest's first stage on a second stage of the host.
};

// Under what a unit caches the translations of one domain (VT-d: domain id; SMMUv3: ASID of a first
// stage, VMID of a second). Ids of different kinds may be equal.
struct UnitTag {
  TranslationKind kind = TranslationKind::kBlocked;
  uint32_t id = 0;  // 0 tags nothing.
};

// What requests are to meet. Plain value.
struct UnitTranslation {
  TranslationKind kind = TranslationKind::kBlocked;
  // Of the table at `root`, which is the nest parent's for kNested; null for kBlocked, kIdentity.
  std::shared_ptr<const DomainProperties> properties = nullptr;
  PhysAddr root = {};
  uint32_t tag = 0;  // UnitTag::id, of the same kind.
  // For kNested: the guest's stage, in the unit's own terms.
  std::variant<std::monostate, VtdStage1, ArmSmmuV3Stage1> guest = {};
  bool tracked = false;  // Writes through the table at `root` are marked there.
};

// How one domain is used behind one unit: what of it can be cached there.
struct TagUse {
  UnitTag tag;
  std::vector<uint32_t> pasids;  // Of its entries, kRidPasid among them.
  int page_shift = 12;           // Log2 of the smallest page of its tables.
};

class UnitPort {
 public:
  virtual ~UnitPort() = default;

  virtual const IommuSpec& spec() const = 0;

  // Pure. Whether one requester's requests can meet these at once: without PASID, and with those
  // PASIDs that are in use.
  // kUnimplemented: IDENTITY_UNAVAILABLE, the unit has no pass-through; PASID_DOMAIN_UNSUPPORTED,
  //   it has no such translation for requests with PASID.
  // kFailedPrecondition, PASIDS_IN_USE: not beside PASIDs.
  virtual absl::Status CheckTogether(TranslationKind without_pasid,
                                     absl::Span<const TranslationKind> with_pasids) const = 0;

  // kOutOfRange, PASID_OUT_OF_RANGE: the requester can not issue that PASID.
  virtual absl::Status CheckPasid(uint32_t requester, uint32_t pasid) const = 0;

  // Makes room for an entry that leads to a translation of this kind, so that a later SetEntry can
  // not fail for lack of memory.
  // As CheckPasid.
  // kResourceExhausted: no table memory.
  virtual absl::Status PrepareEntry(uint32_t requester, uint32_t pasid, TranslationKind kind) = 0;

  // Pure. Whether requests would see only the old or the new translation if SetEntry went to
  // `target` now; a placeholder may stand for its root and tag.
  virtual Transition PlanChange(uint32_t requester, uint32_t pasid,
                                const UnitTranslation& target) const = 0;

  // Changes what requests meet and flushes what the hardware may have cached because of what they
  // met before, the unit's own caches first and then the requester's, so that when it returns no
  // request uses the old translation.
  // As PrepareEntry, unless the entry was prepared or `target` is blocked.
  // kInternal: a flush failed, this one or the one that is owed. The old translation is back, but
  //   both may be cached: the target's tag and tables must not be reused before FlushTag succeeds.
  virtual absl::Status SetEntry(uint32_t requester, uint32_t pasid,
                                const UnitTranslation& target) = 0;

  // Writes a prepared entry whether or not the hardware answers, and asks it to flush everything,
  // which is owed when it does not: how a change that failed half way is taken back.
  virtual void ForceEntry(uint32_t requester, uint32_t pasid, const UnitTranslation& target) = 0;

  // Blocks requests for good: whether or not the hardware answers they are blocked in memory, and
  // what could not be flushed is owed. Never allocates (R1).
  // kInternal: the flush is owed.
  virtual absl::Status BlockEntry(uint32_t requester, uint32_t pasid) = 0;

  // Gives tables back that were made for a PASID's entry, or for requests without one, unless they
  // are in use. Where the hardware does not answer, they stay set aside until it has.
  virtual void ReleaseTable(uint32_t requester, uint32_t pasid) = 0;

  // Does what is owed.
  // kInternal: the hardware still does not.
  virtual absl::Status Settle() = 0;

  // The requesters in quarantine, ascending. Waits for nothing.
  virtual std::vector<uint32_t> Quarantined() const = 0;
  // Ends a quarantine, if there is one: the requester meets its translations again.
  // kInternal: its device TLB still does not answer, or the hardware failed. It stays out.
  virtual absl::Status Readmit(uint32_t requester) = 0;

  // A tag for the entries and cached translations of one domain. Processes may share theirs.
  // kResourceExhausted, DOMAIN_IDS_EXHAUSTED: none is left.
  virtual absl::StatusOr<uint32_t> TakeTag(TranslationKind kind) = 0;
  // No entry holds the tag, and whatever it tagged is flushed.
  virtual void ReturnTag(const UnitTag& tag) = 0;
  // What stands for a tag that is not taken yet: one that no entry of another domain has.
  virtual uint32_t TagToCome(TranslationKind kind) const = 0;

  // Drops all cached translations of the ranges that the use has, in the unit and in device TLBs.
  // With `leaves_only` cached pointers to tables may stay: no table was unlinked. What nested
  // translations make of the same second stage goes by FlushTag, unless they share its tag.
  // kInternal: the queue failed, or still does not do what is owed; what is cached is unknown.
  virtual absl::Status Flush(const TagUse& use, absl::Span<const IovaRange> ranges,
                             bool leaves_only) = 0;

  // Drops everything under a tag: what nested translations need when their second stage changes,
  // whose addresses are not those that caches and devices know (invariant I9).
  // As Flush.
  virtual absl::Status FlushTag(const UnitTag& tag) = 0;

  // Keeps tables that the hardware may still walk, because a flush failed, until everything is
  // flushed (which is owed from now on) or the unit goes.
  virtual void KeepUntilFlushed(std::shared_ptr<const void> tables) = 0;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_UNIT_PORT_H_
