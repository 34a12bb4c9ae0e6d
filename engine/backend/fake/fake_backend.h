// engine/backend/fake/fake_backend.h -- A backend without page tables: it records what it is told
// and fails where a test wants it to.
//
// It checks that the engine keeps its side of the seam: no area is mapped twice, only areas that
// are mapped are unmapped, no object is destroyed twice or used after. A breach is kept in
// `breaches`.
#ifndef VIOMMU_ENGINE_BACKEND_FAKE_FAKE_BACKEND_H_
#define VIOMMU_ENGINE_BACKEND_FAKE_FAKE_BACKEND_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "engine/backend/backend.h"
#include "engine/backend/fake/fake_viommus.h"

namespace viommu {

// Thread-safe.
class FakeBackend : public Backend {
 public:
  explicit FakeBackend(Topology topology);

  // Asked before every effect, with its verb ("Map", "Switch", ...); an error is returned to the
  // engine and nothing is done, except that Block blocks all the same. Runs under no lock of the
  // fake: it may block.
  void SetHook(std::function<absl::Status(const std::string& verb)> hook);
  // What CheckSwitch answers to every group from here on; at first OK.
  void SetSwitchCheck(absl::Status answer);

  // Everything done so far, one line an effect.
  std::vector<std::string> log() const;
  // Where the engine broke the contract of the seam; empty when it never did.
  std::vector<std::string> breaches() const;
  // The whole state in one text, for comparing before and after.
  std::string State() const;

  // As devices that write to the page at `iova` of a domain whose writes are marked.
  void Write(Uid domain, Iova iova);

  // Its units called "smmu..." have virtual IOMMUs.
  FakeViommus& fake_viommus() { return viommus_; }
  Viommus* viommus() override { return &viommus_; }
  ViommuSupport DescribeViommus(DeviceIndex device) const override;

  // The device does not answer an invalidation: it is in quarantine until Unblock.
  void Quarantine(DeviceIndex device);

  // The device's side. A group that waits for an answer may be reported again: the fake does not
  // mind. Once a device has reported the last fault of a group, an answer is due, and only then.
  absl::Status ReportPageFault(const PageFault& fault);
  // Faults of the device are lost, as when the hardware's own queue overflows.
  void LosePageFaults(DeviceIndex device);
  std::vector<PageGroupResponse> ResponsesTo(DeviceIndex device) const;
  // Groups that still wait for an answer.
  size_t groups_waiting() const;

  absl::string_view name() const override { return "fake"; }
  const Topology& topology() const override { return topology_; }
  HardwareRegisters DescribeHardware(DeviceIndex) const override { return VtdHardware{}; }
  BackendStats Stats() const override { return {}; }
  std::vector<QueueState> Queues() const override { return {}; }
  absl::StatusOr<DomainProperties> PlanDomain(const DomainSpec& spec) const override;
  absl::Status CheckCompatible(DeviceIndex device,
                               const DomainProperties& properties) const override;
  absl::Status CheckSwitch(absl::Span<const DeviceIndex>, std::optional<uint32_t>,
                           const DomainTarget&) const override;
  Transition PlanSwitch(absl::Span<const DeviceIndex>, std::optional<uint32_t>,
                        const DomainTarget&) const override {
    return {};
  }
  Transition PlanSwitchToNew(absl::Span<const DeviceIndex>, std::optional<uint32_t>,
                             const DomainSpec&) const override {
    return {};
  }
  // Single pages: it has no tables.
  std::vector<LeafCount> PlanLeaves(const DomainProperties&,
                                    const BackendMapping& mapping) const override {
    return {{0x1000, mapping.size_bytes / 0x1000}};
  }
  absl::Status CreateMemoryRegion(Uid uid, uint64_t size_bytes,
                                  std::optional<int32_t> numa_node) override;
  absl::Status DestroyMemoryRegion(Uid uid) override;
  absl::Status CreateIoas(Uid uid) override;
  absl::Status SetLargePages(Uid ioas, bool large_pages) override;
  absl::Status DestroyIoas(Uid uid) override;
  absl::Status CreateDomain(Uid uid, const DomainSpec& spec,
                            absl::Span<const BackendMapping> existing) override;
  absl::Status DestroyDomain(Uid uid) override;
  absl::Status Map(Uid ioas, absl::Span<const BackendMapping> mappings) override;
  absl::Status Unmap(Uid ioas, absl::Span<const IovaRange> areas) override;
  absl::Status MapDoorbell(Uid domain, Iova iova, PhysAddr doorbell) override;
  absl::Status UnmapDoorbell(Uid domain, Iova iova) override;
  absl::StatusOr<Transition> Switch(absl::Span<const DeviceIndex> group,
                                    std::optional<uint32_t> pasid,
                                    const DomainTarget& target) override;
  absl::Status SetDirtyTracking(Uid domain, bool enabled) override;
  absl::StatusOr<DirtyBitmap> ReadDirty(Uid domain, IovaRange range, uint64_t page_bytes,
                                        bool clear) override;
  absl::Status Invalidate(Uid domain,
                          absl::Span<const VtdStage1Invalidation> invalidations) override;
  absl::Status Block(DeviceIndex device) override;
  absl::Status Unblock(DeviceIndex device) override;
  std::vector<DeviceIndex> Quarantined() const override;
  PageFaultBatch TakePageFaults() override;
  absl::Status RespondPageGroup(const PageGroupResponse& response) override;
  absl::Status Claim(absl::Span<const DeviceIndex> group) override;
  absl::StatusOr<Transition> AssignDefault(absl::Span<const DeviceIndex> group,
                                           DefaultDomainType type) override;

 protected:
  absl::Status Ask(const std::string& verb) ABSL_LOCKS_EXCLUDED(mutex_);
  // Records the effect; breaches the contract when `holds` is false.
  void Record(const std::string& line, bool holds) ABSL_LOCKS_EXCLUDED(mutex_);
  // What a device is on: "host dma", "host identity", "blocked", ...
  std::string PlaceOf(DeviceIndex device) const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Ioas {
    std::map<Iova, BackendMapping> areas;
    std::set<Uid> domains;
    bool large_pages = true;
  };
  struct Domain {
    Uid ioas = 0;    // Of a paging one.
    Uid parent = 0;  // Of a nested one; that of its Viommu.
    bool can_track = false;
    bool tracks = false;
    std::map<Iova, PhysAddr> doorbells = {};
    std::set<Iova> dirty = {};  // Pages of 4 KiB.
  };
  using PasidKey = std::pair<DeviceIndex, uint32_t>;
  using GroupKey = std::tuple<DeviceIndex, std::optional<uint32_t>, uint32_t>;

  // Takes `range` out of the one area that it lies in; without large pages the area may be larger.
  static bool Cut(Ioas* ioas, const IovaRange& range);
  // As Record.
  void Note(const std::string& line, bool holds) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Place(absl::Span<const DeviceIndex> group, const std::string& where)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // An area of the Ioas, or a doorbell in a domain of it, is mapped there.
  bool MeetsArea(Uid ioas, const IovaRange& range) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Areas of the Ioas cover the range without a hole.
  bool Covers(Uid ioas, const IovaRange& range) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool MeetsDoorbell(Uid ioas, const IovaRange& range) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The device hears the answer; a breach where it waits for none.
  void Answer(const PageGroupResponse& response) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Answers kInvalid what `is_left` of the faults that nobody has taken.
  void DropUntaken(const std::function<bool(const PageFault&)>& is_left)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // No device, PASID or nested domain refers to the domain.
  bool Unused(Uid domain) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  bool HasDomain(Uid domain) const ABSL_LOCKS_EXCLUDED(mutex_);

  const Topology topology_;
  FakeViommus viommus_;
  mutable absl::Mutex mutex_;
  std::function<absl::Status(const std::string&)> hook_ ABSL_GUARDED_BY(mutex_);
  absl::Status switch_check_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> log_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> breaches_ ABSL_GUARDED_BY(mutex_);
  std::set<Uid> regions_ ABSL_GUARDED_BY(mutex_);
  std::map<Uid, Ioas> ioas_ ABSL_GUARDED_BY(mutex_);
  std::map<Uid, Domain> domains_ ABSL_GUARDED_BY(mutex_);
  std::map<DeviceIndex, std::string> places_ ABSL_GUARDED_BY(mutex_);  // What a device is on.
  std::map<PasidKey, std::string> pasids_ ABSL_GUARDED_BY(mutex_);     // Attached PASIDs.
  std::set<DeviceIndex> blocked_ ABSL_GUARDED_BY(mutex_);
  std::set<DeviceIndex> quarantined_ ABSL_GUARDED_BY(mutex_);  // Blocked for that.
  PageFaultBatch untaken_ ABSL_GUARDED_BY(mutex_);
  std::multiset<GroupKey> waiting_ ABSL_GUARDED_BY(mutex_);  // Whose last fault was reported.
  std::map<DeviceIndex, std::vector<PageGroupResponse>> responses_ ABSL_GUARDED_BY(mutex_);
};

// Two units, six devices: dev0 plain; dev1 and dev2 in one group; dev3 with a DIRECT region; dev4
// untrusted; dev5 allows IDENTITY and sits behind the second unit, which alone can neither nest nor
// track what is written. All have an MSI window. PASIDs of dev0 have 8 bits, of dev1 6, of dev2 4,
// of dev5 20; the others have none.
Topology SmallTopology();

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_FAKE_FAKE_BACKEND_H_
