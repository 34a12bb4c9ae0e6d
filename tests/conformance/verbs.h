// tests/conformance/verbs.h -- The steps that cases are made of: calls, and what is looked up
// after.
//
// Objects are named by their ids without the suite's prefix, devices by the parts that they play.
// Calls that make or change something note how to undo it.
#ifndef VIOMMU_TESTS_CONFORMANCE_VERBS_H_
#define VIOMMU_TESTS_CONFORMANCE_VERBS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tests/conformance/case.h"
#include "viommu/v1/common.pb.h"
#include "viommu/v1/device.pb.h"
#include "viommu/v1/domain.pb.h"
#include "viommu/v1/host.pb.h"
#include "viommu/v1/ioas.pb.h"

namespace viommu::conformance {

inline constexpr uint64_t kPage = 0x1000;
inline constexpr uint64_t kMiB = uint64_t{1} << 20;
inline constexpr uint64_t kTop = ~uint64_t{0};  // The last address.

// ---- Memory regions; the byte at offset n of one is n / kPage + 1 at first, up to 64 KiB ----
Step NewRegion(const std::string& id, uint64_t size_bytes = kMiB);
Step DeleteRegion(const std::string& id);

// ---- IO address spaces ----
Step NewIoas(const std::string& id);
Step GetIoas(const std::string& id);
Step DeleteIoas(const std::string& id);

// An entry of a batch; by default it shows the region "r".
struct Entry {
  std::optional<uint64_t> iova;
  uint64_t length = kPage;
  uint64_t offset = 0;
  v1::Permission permission = v1::PERMISSION_UNSPECIFIED;
  std::string region = "r";
};
inline Entry At(uint64_t iova, uint64_t length = kPage, uint64_t offset = 0) {
  return {iova, length, offset};
}
inline Entry Anywhere(uint64_t length = kPage, uint64_t offset = 0) {
  return {std::nullopt, length, offset};
}
inline Entry With(Entry entry, v1::Permission permission) {
  entry.permission = permission;
  return entry;
}
inline Entry Of(std::string region, Entry entry) {
  entry.region = std::move(region);
  return entry;
}
v1::MapRequest MapRequestFor(const std::string& ioas, const std::vector<Entry>& entries);
Step Map(const std::string& ioas, const std::vector<Entry>& entries);
Step SendMap(const v1::MapRequest& request);  // As it is.

struct Span {
  uint64_t iova;
  uint64_t length = kPage;
};
Step Unmap(const std::string& ioas, const std::vector<Span>& ranges);
Step SendUnmap(const v1::UnmapRequest& request);
Step UnmapAll(const std::string& ioas);

struct Copy {
  std::string source = "a";
  uint64_t source_iova = 0x10000;
  uint64_t length = kPage;
  std::string into = "b";
  std::optional<uint64_t> iova = 0x40000;
  v1::Permission permission = v1::PERMISSION_UNSPECIFIED;
};
Step CopyMappings(const Copy& copy);

struct Range {
  uint64_t first;
  uint64_t last;
};
Step Allow(const std::string& ioas, const std::vector<Range>& ranges);
Step ListRanges(const std::string& ioas);
Step Translate(const std::string& ioas, uint64_t iova);

// ---- Domains ----
Step NewDomain(const std::string& id, const std::string& ioas, const std::string& device);
Step SendNewDomain(const std::string& id, const v1::Domain& domain);
Step DeleteDomain(const std::string& id);

// ---- Devices ----
Step Claim(const std::string& device);
Step Release(const std::string& device);
Step Attach(const std::string& device, const std::string& domain);
Step Replace(const std::string& device, const std::string& domain);
Step Detach(const std::string& device);
Step HardwareInfo(const std::string& device, v1::HardwareType type = v1::HARDWARE_TYPE_UNSPECIFIED);
Step ReservedRegions(const std::string& device);
Step SetDefault(const std::string& device, v1::DefaultDomainType type);

// ---- The host's side; only where there is a simulation ----
Step HostMap(const std::string& device, uint64_t length = kPage, uint64_t offset = 0,
             v1::Permission permission = v1::PERMISSION_UNSPECIFIED);
Step HostUnmap(const std::string& device, uint64_t iova, uint64_t length);
Step HostUnmapLast(const std::string& device, uint64_t length = kPage);
Step SetHealth(const std::string& device, v1::DeviceHealth health);

// ---- Several at once ----
// Region "r", address space "a", and a domain "d" over it for a device that is claimed.
std::vector<Step> DomainFor(const std::string& device);
// The same, attached.
std::vector<Step> Attached(const std::string& device);
std::vector<Step> operator+(std::vector<Step> steps, const std::vector<Step>& more);

// ---- What holds after a call: an error says what does not ----
// The last answer, in text, has `text` in it, or not.
Step AnswerSays(const std::string& text);
Step AnswerLacks(const std::string& text);
// The addresses that were chosen.
Step Chose(const std::vector<uint64_t>& iovas);
// All mappings: first address, length, offset, as text: "0x1000+0x1000@0x0".
Step Maps(const std::string& ioas, const std::vector<std::string>& mappings);
// All usable ranges.
Step Usable(const std::string& ioas, const std::vector<Range>& ranges);
Step HasAlignment(const std::string& ioas, uint64_t bytes);
// The device reads that byte there, or the read stops with a fault; nothing without a simulation.
Step Reads(const std::string& device, uint64_t iova, int byte);
Step Faults(const std::string& device, uint64_t iova);
Step FaultsAtWrite(const std::string& device, uint64_t iova);
Step Writes(const std::string& device, uint64_t iova);
// Text of the device, from GetDevice, has `text` in it.
Step DeviceSays(const std::string& device, const std::string& text);
Step DomainSays(const std::string& domain, const std::string& text);
Step DomainLacks(const std::string& domain, const std::string& text);
// Keeps what can be seen of everything, and compares with it later.
Step Remember();
Step NothingChanged();

}  // namespace viommu::conformance

#endif  // VIOMMU_TESTS_CONFORMANCE_VERBS_H_
