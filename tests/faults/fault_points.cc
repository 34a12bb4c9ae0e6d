#include "tests/faults/fault_points.h"

#include <utility>

#include "engine/base/errors.h"
#include "engine/base/status_macros.h"

namespace viommu::faults {
namespace {

absl::Status Refused() {
  return Error(absl::StatusCode::kResourceExhausted, "INJECTED", "the test lets this call fail")
      .Errno("ENOMEM");
}

class FaultySimulation : public Simulation {
 public:
  FaultySimulation(Simulation* real, FaultPoints* points) : real_(*real), points_(*points) {}

  DmaOutcome Dma(DeviceIndex device, std::optional<uint32_t> pasid, Iova iova, bool write,
                 absl::Span<char> data) override {
    return real_.Dma(device, pasid, iova, write, data);
  }
  absl::Status ReadMemory(Uid region, uint64_t offset_bytes, absl::Span<char> data) override {
    return real_.ReadMemory(region, offset_bytes, data);
  }
  absl::Status WriteMemory(Uid region, uint64_t offset_bytes,
                           absl::Span<const char> data) override {
    return real_.WriteMemory(region, offset_bytes, data);
  }
  absl::StatusOr<PhysAddr> PhysicalAddress(Uid region, uint64_t offset_bytes) override {
    return real_.PhysicalAddress(region, offset_bytes);
  }
  absl::Status HostMap(DeviceIndex device, const BackendMapping& mapping) override {
    if (points_.Fails(FaultPoints::kBackend, "HostMap")) return Refused();
    return real_.HostMap(device, mapping);
  }
  absl::Status HostUnmap(DeviceIndex device, IovaRange range) override {
    if (points_.Fails(FaultPoints::kBackend, "HostUnmap")) return Refused();
    return real_.HostUnmap(device, range);
  }
  absl::Status HostUnmapDeferred(DeviceIndex device, IovaRange range) override {
    if (points_.Fails(FaultPoints::kBackend, "HostUnmapDeferred")) return Refused();
    return real_.HostUnmapDeferred(device, range);
  }
  absl::Status HostFlush(DeviceIndex device) override {
    if (points_.Fails(FaultPoints::kBackend, "HostFlush")) return Refused();
    return real_.HostFlush(device);
  }
  absl::Status RaisePageFault(const PageFault& fault) override {
    return real_.RaisePageFault(fault);
  }
  std::vector<PageGroupResponse> PageResponses(DeviceIndex device) override {
    return real_.PageResponses(device);
  }
  std::vector<TableEntryDump> DumpTables(DeviceIndex device, std::optional<uint32_t> pasid,
                                         Iova iova) override {
    return real_.DumpTables(device, pasid, iova);
  }

 private:
  Simulation& real_;
  FaultPoints& points_;
};

class FaultyViommus : public Viommus {
 public:
  FaultyViommus(Viommus* real, FaultPoints* points) : real_(*real), points_(*points) {}

  absl::Status CreateViommu(Uid uid, DeviceIndex device, Uid parent) override {
    if (points_.Fails(FaultPoints::kBackend, "CreateViommu")) return Refused();
    return real_.CreateViommu(uid, device, parent);
  }
  absl::Status DestroyViommu(Uid uid) override {
    if (points_.Fails(FaultPoints::kBackend, "DestroyViommu")) return Refused();
    return real_.DestroyViommu(uid);
  }
  absl::Status CreateVdevice(Uid uid, Uid viommu, DeviceIndex device,
                             uint64_t virtual_id) override {
    if (points_.Fails(FaultPoints::kBackend, "CreateVdevice")) return Refused();
    return real_.CreateVdevice(uid, viommu, device, virtual_id);
  }
  absl::Status DestroyVdevice(Uid uid) override {
    if (points_.Fails(FaultPoints::kBackend, "DestroyVdevice")) return Refused();
    return real_.DestroyVdevice(uid);
  }
  ViommuInvalidateOutcome InvalidateViommu(
      Uid viommu, absl::Span<const ArmSmmuV3Invalidation> commands) override {
    if (points_.Fails(FaultPoints::kBackend, "InvalidateViommu")) return {0, Refused()};
    return real_.InvalidateViommu(viommu, commands);
  }
  std::vector<ViommuEvent> TakeEvents() override { return real_.TakeEvents(); }
  absl::Status CreateHardwareQueue(Uid uid, Uid viommu, const HardwareQueueSpec& spec) override {
    return real_.CreateHardwareQueue(uid, viommu, spec);
  }
  absl::Status DestroyHardwareQueue(Uid uid) override { return real_.DestroyHardwareQueue(uid); }

 private:
  Viommus& real_;
  FaultPoints& points_;
};

class FaultyBackend : public Backend {
 public:
  FaultyBackend(Backend* real, FaultPoints* points)
      : real_(*real),
        points_(*points),
        simulation_(real->simulation(), points),
        viommus_(real->viommus(), points) {}

  absl::string_view name() const override { return real_.name(); }
  const Topology& topology() const override { return real_.topology(); }
  HardwareRegisters DescribeHardware(DeviceIndex device) const override {
    return real_.DescribeHardware(device);
  }
  Simulation* simulation() override { return &simulation_; }
  Viommus* viommus() override { return &viommus_; }
  ViommuSupport DescribeViommus(DeviceIndex device) const override {
    return real_.DescribeViommus(device);
  }
  BackendStats Stats() const override { return real_.Stats(); }
  std::vector<QueueState> Queues() const override { return real_.Queues(); }
  absl::StatusOr<DomainProperties> PlanDomain(const DomainSpec& spec) const override {
    return real_.PlanDomain(spec);
  }
  absl::Status CheckCompatible(DeviceIndex device,
                               const DomainProperties& properties) const override {
    return real_.CheckCompatible(device, properties);
  }
  absl::Status CheckSwitch(absl::Span<const DeviceIndex> group, std::optional<uint32_t> pasid,
                           const DomainTarget& target) const override {
    return real_.CheckSwitch(group, pasid, target);
  }
  Transition PlanSwitch(absl::Span<const DeviceIndex> group, std::optional<uint32_t> pasid,
                        const DomainTarget& target) const override {
    return real_.PlanSwitch(group, pasid, target);
  }
  Transition PlanSwitchToNew(absl::Span<const DeviceIndex> group, std::optional<uint32_t> pasid,
                             const DomainSpec& spec) const override {
    return real_.PlanSwitchToNew(group, pasid, spec);
  }
  std::vector<LeafCount> PlanLeaves(const DomainProperties& properties,
                                    const BackendMapping& mapping) const override {
    return real_.PlanLeaves(properties, mapping);
  }

  absl::Status CreateMemoryRegion(Uid uid, uint64_t size_bytes,
                                  std::optional<int32_t> numa_node) override {
    return Point("CreateMemoryRegion",
                 [&] { return real_.CreateMemoryRegion(uid, size_bytes, numa_node); });
  }
  absl::Status DestroyMemoryRegion(Uid uid) override {
    return Point("DestroyMemoryRegion", [&] { return real_.DestroyMemoryRegion(uid); });
  }
  absl::Status CreateIoas(Uid uid) override {
    return Point("CreateIoas", [&] { return real_.CreateIoas(uid); });
  }
  absl::Status SetLargePages(Uid ioas, bool large_pages) override {
    return Point("SetLargePages", [&] { return real_.SetLargePages(ioas, large_pages); });
  }
  absl::Status DestroyIoas(Uid uid) override {
    return Point("DestroyIoas", [&] { return real_.DestroyIoas(uid); });
  }
  absl::Status CreateDomain(Uid uid, const DomainSpec& spec,
                            absl::Span<const BackendMapping> existing) override {
    return Point("CreateDomain", [&] { return real_.CreateDomain(uid, spec, existing); });
  }
  absl::Status DestroyDomain(Uid uid) override {
    return Point("DestroyDomain", [&] { return real_.DestroyDomain(uid); });
  }
  absl::Status Map(Uid ioas, absl::Span<const BackendMapping> mappings) override {
    return Point("Map", [&] { return real_.Map(ioas, mappings); });
  }
  absl::Status Unmap(Uid ioas, absl::Span<const IovaRange> areas) override {
    return Point("Unmap", [&] { return real_.Unmap(ioas, areas); });
  }
  absl::Status MapDoorbell(Uid domain, Iova iova, PhysAddr doorbell) override {
    return Point("MapDoorbell", [&] { return real_.MapDoorbell(domain, iova, doorbell); });
  }
  absl::Status UnmapDoorbell(Uid domain, Iova iova) override {
    return Point("UnmapDoorbell", [&] { return real_.UnmapDoorbell(domain, iova); });
  }
  absl::StatusOr<Transition> Switch(absl::Span<const DeviceIndex> group,
                                    std::optional<uint32_t> pasid,
                                    const DomainTarget& target) override {
    if (points_.Fails(FaultPoints::kBackend, "Switch")) return Refused();
    return real_.Switch(group, pasid, target);
  }
  absl::Status SetDirtyTracking(Uid domain, bool enabled) override {
    return Point("SetDirtyTracking", [&] { return real_.SetDirtyTracking(domain, enabled); });
  }
  absl::StatusOr<DirtyBitmap> ReadDirty(Uid domain, IovaRange range, uint64_t page_bytes,
                                        bool clear) override {
    if (points_.Fails(FaultPoints::kBackend, "ReadDirty")) return Refused();
    return real_.ReadDirty(domain, range, page_bytes, clear);
  }
  absl::Status Invalidate(Uid domain,
                          absl::Span<const VtdStage1Invalidation> invalidations) override {
    return Point("Invalidate", [&] { return real_.Invalidate(domain, invalidations); });
  }
  absl::Status Block(DeviceIndex device) override {
    const bool fails = points_.Fails(FaultPoints::kBackend, "Block");
    absl::Status blocked = real_.Block(device);
    return fails ? Refused() : blocked;
  }
  absl::Status Unblock(DeviceIndex device) override {
    return Point("Unblock", [&] { return real_.Unblock(device); });
  }
  std::vector<DeviceIndex> Quarantined() const override { return real_.Quarantined(); }
  PageFaultBatch TakePageFaults() override { return real_.TakePageFaults(); }
  absl::Status RespondPageGroup(const PageGroupResponse& response) override {
    return Point("RespondPageGroup", [&] { return real_.RespondPageGroup(response); });
  }
  absl::Status Claim(absl::Span<const DeviceIndex> group) override {
    return Point("Claim", [&] { return real_.Claim(group); });
  }
  absl::StatusOr<Transition> AssignDefault(absl::Span<const DeviceIndex> group,
                                           DefaultDomainType type) override {
    if (points_.Fails(FaultPoints::kBackend, "AssignDefault")) return Refused();
    return real_.AssignDefault(group, type);
  }

 private:
  template <typename Effect>
  absl::Status Point(const char* name, const Effect& effect) {
    if (points_.Fails(FaultPoints::kBackend, name)) return Refused();
    return effect();
  }

  Backend& real_;
  FaultPoints& points_;
  FaultySimulation simulation_;
  FaultyViommus viommus_;
};

}  // namespace

void FaultPoints::Arm(Kind kind, uint64_t ordinal) {
  absl::MutexLock lock(&mutex_);
  armed_[kind].insert(seen_[kind] + ordinal);
}

void FaultPoints::Disarm() {
  absl::MutexLock lock(&mutex_);
  for (int kind = 0; kind < kKinds; ++kind) {
    seen_[kind] = 0;
    armed_[kind].clear();
  }
  fired_.clear();
}

std::vector<std::string> FaultPoints::fired() const {
  absl::MutexLock lock(&mutex_);
  return fired_;
}

void FaultPoints::Forget() {
  absl::MutexLock lock(&mutex_);
  fired_.clear();
}

bool FaultPoints::Fails(Kind kind, const char* name) {
  absl::MutexLock lock(&mutex_);
  if (armed_[kind].count(++seen_[kind]) == 0) return false;
  fired_.emplace_back(name);
  return true;
}

std::unique_ptr<Backend> MakeFaulty(Backend* backend, FaultPoints* points) {
  return std::make_unique<FaultyBackend>(backend, points);
}

Ticket FaultyJournal::Append(Record /*record*/, Completion done) {
  Ticket ticket = 0;
  {
    absl::MutexLock lock(&mutex_);
    ticket = ++last_ticket_;
  }
  const bool fails = points_.Fails(FaultPoints::kJournal, "Append");
  done(fails ? absl::DataLossError("the test lets this write fail") : absl::OkStatus());
  return ticket;
}

}  // namespace viommu::faults
