// tests/property/world.h -- A small host under random use, watched after every store.
//
// Engine over the soft backend with observed stores, beside the Reference. Every step is one random
// verb or one DMA. Before a verb the caches, of units and of devices, are filled with what it is
// about to change, and during it some are filled again; every store is followed by cold looks that
// must see the old or the new state, or nothing where the change is not hitless; after the verb
// DMA through the caches must see the new state only (R3, R4), and the answers must agree.
#ifndef VIOMMU_TESTS_PROPERTY_WORLD_H_
#define VIOMMU_TESTS_PROPERTY_WORLD_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "engine/backend/soft/soft_backend.h"
#include "engine/base/env.h"
#include "engine/engine.h"
#include "engine/journal/memory_journal.h"
#include "engine/pagetable/store.h"
#include "tests/property/device_eye.h"
#include "tests/property/reference.h"
#include "tests/property/small_host.h"

namespace viommu::property {

// What happened in a run.
struct Tally {
  uint64_t steps = 0;
  uint64_t verbs_done = 0;
  uint64_t verbs_refused = 0;
  std::map<std::string, uint64_t> done;  // By kind of verb.
  uint64_t stores_watched = 0;
  uint64_t looks = 0;            // Cold, after a store.
  uint64_t looks_blocked = 0;    // Of them, blocked between old and new, as was announced.
  uint64_t dma_checks = 0;       // Through the caches.
  uint64_t reached_memory = 0;   // Of them, those that were to.
  uint64_t with_device_tlb = 0;  // Of them, by devices that have one.
  std::map<std::string, uint64_t> dma_checks_by_kind;  // By what the requests were on.
};

class World {
 public:
  World(const SmallHost& host, uint64_t seed);

  // One step; false when something was wrong: see trouble().
  bool Step();
  // Compares every listing of the engine with the reference.
  bool CompareAll();

  const Tally& tally() const { return tally_; }
  const std::string& trouble() const { return trouble_; }

 private:
  struct Eye {
    Requester who;
    Iova iova;
    bool write;
    bool says_zero;  // Of the RID, with PASID 0: a device keeps that apart.
    View before, after;
  };

  absl::Status SetUp();
  // Which an Arm guest has beside its tables.
  absl::Status WriteDescriptors();
  absl::Status TagPages(int region, uint64_t bytes);
  uint64_t Random(uint64_t below) { return random_() % below; }
  Iova RandomIova();
  Iova RandomGuestIova();
  // Of an area of an Ioas, if it has any.
  std::optional<Iova> MappedIova(int ioas);
  int RandomDevice();
  Requester RandomRequester();
  RefTarget RandomTarget(const Requester& who);
  // A domain of a kind; kDomains: there is none.
  int RandomNestParent();
  int RandomNested();
  int RandomViommu();
  int RandomDeviceOn(int viommu);
  bool IsArm() const { return architecture() == IommuArchitecture::kSmmuV3; }
  IommuArchitecture architecture() const { return host_.topology.iommus[0].architecture; }

  // The verbs (world_verbs.cc).
  void RandomVerb();
  void MapVerb();
  void MapTablesVerb();
  void MapOne(int ioas, const RefArea& area, std::optional<Iova> iova, bool may_choose);
  void UnmapVerb();
  void AttachVerb();
  void DomainVerb();
  void CreateDomainVerb(int number);
  void ClaimVerb();
  void GuestVerb();
  void InvalidateVerb(int domain, bool everything);
  void InvalidateVtdVerb(int domain, bool everything);
  // Of an SMMUv3's guests (world_guests.cc).
  void InvalidateSmmuVerb(int domain, bool everything);
  void ViommuVerb();
  void VdeviceVerb(int viommu);
  // Chooses what the entry asks for.
  ArmSmmuV3Stage1 GuestEntryOf(RefDomainRequest* request);
  void ResetVerb();
  void PlugVerb();
  void DmaStep();
  uint64_t RandomGuestWord(int ioas, int guest, int level);
  AttachTarget Named(const RefTarget& target) const;
  template <typename Call>
  absl::Status Switching(Call&& call);

  // Runs a verb on both sides with open eyes on `pages`, and on `who` above all.
  void Both(const char* kind, const std::string& what, const std::vector<Iova>& pages,
            std::optional<int> device, absl::FunctionRef<bool()> on_reference,
            absl::FunctionRef<absl::Status()> on_engine);
  // The looks (world_eyes.cc).
  void OpenEyes(const std::vector<Iova>& pages, std::optional<int> device);
  Iova WhereToLook(const Requester& who, const std::vector<Iova>& pages);
  void LookOut();
  bool MayBeBlocked(const Eye& eye, const DeviceEye::Sight& seen);
  void CheckThroughCaches();
  // Whether a device meets one of `views` through its caches.
  bool Meets(const Eye& eye, const std::vector<View>& views, std::string* what);
  bool ReadsTag(const Eye& eye, uint16_t code, uint64_t word, const View& view);
  void FillCaches(const Eye& eye);
  void Count(const Eye& eye, const std::vector<View>& views);
  DeviceEye::Request RequestOf(const Eye& eye) const;
  void Trouble(const std::string& what);
  // A view as an address: the reference names regions, the hardware physical addresses.
  uint64_t Physical(const View& view) const;
  bool Same(const Eye& eye, const View& expected, const DeviceEye::Sight& seen);

  const SmallHost& host_;
  std::mt19937_64 random_;
  StoreObserver observer_;
  std::unique_ptr<SoftBackendT<ObservedStore>> backend_;
  std::unique_ptr<DeviceEye> device_eye_;
  MemoryJournal journal_;
  std::unique_ptr<Engine> engine_;
  CallContext me_;
  std::unique_ptr<Reference> reference_;
  std::vector<uint64_t> region_base_;
  std::vector<Uid> region_uid_;
  std::vector<Eye> eyes_;
  bool watching_ = false;
  bool keeps_eyes_ = false;       // The next verb is looked at where the last one was.
  bool hitless_ = true;           // What the engine said of the change that it made.
  bool seen_blocked_ = false;     // In between, where neither old nor new was.
  std::optional<int> resetting_;  // The device that is blocked for the time of its reset.
  std::string doing_;
  Tally tally_;
  std::string trouble_;
};

// What pages are told by: a word that no two have in common, and that no guest could take for an
// entry that is present.
inline constexpr uint64_t kTagMark = uint64_t{0x7a9} << 52;
inline constexpr uint64_t TagOf(uint64_t physical) { return kTagMark | (physical >> 12) << 1; }

inline constexpr int kIoases = 3;
inline constexpr int kDomains = 10;
inline constexpr int kViommus = 3;
inline constexpr int kRegions = 3;  // Besides that of the guests' tables.
inline constexpr int kTablesRegion = kRegions;
inline constexpr uint64_t k2M = uint64_t{2} << 20;
inline constexpr uint64_t kRegionBytes = 4 * k2M;

ObjectRef NameOf(const char* kind, int number);
std::string InWords(const Requester& who);

}  // namespace viommu::property

#endif  // VIOMMU_TESTS_PROPERTY_WORLD_H_
