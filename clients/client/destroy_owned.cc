#include "clients/client/destroy_owned.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "google/protobuf/empty.pb.h"
#include "viommu/v1/device.grpc.pb.h"
#include "viommu/v1/domain.grpc.pb.h"
#include "viommu/v1/fault.grpc.pb.h"
#include "viommu/v1/ioas.grpc.pb.h"
#include "viommu/v1/memory.grpc.pb.h"
#include "viommu/v1/viommu.grpc.pb.h"

namespace viommu {
namespace {

// What takes longer is not going to end: each round takes away all that nothing stands on.
constexpr int kMaxRounds = 8;

template <typename Stub, typename Request, typename Response>
using Method = grpc::Status (Stub::*)(grpc::ClientContext*, const Request&, Response*);

class Destroyer {
 public:
  Destroyer(Client* client, const std::string& owner) : client_(*client), owner_(owner) {}

  // One try at everything, from what stands on top.
  absl::Status Round() {
    left_.clear();
    why_ = absl::OkStatus();
    for (auto step :
         {&Destroyer::Detach, &Destroyer::FreePasids, &Destroyer::DeleteGuests,
          &Destroyer::DeleteViommus, &Destroyer::DeleteDomains, &Destroyer::DeleteFaultQueues,
          &Destroyer::DeleteIoas, &Destroyer::DeleteRegions}) {
      absl::Status done = (this->*step)();
      if (!done.ok()) return done;
    }
    return absl::OkStatus();
  }

  int taken() const { return taken_; }
  Destruction Result() && { return {taken_, std::move(left_), std::move(why_)}; }

 private:
  // Calls `take` for each item that the owner has, of all pages.
  template <typename Stub, typename Request, typename Response, typename Items, typename Take>
  absl::Status Each(Method<Stub, Request, Response> method, Request request,
                    const Items& (Response::*items)() const, Take take) {
    std::vector<typename Items::value_type> owned;
    do {
      const auto page = client_.Call(method, request);
      if (!page.ok()) return page.status();
      for (const auto& item : ((*page).*items)()) {
        if (item.owner() == owner_) owned.push_back(item);
      }
      request.set_page_token(page->next_page_token());
    } while (!request.page_token().empty());
    for (const auto& item : owned) take(item);
    return absl::OkStatus();
  }

  template <typename Response>
  void Note(const std::string& name, const absl::StatusOr<Response>& done) {
    if (done.ok()) {
      ++taken_;
    } else if (!absl::IsNotFound(done.status())) {  // It went with something else.
      if (left_.empty()) why_ = done.status();
      left_.push_back(name);
    }
  }

  template <typename Stub, typename Request>
  void Delete(const std::string& name, Method<Stub, Request, google::protobuf::Empty> method) {
    Request request;
    request.set_name(name);
    Note(name, client_.Call(method, std::move(request)));
  }

  absl::Status Detach() {
    return Each(&v1::DeviceService::Stub::ListAttachments, v1::ListAttachmentsRequest(),
                &v1::ListAttachmentsResponse::attachments, [this](const v1::Attachment& a) {
                  v1::DetachDeviceRequest request;
                  request.set_name(a.device());
                  request.set_owner(owner_);
                  if (a.has_pasid()) request.set_pasid(a.pasid());
                  Note(a.device(),
                       client_.Call(&v1::DeviceService::Stub::DetachDevice, std::move(request)));
                });
  }

  // Those of every device; members of a group show the same ones.
  absl::Status FreePasids() {
    v1::ListDevicesRequest request;
    do {
      const auto page = client_.Call(&v1::DeviceService::Stub::ListDevices, request);
      if (!page.ok()) return page.status();
      for (const v1::Device& device : page->devices()) {
        if (device.claimed_by() != owner_) continue;
        absl::Status freed = FreePasidsOf(device.name());
        if (!freed.ok() && !absl::IsNotFound(freed)) return freed;
      }
      request.set_page_token(page->next_page_token());
    } while (!request.page_token().empty());
    return absl::OkStatus();
  }

  absl::Status FreePasidsOf(const std::string& device) {
    v1::ListPasidsRequest request;
    request.set_parent(device);
    return Each(&v1::DeviceService::Stub::ListPasids, std::move(request),
                &v1::ListPasidsResponse::pasids, [this](const v1::Pasid& pasid) {
                  v1::FreePasidRequest free;
                  free.set_name(pasid.device());
                  free.set_pasid(pasid.pasid());
                  free.set_owner(owner_);
                  Note(absl::StrCat(pasid.device(), " pasid ", pasid.pasid()),
                       client_.Call(&v1::DeviceService::Stub::FreePasid, std::move(free)));
                });
  }

  absl::Status DeleteDomainsIf(bool nested) {
    return Each(&v1::DomainService::Stub::ListDomains, v1::ListDomainsRequest(),
                &v1::ListDomainsResponse::domains, [this, nested](const v1::Domain& domain) {
                  if (domain.has_nested() != nested) return;
                  Delete(domain.name(), &v1::DomainService::Stub::DeleteDomain);
                });
  }
  absl::Status DeleteGuests() { return DeleteDomainsIf(/*nested=*/true); }
  absl::Status DeleteDomains() { return DeleteDomainsIf(/*nested=*/false); }

  absl::Status DeleteViommus() {
    return Each(&v1::ViommuService::Stub::ListViommus, v1::ListViommusRequest(),
                &v1::ListViommusResponse::viommus, [this](const v1::Viommu& viommu) {
                  // The last index has to go first.
                  for (int i = viommu.hardware_queues_size(); i-- > 0;) {
                    Delete(viommu.hardware_queues(i),
                           &v1::ViommuService::Stub::DeleteHardwareQueue);
                  }
                  for (const std::string& queue : viommu.event_queues()) {
                    Delete(queue, &v1::ViommuService::Stub::DeleteEventQueue);
                  }
                  for (const std::string& vdevice : viommu.vdevices()) {
                    Delete(vdevice, &v1::ViommuService::Stub::DeleteVdevice);
                  }
                  Delete(viommu.name(), &v1::ViommuService::Stub::DeleteViommu);
                });
  }

  absl::Status DeleteFaultQueues() {
    return Each(&v1::FaultService::Stub::ListFaultQueues, v1::ListFaultQueuesRequest(),
                &v1::ListFaultQueuesResponse::fault_queues, [this](const v1::FaultQueue& queue) {
                  Delete(queue.name(), &v1::FaultService::Stub::DeleteFaultQueue);
                });
  }

  absl::Status DeleteIoas() {
    return Each(
        &v1::IoasService::Stub::ListIoas, v1::ListIoasRequest(), &v1::ListIoasResponse::ioas,
        [this](const v1::Ioas& ioas) { Delete(ioas.name(), &v1::IoasService::Stub::DeleteIoas); });
  }

  absl::Status DeleteRegions() {
    return Each(&v1::MemoryService::Stub::ListMemoryRegions, v1::ListMemoryRegionsRequest(),
                &v1::ListMemoryRegionsResponse::memory_regions,
                [this](const v1::MemoryRegion& region) {
                  Delete(region.name(), &v1::MemoryService::Stub::DeleteMemoryRegion);
                });
  }

  Client& client_;
  const std::string owner_;
  int taken_ = 0;
  std::vector<std::string> left_;  // Of the last round.
  absl::Status why_;
};

}  // namespace

absl::StatusOr<Destruction> DestroyOwned(Client& client, const std::string& owner) {
  Destroyer destroyer(&client, owner);
  for (int round = 0; round < kMaxRounds; ++round) {
    const int before = destroyer.taken();
    absl::Status done = destroyer.Round();
    if (!done.ok()) return done;
    // A round that finds nothing is the proof; one that gets nowhere is the end.
    if (destroyer.taken() == before) break;
  }
  return std::move(destroyer).Result();
}

}  // namespace viommu
