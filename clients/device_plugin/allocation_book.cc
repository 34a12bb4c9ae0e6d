#include "clients/device_plugin/allocation_book.h"

#include <cstdint>
#include <random>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "clients/device_plugin/inventory.h"
#include "clients/device_plugin/selector.h"
#include "viommu/v1/device.pb.h"
#include "viommu/v1/ioas.pb.h"
#include "viommu/v1/listener.pb.h"

namespace viommu {
namespace {

constexpr absl::string_view kSpaces = "ioas/";

void AddPages(const std::vector<v1::Ioas>& spaces, AllocationBook* book) {
  for (const v1::Ioas& ioas : spaces) {
    // Those of others begin with "owners/".
    absl::string_view name = ioas.name();
    if (!absl::ConsumePrefix(&name, kSpaces) || !IsAllocation(name)) continue;
    AllocationRecord& record = (*book)[std::string(name)];
    for (const std::string& device : ioas.loaded_devices()) {
      record.devices.insert(IdOfDevice(device));
    }
  }
}

void AddClaims(const std::vector<v1::Device>& devices, AllocationBook* book) {
  for (const v1::Device& device : devices) {
    if (!IsAllocation(device.claimed_by())) continue;
    (*book)[device.claimed_by()].claimed.insert(IdOfDevice(device.name()));
  }
}

void AddListeners(const std::vector<v1::Listener>& listeners, AllocationBook* book) {
  for (const v1::Listener& listener : listeners) {
    if (!IsAllocation(listener.owner())) continue;
    (*book)[listener.owner()].connections = listener.connections();
  }
}

}  // namespace

std::string NewAllocationName() {
  std::random_device random;
  const uint64_t number = (uint64_t{random()} << 32) | random();
  return absl::StrCat(kAllocationPrefix, absl::Hex(number, absl::kZeroPad16));
}

absl::StatusOr<AllocationBook> ReadBook(Viommud& viommud) {
  AllocationBook book;
  const auto listeners = viommud.ListListeners();
  if (!listeners.ok()) return listeners.status();
  const auto devices = viommud.ListDevices();
  if (!devices.ok()) return devices.status();
  // Last: who has a claim or a listener had a page before.
  const auto spaces = viommud.ListIoas();
  if (!spaces.ok()) return spaces.status();
  AddPages(*spaces, &book);
  AddClaims(*devices, &book);
  AddListeners(*listeners, &book);
  return book;
}

const AllocationBook::value_type* AllocationOf(const AllocationBook& book,
                                               const std::string& device) {
  for (const auto& entry : book) {
    if (entry.second.devices.count(device) != 0) return &entry;
  }
  return nullptr;
}

absl::Status WritePage(Viommud& viommud, const std::string& allocation,
                       const std::set<std::string>& devices) {
  absl::Status status = viommud.CreateIoas(allocation);
  for (const std::string& device : devices) {
    if (!status.ok()) break;
    status = viommud.LoadReservedRegions(allocation, device);
  }
  return status;
}

absl::StatusOr<bool> HasPage(Viommud& viommud, const std::string& allocation) {
  const auto page = viommud.GetIoas(allocation);
  if (absl::IsNotFound(page.status())) return false;
  if (!page.ok()) return page.status();
  return true;
}

absl::Status TearOutPage(Viommud& viommud, const std::string& allocation) {
  return viommud.DeleteIoas(allocation);
}

}  // namespace viommu
