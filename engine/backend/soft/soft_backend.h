// engine/backend/soft/soft_backend.h -- The software IOMMU as a Backend: it writes the tables and
// commands that remapping hardware reads, and models the hardware and the devices behind it.
//
// Every group starts on its default domain, before translation is enabled: IDENTITY where the
// topology asks for it, else DMA. A DMA default domain is made anew each time a group enters it;
// what HostMap put into it goes when the group leaves.
//
// Thread-safe. Lock order: group or Viommus, then Ioas, then domain, then unit, then queue, then
// hardware. The lock over the object tables is held only to look something up.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_SOFT_BACKEND_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_SOFT_BACKEND_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "engine/backend/backend.h"
#include "engine/backend/soft/device_group.h"
#include "engine/backend/soft/nested_domain.h"
#include "engine/backend/soft/soft_domain.h"
#include "engine/backend/soft/soft_ioas.h"
#include "engine/backend/soft/soft_machine.h"
#include "engine/backend/soft/soft_page_faults.h"
#include "engine/backend/soft/soft_viommus.h"
#include "engine/backend/soft/unit_domain.h"
#include "engine/backend/soft/viommu_domain.h"
#include "engine/backend/topology.h"
#include "engine/base/address.h"
#include "engine/pagetable/store.h"

namespace viommu {

struct SoftBackendOptions {
  uint64_t table_arena_bytes = uint64_t{4} << 30;  // Of simulated memory; free until touched.
};

// `Store` (engine/pagetable/store.h) is how everything is written that a device may be reading.
template <typename Store>
class SoftBackendT final : public Backend, private Simulation, private TableObserver {
 public:
  // kInvalidArgument, INVALID_TOPOLOGY: the violations say why.
  // kResourceExhausted: the arena is too small, or memory does not fit below the address width.
  // As PageTable::Map: a DIRECT region cannot be mapped.
  static absl::StatusOr<std::unique_ptr<SoftBackendT>> Create(Topology topology,
                                                              const SoftBackendOptions& options,
                                                              Store store);

  // For tests that look after every store, and break the hardware at one.
  const SoftMachine& machine() const { return *machine_; }
  SoftMachine& machine() { return *machine_; }

  absl::string_view name() const override { return "soft"; }
  const Topology& topology() const override { return machine_->topology(); }
  HardwareRegisters DescribeHardware(DeviceIndex device) const override {
    return machine_->DescribeHardware(device);
  }
  Simulation* simulation() override { return this; }
  Viommus* viommus() override { return &viommus_; }
  ViommuSupport DescribeViommus(DeviceIndex device) const override {
    return viommus_.Describe(device);
  }
  TableObserver* tables() override { return this; }
  BackendStats Stats() const override { return machine_->Stats(); }
  std::vector<QueueState> Queues() const override { return machine_->Queues(); }

  absl::StatusOr<DomainProperties> PlanDomain(const DomainSpec& spec) const override;
  absl::Status CheckCompatible(DeviceIndex device,
                               const DomainProperties& properties) const override;
  absl::Status CheckSwitch(absl::Span<const DeviceIndex> group, std::optional<uint32_t> pasid,
                           const DomainTarget& target) const override;
  Transition PlanSwitch(absl::Span<const DeviceIndex> group, std::optional<uint32_t> pasid,
                        const DomainTarget& target) const override;
  Transition PlanSwitchToNew(absl::Span<const DeviceIndex> group, std::optional<uint32_t> pasid,
                             const DomainSpec& spec) const override;

  std::vector<LeafCount> PlanLeaves(const DomainProperties& properties,
                                    const BackendMapping& mapping) const override;

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
  absl::Status SetDirtyTracking(Uid domain, bool enabled) override;
  absl::StatusOr<DirtyBitmap> ReadDirty(Uid domain, IovaRange range, uint64_t page_bytes,
                                        bool clear) override;
  absl::StatusOr<Transition> Switch(absl::Span<const DeviceIndex> group,
                                    std::optional<uint32_t> pasid,
                                    const DomainTarget& target) override;
  absl::Status Invalidate(Uid domain,
                          absl::Span<const VtdStage1Invalidation> invalidations) override;
  absl::Status Block(DeviceIndex device) override;
  absl::Status Unblock(DeviceIndex device) override;
  std::vector<DeviceIndex> Quarantined() const override { return machine_->Quarantined(); }
  PageFaultBatch TakePageFaults() override { return viommu::TakePageFaults(*machine_); }
  absl::Status RespondPageGroup(const PageGroupResponse& response) override {
    return viommu::RespondPageGroup(*machine_, response);
  }
  absl::Status Claim(absl::Span<const DeviceIndex> group) override;
  absl::StatusOr<Transition> AssignDefault(absl::Span<const DeviceIndex> group,
                                           DefaultDomainType type) override;

 private:
  // A paging domain and the Ioas it maps, or a nested one, on a nest parent or on a Viommu.
  struct DomainRecord {
    std::shared_ptr<SoftDomain> paging;
    std::shared_ptr<SoftIoas> ioas;
    std::shared_ptr<NestedDomain> nested;
    std::shared_ptr<ViommuDomain> guest;

    std::shared_ptr<UnitDomain> domain() const {
      if (guest != nullptr) return guest;
      if (nested != nullptr) return nested;
      return paging;
    }
  };

  SoftBackendT(std::unique_ptr<SoftMachine> machine, Store store);

  // Simulation.
  DmaOutcome Dma(DeviceIndex device, std::optional<uint32_t> pasid, Iova iova, bool write,
                 absl::Span<char> data) override;
  absl::Status ReadMemory(Uid region, uint64_t offset_bytes, absl::Span<char> data) override;
  absl::Status WriteMemory(Uid region, uint64_t offset_bytes, absl::Span<const char> data) override;
  absl::StatusOr<PhysAddr> PhysicalAddress(Uid region, uint64_t offset_bytes) override;
  absl::Status HostMap(DeviceIndex device, const BackendMapping& mapping) override;
  absl::Status HostUnmap(DeviceIndex device, IovaRange range) override;
  absl::Status HostUnmapDeferred(DeviceIndex device, IovaRange range) override;
  absl::Status HostFlush(DeviceIndex device) override;
  absl::Status RaisePageFault(const PageFault& fault) override {
    return viommu::RaisePageFault(*machine_, fault);
  }
  std::vector<PageGroupResponse> PageResponses(DeviceIndex device) override {
    return viommu::PageResponses(*machine_, device);
  }
  std::vector<TableEntryDump> DumpTables(DeviceIndex device, std::optional<uint32_t> pasid,
                                         Iova iova) override;

  // TableObserver.
  TranslationExplanation ExplainTranslation(DeviceIndex device, std::optional<uint32_t> pasid,
                                            Iova iova, bool write) override {
    return machine_->ExplainTranslation(device, pasid, iova, write);
  }
  absl::StatusOr<TableImage> ExportTables() override { return machine_->ExportTables(); }

  void MakeGroups();
  absl::Status EnterDefaultDomains();
  std::vector<const DeviceSpec*> MembersOf(const DeviceGroup& group) const;
  absl::StatusOr<std::vector<PhysicalMapping>> Locate(
      absl::Span<const BackendMapping> mappings) const;
  absl::StatusOr<std::shared_ptr<SoftDomain>> MakeDomain(const IommuSpec& unit,
                                                         const DomainProperties& properties) const;
  absl::Status CreateNestedDomain(Uid uid, const DomainSpec& spec);
  // kAlreadyExists: there is one.
  absl::Status AddDomain(Uid uid, DomainRecord record) ABSL_LOCKS_EXCLUDED(mutex_);
  // An empty DMA default domain but for the DIRECT regions of the group's members.
  absl::StatusOr<std::shared_ptr<SoftDomain>> MakeDefaultDomain(const DeviceGroup& group);
  absl::StatusOr<std::shared_ptr<SoftDomain>> HostDomain(DeviceIndex device) const;
  // The same, for taking `range` away: kFailedPrecondition RESERVED_RANGE.
  absl::StatusOr<std::shared_ptr<SoftDomain>> HostDomainWithout(DeviceIndex device,
                                                                const IovaRange& range) const;

  absl::StatusOr<std::shared_ptr<SoftIoas>> FindIoas(Uid uid) const ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<DomainRecord> FindDomain(Uid uid) const ABSL_LOCKS_EXCLUDED(mutex_);
  // kFailedPrecondition, NOT_A_NEST_PARENT: it is nested itself.
  absl::StatusOr<std::shared_ptr<SoftDomain>> FindParent(Uid uid) const ABSL_LOCKS_EXCLUDED(mutex_);
  // kFailedPrecondition, NOT_TRACKED: it is nested itself, or was made without dirty tracking.
  absl::StatusOr<std::shared_ptr<SoftDomain>> FindTracked(Uid uid) const
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<GroupPlace> FindPlace(const DomainTarget& target) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  const std::unique_ptr<SoftMachine> machine_;
  const Store store_;

  mutable absl::Mutex mutex_;
  absl::flat_hash_map<Uid, std::shared_ptr<SoftIoas>> ioases_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<Uid, DomainRecord> domains_ ABSL_GUARDED_BY(mutex_);

  SoftViommus viommus_;

  // Constant once made. Behind the tables above, because groups leave their domains first.
  std::vector<std::unique_ptr<DeviceGroup>> groups_;
  std::vector<DeviceGroup*> group_of_;  // As Topology::devices.
};

using SoftBackend = SoftBackendT<PlainStore>;
extern template class SoftBackendT<PlainStore>;

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_SOFT_BACKEND_H_
