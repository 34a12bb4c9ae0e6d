// engine/backend/fake/fake_host_backend.h -- The fake backend with a host of its own: it maps
// through DMA default domains, and knows what caches may still hold.
//
// Beyond what FakeBackend checks: nothing is mapped over what is mapped or may still be cached, no
// memory goes while it may be reached, and no default domain is left before it has been flushed.
#ifndef VIOMMU_ENGINE_BACKEND_FAKE_FAKE_HOST_BACKEND_H_
#define VIOMMU_ENGINE_BACKEND_FAKE_FAKE_HOST_BACKEND_H_

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "engine/backend/backend.h"
#include "engine/backend/fake/fake_backend.h"
#include "engine/base/address.h"

namespace viommu {

// Thread-safe.
class FakeHostBackend : public FakeBackend, private Simulation {
 public:
  using FakeBackend::FakeBackend;

  Simulation* simulation() override { return this; }
  absl::Status DestroyMemoryRegion(Uid uid) override;
  absl::Status Claim(absl::Span<const DeviceIndex> group) override;
  absl::StatusOr<Transition> AssignDefault(absl::Span<const DeviceIndex> group,
                                           DefaultDomainType type) override;

  // Ranges of a device's group that are unmapped but not flushed.
  std::vector<IovaRange> Stale(DeviceIndex device) const;

 private:
  struct Host {
    std::map<Iova, BackendMapping> live;
    std::map<Iova, BackendMapping> stale;
  };

  DmaOutcome Dma(DeviceIndex, std::optional<uint32_t>, Iova, bool, absl::Span<char>) override {
    return {};
  }
  absl::Status ReadMemory(Uid, uint64_t, absl::Span<char>) override { return absl::OkStatus(); }
  absl::Status WriteMemory(Uid, uint64_t, absl::Span<const char>) override {
    return absl::OkStatus();
  }
  absl::StatusOr<PhysAddr> PhysicalAddress(Uid region, uint64_t offset_bytes) override {
    return PhysAddr{(region << 32) + offset_bytes};
  }
  absl::Status HostMap(DeviceIndex device, const BackendMapping& mapping) override;
  absl::Status HostUnmap(DeviceIndex device, IovaRange range) override;
  absl::Status HostUnmapDeferred(DeviceIndex device, IovaRange range) override;
  absl::Status HostFlush(DeviceIndex device) override;
  absl::Status RaisePageFault(const PageFault& fault) override { return ReportPageFault(fault); }
  std::vector<PageGroupResponse> PageResponses(DeviceIndex device) override {
    return ResponsesTo(device);
  }
  std::vector<TableEntryDump> DumpTables(DeviceIndex, std::optional<uint32_t>, Iova) override {
    return {};
  }

  // Takes the mapping out of `live`; false: there is none like that.
  bool Take(DeviceIndex device, const IovaRange& range, BackendMapping* mapping)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(host_mutex_);
  // The one that stands for the members of a device's group.
  DeviceIndex LeaderOf(DeviceIndex device) const;

  mutable absl::Mutex host_mutex_;                                  // Taken alone.
  std::map<DeviceIndex, Host> hosts_ ABSL_GUARDED_BY(host_mutex_);  // By leader.
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_FAKE_FAKE_HOST_BACKEND_H_
