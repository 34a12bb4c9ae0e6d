// clients/demo/session.h -- The main job, as a client does it: one method a step, in this order.
//
// Each answers what there is to tell, or what was wrong. They build on each other: after an error
// the later ones make no sense.
#ifndef VIOMMU_CLIENTS_DEMO_SESSION_H_
#define VIOMMU_CLIENTS_DEMO_SESSION_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "clients/client/client.h"
#include "viommu/v1/device.pb.h"
#include "viommu/v1/simulation.pb.h"

namespace viommu {

// Thread-compatible.
class Session {
 public:
  using Told = absl::StatusOr<std::string>;

  // `client` outlives it.
  explicit Session(Client* client) : client_(*client) {}

  Told GreetHost();
  Told FindDevice();
  Told ClaimDevice();
  Told DmaBeforeAttachIsBlocked();
  Told CreateMemoryRegions();
  Told CreateIoas();
  Told CreateDomains();
  Told MapOneGibibyte();
  Told AttachDevice();
  Told DmaReads();
  Told DmaWrites();
  Told ReplaceDomainUnderDma();
  Told Unmap();
  Told DmaAfterUnmapIsBlocked();
  Told DetachDevice();
  Told DeleteEverything();
  Told ReleaseDevice();

  // DMA requests that were blocked so far, as the client saw them.
  uint64_t blocked_dma() const { return blocked_dma_; }
  // Changes of the device's domain so far.
  uint64_t transitions() const { return transitions_; }

 private:
  // Whether the demo may take it: alone in its group, nothing mapped one to one for it.
  absl::StatusOr<bool> IsSuitable(const v1::Device& device);
  absl::Status WriteMemory(const std::string& region, uint64_t offset, const std::string& data);
  absl::StatusOr<std::string> ReadMemory(const std::string& region, uint64_t offset,
                                         uint64_t length);
  absl::StatusOr<v1::DmaResponse> Read(uint64_t iova, uint64_t length);
  absl::StatusOr<v1::DmaResponse> Write(uint64_t iova, const std::string& data);
  absl::Status MemoryMustHold(const std::string& region, uint64_t offset, const std::string& bytes);
  // A read and a write at `iova` must both be blocked; tells how.
  Told BothAreBlocked(uint64_t iova);
  // Whether it was hitless.
  absl::StatusOr<bool> Replace(const std::string& domain);

  Client& client_;
  std::string device_;  // Name.
  uint64_t blocked_dma_ = 0;
  uint64_t transitions_ = 0;
};

struct SessionStep {
  const char* name;
  Session::Told (Session::*run)();
};

// Up to here the device works and memory is mapped; a look at the metrics is worth it.
inline constexpr SessionStep kStepsUntilMapped[] = {
    {"ask who serves", &Session::GreetHost},
    {"find a device", &Session::FindDevice},
    {"claim it", &Session::ClaimDevice},
    {"DMA before it is attached", &Session::DmaBeforeAttachIsBlocked},
    {"create two memory regions", &Session::CreateMemoryRegions},
    {"create two IO address spaces", &Session::CreateIoas},
    {"create two domains", &Session::CreateDomains},
    {"map 1 GiB in each", &Session::MapOneGibibyte},
    {"attach the device", &Session::AttachDevice},
    {"DMA in: the device reads memory", &Session::DmaReads},
    {"DMA out: the device writes memory", &Session::DmaWrites},
    {"replace the domain under running DMA", &Session::ReplaceDomainUnderDma},
};

inline constexpr SessionStep kStepsUntilReleased[] = {
    {"unmap", &Session::Unmap},
    {"DMA after the unmap", &Session::DmaAfterUnmapIsBlocked},
    {"detach the device", &Session::DetachDevice},
    {"delete everything", &Session::DeleteEverything},
    {"release the device", &Session::ReleaseDevice},
};

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_DEMO_SESSION_H_
