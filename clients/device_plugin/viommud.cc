#include "clients/device_plugin/viommud.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "clients/device_plugin/selector.h"
#include "viommu/v1/device.grpc.pb.h"
#include "viommu/v1/host.grpc.pb.h"
#include "viommu/v1/ioas.grpc.pb.h"
#include "viommu/v1/listener.grpc.pb.h"

namespace viommu {
namespace {

using Devices = v1::DeviceService::Stub;
using Spaces = v1::IoasService::Stub;
using Listeners = v1::ListenerService::Stub;

constexpr absl::Duration kConnectTimeout = absl::Seconds(1);

ClientOptions Options(absl::Duration call_timeout) {
  ClientOptions options;
  options.call_timeout = call_timeout;
  options.connect_timeout = kConnectTimeout;
  options.reconnect_timeout = kConnectTimeout;
  return options;
}

// All pages of a listing, which `take` takes the items out of.
template <typename Stub, typename Request, typename Response, typename Take>
absl::Status AllPages(Client& client,
                      grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                      Take take) {
  Request request;
  do {
    absl::StatusOr<Response> page = client.Call(method, request);
    if (!page.ok()) return page.status();
    take(&*page);
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  return absl::OkStatus();
}

absl::Status IgnoreNotFound(const absl::Status& status) {
  return status.code() == absl::StatusCode::kNotFound ? absl::OkStatus() : status;
}

}  // namespace

absl::StatusOr<Client*> Viommud::client() {
  const absl::MutexLock lock(&mutex_);
  if (client_ == nullptr) {
    auto client = Client::Connect(absl::StrCat("unix:", socket_), Options(call_timeout_));
    if (!client.ok()) return client.status();
    client_ = *std::move(client);
  }
  return client_.get();
}

absl::Status Viommud::Ping() {
  const auto client = this->client();
  if (!client.ok()) return client.status();
  CallOptions options;
  options.max_attempts = 1;
  return (*client)->Call(&v1::HostService::Stub::GetHost, v1::GetHostRequest(), options).status();
}

absl::StatusOr<v1::Device> Viommud::GetDevice(absl::string_view id) {
  const auto client = this->client();
  if (!client.ok()) return client.status();
  v1::GetDeviceRequest request;
  request.set_name(NameOfDevice(id));
  return (*client)->Call(&Devices::GetDevice, std::move(request));
}

absl::StatusOr<std::vector<v1::Device>> Viommud::ListDevices() {
  const auto client = this->client();
  if (!client.ok()) return client.status();
  std::vector<v1::Device> devices;
  absl::Status status =
      AllPages(**client, &Devices::ListDevices, [&devices](v1::ListDevicesResponse* page) {
        for (v1::Device& device : *page->mutable_devices()) {
          devices.push_back(std::move(device));
        }
      });
  if (!status.ok()) return status;
  return devices;
}

absl::StatusOr<v1::HardwareInfo> Viommud::GetHardwareInfo(absl::string_view id) {
  const auto client = this->client();
  if (!client.ok()) return client.status();
  v1::GetHardwareInfoRequest request;
  request.set_name(NameOfDevice(id));
  return (*client)->Call(&Devices::GetHardwareInfo, std::move(request));
}

absl::Status Viommud::Claim(absl::string_view id, const std::string& owner,
                            const std::string& from_owner) {
  const auto client = this->client();
  if (!client.ok()) return client.status();
  v1::ClaimDeviceRequest request;
  request.set_name(NameOfDevice(id));
  request.set_owner(owner);
  request.set_from_owner(from_owner);
  return (*client)->Call(&Devices::ClaimDevice, std::move(request)).status();
}

absl::StatusOr<std::vector<v1::Ioas>> Viommud::ListIoas() {
  const auto client = this->client();
  if (!client.ok()) return client.status();
  std::vector<v1::Ioas> all;
  absl::Status status = AllPages(**client, &Spaces::ListIoas, [&all](v1::ListIoasResponse* page) {
    for (v1::Ioas& ioas : *page->mutable_ioas()) all.push_back(std::move(ioas));
  });
  if (!status.ok()) return status;
  return all;
}

absl::StatusOr<v1::Ioas> Viommud::GetIoas(const std::string& id) {
  const auto client = this->client();
  if (!client.ok()) return client.status();
  v1::GetIoasRequest request;
  request.set_name(absl::StrCat("ioas/", id));
  return (*client)->Call(&Spaces::GetIoas, std::move(request));
}

absl::Status Viommud::CreateIoas(const std::string& id) {
  const auto client = this->client();
  if (!client.ok()) return client.status();
  v1::CreateIoasRequest request;
  request.set_ioas_id(id);
  return (*client)->Call(&Spaces::CreateIoas, std::move(request)).status();
}

absl::Status Viommud::LoadReservedRegions(const std::string& ioas_id, absl::string_view device_id) {
  const auto client = this->client();
  if (!client.ok()) return client.status();
  v1::LoadReservedRegionsRequest request;
  request.set_name(absl::StrCat("ioas/", ioas_id));
  request.set_device(NameOfDevice(device_id));
  return (*client)->Call(&Spaces::LoadReservedRegions, std::move(request)).status();
}

absl::Status Viommud::DeleteIoas(const std::string& id) {
  const auto client = this->client();
  if (!client.ok()) return client.status();
  v1::DeleteIoasRequest request;
  request.set_name(absl::StrCat("ioas/", id));
  return IgnoreNotFound((*client)->Call(&Spaces::DeleteIoas, std::move(request)).status());
}

absl::StatusOr<std::vector<v1::Listener>> Viommud::ListListeners() {
  const auto client = this->client();
  if (!client.ok()) return client.status();
  std::vector<v1::Listener> all;
  absl::Status status =
      AllPages(**client, &Listeners::ListListeners, [&all](v1::ListListenersResponse* page) {
        for (v1::Listener& listener : *page->mutable_listeners())
          all.push_back(std::move(listener));
      });
  if (!status.ok()) return status;
  return all;
}

absl::StatusOr<v1::Listener> Viommud::CreateListener(const std::string& owner,
                                                     const ListenerAccess& access) {
  const auto client = this->client();
  if (!client.ok()) return client.status();
  v1::CreateListenerRequest request;
  request.set_listener_id(owner);
  request.mutable_listener()->set_mode(access.mode);
  if (access.uid.has_value()) request.mutable_listener()->set_uid(*access.uid);
  if (access.gid.has_value()) request.mutable_listener()->set_gid(*access.gid);
  return (*client)->Call(&Listeners::CreateListener, std::move(request));
}

absl::Status Viommud::DeleteListener(const std::string& owner) {
  const auto client = this->client();
  if (!client.ok()) return client.status();
  v1::DeleteListenerRequest request;
  request.set_name(absl::StrCat("listeners/", owner));
  return IgnoreNotFound((*client)->Call(&Listeners::DeleteListener, std::move(request)).status());
}

}  // namespace viommu
