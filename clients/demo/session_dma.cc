// The steps in which the device moves bytes.
#include <utility>

#include "absl/strings/str_cat.h"
#include "clients/demo/dma_checks.h"
#include "clients/demo/pattern.h"
#include "clients/demo/running_dma.h"
#include "clients/demo/session.h"
#include "clients/demo/session_objects.h"
#include "clients/demo/transcript.h"
#include "viommu/v1/device.grpc.pb.h"
#include "viommu/v1/simulation.grpc.pb.h"

namespace viommu {
namespace {

constexpr uint64_t kAccessBytes = uint64_t{1} << 20;  // The most that one access may move.
// The first bytes, the last, and some that cross a 2 MiB boundary.
constexpr uint64_t kPlaces[] = {0, (uint64_t{512} << 20) - kAccessBytes / 2,
                                kRegionBytes - kAccessBytes};
// What the device reads while its domain is replaced; DmaReads and DmaWrites leave it alone.
constexpr uint64_t kWatchedOffset = uint64_t{256} << 20;
// Odd, so that the device ends on the new domain.
constexpr int kReplacements = 51;
constexpr uint64_t kReadsBetweenReplacements = 4;

constexpr uint64_t kDeviceSeed = 1000;  // Of what the device writes.

}  // namespace

absl::Status Session::WriteMemory(const std::string& region, uint64_t offset,
                                  const std::string& data) {
  v1::WriteMemoryRequest request;
  request.set_name(region);
  request.set_offset(offset);
  request.set_data(data);
  return client_.Call(&v1::SimulationService::Stub::WriteMemory, request).status();
}

absl::StatusOr<std::string> Session::ReadMemory(const std::string& region, uint64_t offset,
                                                uint64_t length) {
  v1::ReadMemoryRequest request;
  request.set_name(region);
  request.set_offset(offset);
  request.set_length(length);
  auto memory = client_.Call(&v1::SimulationService::Stub::ReadMemory, request);
  if (!memory.ok()) return memory.status();
  return std::move(*memory->mutable_data());
}

absl::StatusOr<v1::DmaResponse> Session::Read(uint64_t iova, uint64_t length) {
  v1::DmaRequest request;
  request.set_name(device_);
  request.set_iova(iova);
  request.set_read_length(length);
  auto response = client_.Call(&v1::SimulationService::Stub::Dma, request);
  if (response.ok() && response->has_fault()) ++blocked_dma_;
  return response;
}

absl::StatusOr<v1::DmaResponse> Session::Write(uint64_t iova, const std::string& data) {
  v1::DmaRequest request;
  request.set_name(device_);
  request.set_iova(iova);
  request.set_write_data(data);
  auto response = client_.Call(&v1::SimulationService::Stub::Dma, request);
  if (response.ok() && response->has_fault()) ++blocked_dma_;
  return response;
}

Session::Told Session::BothAreBlocked(uint64_t iova) {
  const auto read = Read(iova, kPageBytes);
  if (!read.ok()) return read.status();
  const auto write = Write(iova, Pattern(kDeviceSeed, kPageBytes));
  if (!write.ok()) return write.status();
  const auto read_fault = MustBeBlocked(*read, iova);
  if (!read_fault.ok()) return read_fault.status();
  const auto write_fault = MustBeBlocked(*write, iova);
  if (!write_fault.ok()) return write_fault.status();
  return read_fault->code() == write_fault->code()
             ? absl::StrCat("read and write blocked ", HowBlocked(*read_fault))
             : absl::StrCat("read blocked ", HowBlocked(*read_fault), "\nwrite blocked ",
                            HowBlocked(*write_fault));
}

Session::Told Session::DmaBeforeAttachIsBlocked() { return BothAreBlocked(kIova); }

Session::Told Session::DmaReads() {
  for (const uint64_t offset : kPlaces) {
    const std::string bytes = Pattern(kOld.seed + offset, kAccessBytes);
    absl::Status status = WriteMemory(kOld.region, offset, bytes);
    if (!status.ok()) return status;
    const auto read = Read(kIova + offset, kAccessBytes);
    if (!read.ok()) return read.status();
    status = MustBeDone(*read, kAccessBytes);
    if (status.ok()) status = MustBeEqual(read->data(), bytes, "what the device read");
    if (!status.ok()) return status;
  }
  return absl::StrCat(FormatBytes(kAccessBytes), " at each of ", std::size(kPlaces),
                      " places, every byte right");
}

absl::Status Session::MemoryMustHold(const std::string& region, uint64_t offset,
                                     const std::string& bytes) {
  const auto memory = ReadMemory(region, offset, bytes.size());
  if (!memory.ok()) return memory.status();
  return MustBeEqual(*memory, bytes, absl::StrCat(region, " behind offset 0x", absl::Hex(offset)));
}

Session::Told Session::DmaWrites() {
  for (const uint64_t offset : kPlaces) {
    const std::string bytes = Pattern(kDeviceSeed + offset, kAccessBytes);
    const auto written = Write(kIova + offset, bytes);
    if (!written.ok()) return written.status();
    absl::Status status = MustBeDone(*written, kAccessBytes);
    if (status.ok()) status = MemoryMustHold(kOld.region, offset, bytes);
    // The other region is mapped at the same addresses, but for no device yet.
    const std::string untouched(kAccessBytes, '\0');
    if (status.ok()) status = MemoryMustHold(kNew.region, offset, untouched);
    if (!status.ok()) return status;
  }
  return absl::StrCat(FormatBytes(kAccessBytes), " at each of ", std::size(kPlaces),
                      " places, every byte right;\n", kNew.region, " untouched");
}

absl::StatusOr<bool> Session::Replace(const std::string& domain) {
  v1::ReplaceAttachmentRequest request;
  request.set_name(device_);
  request.set_domain(domain);
  const auto replaced = client_.Call(&v1::DeviceService::Stub::ReplaceAttachment, request);
  if (!replaced.ok()) return replaced.status();
  ++transitions_;
  return replaced->transition().hitless();
}

Session::Told Session::ReplaceDomainUnderDma() {
  for (const Side& side : kSides) {
    const absl::Status written =
        WriteMemory(side.region, kWatchedOffset, Pattern(side.seed, kPageBytes));
    if (!written.ok()) return written;
  }
  RunningDma dma(&client_, device_, kIova + kWatchedOffset, Pattern(kOld.seed, kPageBytes),
                 Pattern(kNew.seed, kPageBytes));
  int hitless = 0;
  for (int i = 0; i < kReplacements; ++i) {
    const absl::Status running = dma.WaitForReads(kReadsBetweenReplacements);
    if (!running.ok()) return running;
    const bool to_new = i % 2 == 0;
    dma.Replacing();
    const absl::StatusOr<bool> replaced = Replace(to_new ? kNew.domain : kOld.domain);
    if (!replaced.ok()) return replaced.status();
    dma.Replaced(to_new ? RunningDma::Contents::kNew : RunningDma::Contents::kOld, *replaced);
    hitless += *replaced ? 1 : 0;
  }
  const absl::Status running = dma.WaitForReads(kReadsBetweenReplacements);
  if (!running.ok()) return running;
  const absl::StatusOr<DmaCounts> counts = dma.Stop();
  if (!counts.ok()) return counts.status();
  blocked_dma_ += counts->blocked;
  return absl::StrCat(kReplacements, " times to and fro, ", hitless, " of them hitless;\n",
                      counts->total(), " reads meanwhile, ", counts->during,
                      " during a replacement:\n", counts->old_bytes, " saw the old bytes, ",
                      counts->new_bytes, " the new, ", counts->blocked,
                      " a fault, none anything else");
}

Session::Told Session::DmaAfterUnmapIsBlocked() {
  Told told = BothAreBlocked(kIova + kWatchedOffset);
  if (!told.ok()) return told;
  const absl::Status held =
      MemoryMustHold(kNew.region, kWatchedOffset, Pattern(kNew.seed, kPageBytes));
  if (!held.ok()) return held;
  return absl::StrCat(*told, "\nmemory is as it was");
}

}  // namespace viommu
