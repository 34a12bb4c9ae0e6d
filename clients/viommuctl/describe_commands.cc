// describe: an object, and what it has to do with others, as an operator wants to see it.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "clients/viommuctl/columns.h"
#include "clients/viommuctl/commands.h"
#include "clients/viommuctl/values.h"
#include "viommu/v1/device.grpc.pb.h"
#include "viommu/v1/domain.grpc.pb.h"
#include "viommu/v1/host.grpc.pb.h"
#include "viommu/v1/ioas.grpc.pb.h"
#include "viommu/v1/memory.grpc.pb.h"

namespace viommu {
namespace {

// More of a kind than this are counted, not shown, unless --limit says otherwise.
constexpr uint64_t kShown = 20;
constexpr int kIndent = 2;
constexpr int kMappingsPage = 1000;  // The most that viommud gives.

uint64_t ShownOf(const Invocation& call) { return call.Has("limit") ? call.Limit() : kShown; }

template <typename Stub, typename Request, typename Response>
absl::StatusOr<Response> Get(Invocation& call,
                             grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                          Response*),
                             const std::string& name) {
  Request request;
  request.set_name(name);
  return call.Call(method, request);
}

void PrintFields(Invocation& call, const Table& fields) {
  call.Print(fields.Format(/*with_headings=*/false));
}

// A titled list below the fields; `more` says what it leaves out.
void PrintPart(Invocation& call, absl::string_view title, const Table& table,
               absl::string_view more = "") {
  call.Print(absl::StrCat("\n", title, ":", table.empty() ? " none" : "", "\n"));
  if (!table.empty()) call.Print(table.Format(/*with_headings=*/true, kIndent));
  if (!more.empty()) call.Print(absl::StrCat("  ", more, "\n"));
}

absl::StatusOr<v1::ListMappingsResponse> MappingsOf(Invocation& call, const std::string& ioas,
                                                    uint64_t limit) {
  v1::ListMappingsRequest request;
  request.set_parent(ioas);
  return call.CallPages(&v1::IoasService::Stub::ListMappings, std::move(request), limit);
}

absl::Status PrintDevices(Invocation& call, absl::string_view title,
                          const google::protobuf::RepeatedPtrField<std::string>& names) {
  std::vector<v1::Device> devices;
  for (const std::string& name : names) {
    auto device = Get(call, &v1::DeviceService::Stub::GetDevice, name);
    if (!device.ok()) return device.status();
    devices.push_back(*std::move(device));
  }
  PrintPart(call, title, TableOf(devices));
  return absl::OkStatus();
}

// The places in which a memory region shows, at most `wanted`.
class Places {
 public:
  Places(const std::string& region, uint64_t wanted) : region_(region), wanted_(wanted) {}

  // Adds those in one IO address space, and reads no more of it than that takes.
  absl::Status AddThoseIn(const std::string& ioas, Invocation& call) {
    v1::ListMappingsRequest request;
    request.set_parent(ioas);
    request.set_page_size(kMappingsPage);
    while (!AreEnough()) {
      const auto page = call.Call(&v1::IoasService::Stub::ListMappings, request);
      // It was deleted since it was listed.
      if (absl::IsNotFound(page.status())) return absl::OkStatus();
      if (!page.ok()) return page.status();
      for (const v1::Mapping& mapping : page->mappings()) Consider(ioas, mapping);
      if (page->next_page_token().empty()) return absl::OkStatus();
      request.set_page_token(page->next_page_token());
    }
    return absl::OkStatus();
  }

  bool AreEnough() const { return shown_ >= wanted_; }
  uint64_t shown() const { return shown_; }
  const Table& table() const { return table_; }

 private:
  static Table::Cells HeadingsOfPlaces() {
    Table::Cells headings = Headings(v1::Mapping());
    headings.insert(headings.begin(), "IOAS");
    return headings;
  }

  void Consider(const std::string& ioas, const v1::Mapping& mapping) {
    if (AreEnough() || mapping.memory_region() != region_) return;
    Table::Cells cells = Cells(mapping);
    cells.insert(cells.begin(), ShortName(ioas));
    table_.Add(std::move(cells));
    ++shown_;
  }

  const std::string& region_;
  const uint64_t wanted_;
  uint64_t shown_ = 0;
  Table table_{HeadingsOfPlaces()};
};

}  // namespace

absl::Status DescribeRegion(Invocation& call) {
  const auto region = Get(call, &v1::MemoryService::Stub::GetMemoryRegion, call.FirstName());
  if (!region.ok()) return region.status();
  PrintFields(call, FieldsOf(*region));
  Places places(region->name(), std::min(ShownOf(call), region->mapping_count()));
  if (!places.AreEnough()) {
    const auto all =
        call.CallPages(&v1::IoasService::Stub::ListIoas, v1::ListIoasRequest(), /*limit=*/0);
    if (!all.ok()) return all.status();
    for (const v1::Ioas& ioas : all->ioas()) {
      absl::Status added = places.AddThoseIn(ioas.name(), call);
      if (!added.ok()) return added;
    }
  }
  const uint64_t hidden = region->mapping_count() - places.shown();
  const std::string more =
      hidden == 0 ? ""
      : places.AreEnough()
          ? absl::StrCat("and ", hidden, " more")
          : absl::StrCat("and ", hidden, " that are not listed: host mappings, or of other owners");
  PrintPart(call, "mapped at", places.table(), more);
  return absl::OkStatus();
}

absl::Status DescribeIoas(Invocation& call) {
  const auto ioas = Get(call, &v1::IoasService::Stub::GetIoas, call.FirstName());
  if (!ioas.ok()) return ioas.status();
  PrintFields(call, FieldsOf(*ioas));
  if (ioas->allowed_ranges_size() > 0) {
    PrintPart(call, "allowed ranges", TableOf(ioas->allowed_ranges()));
  }
  std::vector<v1::Domain> domains;
  for (const std::string& name : ioas->domains()) {
    auto domain = Get(call, &v1::DomainService::Stub::GetDomain, name);
    if (!domain.ok()) return domain.status();
    domains.push_back(*std::move(domain));
  }
  PrintPart(call, "domains over it", TableOf(domains));
  const auto mappings = MappingsOf(call, ioas->name(), ShownOf(call));
  if (!mappings.ok()) return mappings.status();
  const bool cut = !mappings->next_page_token().empty();
  PrintPart(call, "mappings", TableOf(mappings->mappings()),
            cut ? absl::StrCat("and more: viommuctl mappings ", ShortName(ioas->name())) : "");
  return absl::OkStatus();
}

absl::Status DescribeDomain(Invocation& call) {
  const auto domain = Get(call, &v1::DomainService::Stub::GetDomain, call.FirstName());
  if (!domain.ok()) return domain.status();
  PrintFields(call, FieldsOf(*domain));
  return PrintDevices(call, "attached devices", domain->attached_devices());
}

absl::Status DescribeDevice(Invocation& call) {
  const auto device = Get(call, &v1::DeviceService::Stub::GetDevice, call.FirstName());
  if (!device.ok()) return device.status();
  PrintFields(call, FieldsOf(*device));
  v1::ListAttachmentsRequest attachments_request;
  attachments_request.set_parent(device->name());
  const auto attachments =
      call.CallPages(&v1::DeviceService::Stub::ListAttachments, attachments_request, /*limit=*/0);
  if (!attachments.ok()) return attachments.status();
  PrintPart(call, "attachments", TableOf(attachments->attachments()));
  v1::ListReservedRegionsRequest request;
  request.set_parent(device->name());
  const auto reserved = call.Call(&v1::DeviceService::Stub::ListReservedRegions, request);
  if (!reserved.ok()) return reserved.status();
  PrintPart(call, "reserved regions", TableOf(reserved->reserved_regions()));
  return absl::OkStatus();
}

absl::Status DescribeIommu(Invocation& call) {
  const auto iommu = Get(call, &v1::HostService::Stub::GetIommu, call.FirstName());
  if (!iommu.ok()) return iommu.status();
  PrintFields(call, FieldsOf(*iommu));
  const auto queue = Get(call, &v1::HostService::Stub::GetInvalidationQueue,
                         ResourceName(Kind::kQueue, iommu->name()).value_or(""));
  if (!queue.ok()) return queue.status();
  PrintPart(call, "invalidation queue", TableOf(std::vector<v1::InvalidationQueue>{*queue}));
  return PrintDevices(call, "devices behind it", iommu->devices());
}

absl::Status DescribeQueue(Invocation& call) {
  const auto queue = Get(call, &v1::HostService::Stub::GetInvalidationQueue, call.FirstName());
  if (!queue.ok()) return queue.status();
  PrintFields(call, FieldsOf(*queue));
  return absl::OkStatus();
}

absl::Status DescribeHost(Invocation& call) {
  const auto host = call.Call(&v1::HostService::Stub::GetHost, v1::GetHostRequest());
  if (!host.ok()) return host.status();
  PrintFields(call, FieldsOf(*host));
  const auto iommus =
      call.CallPages(&v1::HostService::Stub::ListIommus, v1::ListIommusRequest(), /*limit=*/0);
  if (!iommus.ok()) return iommus.status();
  PrintPart(call, "IOMMUs", TableOf(iommus->iommus()));
  const auto attachments = call.CallPages(&v1::DeviceService::Stub::ListAttachments,
                                          v1::ListAttachmentsRequest(), ShownOf(call));
  if (!attachments.ok()) return attachments.status();
  const bool cut = !attachments->next_page_token().empty();
  PrintPart(call, "attachments", TableOf(attachments->attachments()),
            cut ? "and more: viommuctl list attachments" : "");
  return absl::OkStatus();
}

}  // namespace viommu
