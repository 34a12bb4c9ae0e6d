#include "clients/device_plugin/tenant.h"

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "clients/client/call_error.h"
#include "clients/client/client.h"
#include "clients/device_plugin/selector.h"
#include "viommu/v1/device.grpc.pb.h"
#include "viommu/v1/domain.grpc.pb.h"
#include "viommu/v1/ioas.grpc.pb.h"

namespace viommu {
namespace {

using Devices = v1::DeviceService::Stub;
using Domains = v1::DomainService::Stub;
using Spaces = v1::IoasService::Stub;

// The listener is there; it only has to accept.
constexpr absl::Duration kConnectPatience = absl::Seconds(2);
// A machine that is busy with other things is no reason to fail a pod.
constexpr absl::Duration kCallPatience = absl::Seconds(10);
constexpr char kIoasId[] = "main";

class Furnisher {
 public:
  Furnisher(Client* client, const config::v1::AllocationDomain& domain)
      : client_(*client), options_(domain) {}

  absl::Status MakeIoas() {
    v1::CreateIoasRequest request;
    request.set_ioas_id(kIoasId);
    const auto ioas = client_.Call(&Spaces::CreateIoas, std::move(request));
    if (ioas.ok()) made_.ioas = ioas->name();
    return ioas.status();
  }

  // What a former container has told a device to do must not go on in this one's memory: a sibling
  // that nobody asked for reaches it, too, as a group is attached whole.
  absl::Status Reset(const std::set<std::string>& devices) {
    std::set<std::string> names;
    for (const std::string& device : devices) {
      v1::GetDeviceRequest request;
      request.set_name(NameOfDevice(device));
      const auto known = client_.Call(&Devices::GetDevice, std::move(request));
      if (!known.ok()) return known.status();
      names.insert(known->name());
      names.insert(known->group_members().begin(), known->group_members().end());
    }
    for (const std::string& name : names) {
      v1::ResetDeviceRequest request;
      request.set_name(name);
      absl::Status reset = client_.Call(&Devices::ResetDevice, std::move(request)).status();
      if (!reset.ok()) return reset;
    }
    return absl::OkStatus();
  }

  // Attaches the device to the first of the domains that its IOMMU can use, or to a new one.
  absl::Status Attach(const std::string& device) {
    for (const std::string& domain : made_.domains) {
      absl::Status attached = AttachTo(device, domain);
      if (ReasonOf(attached) != "INCOMPATIBLE_DOMAIN") return attached;
    }
    const absl::Status made = MakeDomain(device);
    return made.ok() ? AttachTo(device, made_.domains.back()) : made;
  }

  Furnishing Made() && { return std::move(made_); }

 private:
  absl::Status MakeDomain(const std::string& device) {
    v1::CreateDomainRequest request;
    request.set_domain_id(absl::StrCat("main", made_.domains.size()));
    v1::PagingDomain& paging = *request.mutable_domain()->mutable_paging();
    paging.set_ioas(made_.ioas);
    paging.set_device(NameOfDevice(device));
    paging.set_nest_parent(options_.nest_parent());
    paging.set_dirty_tracking(options_.dirty_tracking());
    paging.set_pasid(options_.pasid());
    const auto domain = client_.Call(&Domains::CreateDomain, std::move(request));
    if (domain.ok()) made_.domains.push_back(domain->name());
    return domain.status();
  }

  absl::Status AttachTo(const std::string& device, const std::string& domain) {
    v1::AttachDeviceRequest request;
    request.set_name(NameOfDevice(device));
    request.set_domain(domain);
    return client_.Call(&Devices::AttachDevice, std::move(request)).status();
  }

  Client& client_;
  const config::v1::AllocationDomain& options_;
  Furnishing made_;
};

}  // namespace

absl::StatusOr<Furnishing> Furnish(const std::string& socket, const std::set<std::string>& devices,
                                   const config::v1::AllocationDomain& domain) {
  ClientOptions options;
  options.connect_timeout = kConnectPatience;
  options.call_timeout = kCallPatience;
  const auto client = Client::Connect(absl::StrCat("unix:", socket), options);
  if (!client.ok()) return client.status();
  Furnisher furnisher(client->get(), domain);
  absl::Status status = furnisher.MakeIoas();
  if (status.ok()) status = furnisher.Reset(devices);
  for (const std::string& device : devices) {
    if (status.ok()) status = furnisher.Attach(device);
  }
  if (!status.ok()) return status;
  return std::move(furnisher).Made();
}

}  // namespace viommu
