// The simulated machine: what devices and the host's processor do to memory.
#include "absl/strings/str_cat.h"
#include "clients/viommuctl/commands.h"
#include "clients/viommuctl/exit_code.h"
#include "clients/viommuctl/values.h"
#include "viommu/v1/device.pb.h"
#include "viommu/v1/simulation.grpc.pb.h"

namespace viommu {
namespace {

// The bytes that --text or --hex gives.
absl::StatusOr<std::string> BytesToWrite(const Invocation& call) {
  if (call.Has("text") == call.Has("hex")) {
    return absl::InvalidArgumentError("say what to write: either --text or --hex");
  }
  if (call.Has("text")) return call.Text("text");
  return ParseHexBytes(call.Text("hex"));
}

// The fault is no error of the call, but the device did not get what it asked for.
void PrintFault(Invocation& call, const v1::DmaResponse& done) {
  if (!done.has_fault()) return;
  call.EndWith(kExitFault);
  if (call.ForPrograms()) return;
  const v1::DmaFault& fault = done.fault();
  call.err() << "viommuctl: the IOMMU stopped the device after " << done.bytes_done()
             << " bytes: fault " << fault.code() << " (" << fault.reason() << ") at "
             << FormatAddress(fault.iova()) << ": " << fault.description() << "\n"
             << "hint: viommuctl tables " << ShortName(call.FirstName()) << " "
             << FormatAddress(fault.iova()) << " shows the entries on its way\n";
}

v1::DmaRequest DmaRequestOf(const Invocation& call) {
  v1::DmaRequest request;
  request.set_name(call.Name("DEVICE"));
  request.set_iova(call.Address("ADDRESS"));
  if (call.Has("pasid")) request.set_pasid(call.Number("pasid"));
  return request;
}

}  // namespace

absl::Status DmaRead(Invocation& call) {
  v1::DmaRequest request = DmaRequestOf(call);
  request.set_read_length(call.Size("size"));
  const auto done = call.Call(&v1::SimulationService::Stub::Dma, request);
  if (!done.ok()) return done.status();
  if (call.ForPrograms()) {
    call.Show(*done, Table());
  } else {
    call.Print(HexDump(request.iova(), done->data()));
  }
  PrintFault(call, *done);
  return absl::OkStatus();
}

absl::Status DmaWrite(Invocation& call) {
  const absl::StatusOr<std::string> bytes = BytesToWrite(call);
  if (!bytes.ok()) return bytes.status();
  v1::DmaRequest request = DmaRequestOf(call);
  request.set_write_data(*bytes);
  const auto done = call.Call(&v1::SimulationService::Stub::Dma, request);
  if (!done.ok()) return done.status();
  if (call.ForPrograms() || !done->has_fault()) {
    call.Did(*done, request.name(), "wrote",
             absl::StrCat(done->bytes_done(), " bytes at ", FormatAddress(request.iova())));
  }
  PrintFault(call, *done);
  return absl::OkStatus();
}

absl::Status MemoryRead(Invocation& call) {
  v1::ReadMemoryRequest request;
  request.set_name(call.Name("REGION"));
  request.set_offset(call.Size("offset"));
  request.set_length(call.Size("size"));
  const auto memory = call.Call(&v1::SimulationService::Stub::ReadMemory, request);
  if (!memory.ok()) return memory.status();
  if (call.ForPrograms()) {
    call.Show(*memory, Table());
  } else {
    call.Print(HexDump(request.offset(), memory->data()));
  }
  return absl::OkStatus();
}

absl::Status MemoryWrite(Invocation& call) {
  const absl::StatusOr<std::string> bytes = BytesToWrite(call);
  if (!bytes.ok()) return bytes.status();
  v1::WriteMemoryRequest request;
  request.set_name(call.Name("REGION"));
  request.set_offset(call.Size("offset"));
  request.set_data(*bytes);
  const auto done = call.Call(&v1::SimulationService::Stub::WriteMemory, request);
  if (!done.ok()) return done.status();
  call.Did(*done, request.name(), "written",
           absl::StrCat("(", bytes->size(), " bytes at ", FormatAddress(request.offset()), ")"));
  return absl::OkStatus();
}

absl::Status HostMap(Invocation& call) {
  v1::HostMapRequest request;
  request.set_name(call.Name("DEVICE"));
  request.set_memory_region(call.Name("region"));
  request.set_offset(call.Size("offset"));
  request.set_length(call.Size("size"));
  request.set_permission(call.PermissionOf("permission"));
  const auto done = call.Call(&v1::SimulationService::Stub::HostMap, request);
  if (!done.ok()) return done.status();
  call.Did(*done, request.memory_region(), "mapped",
           absl::StrCat("for ", request.name(), " at ",
                        FormatRange(done->iova(), done->iova() + (request.length() - 1))));
  return absl::OkStatus();
}

absl::Status HostUnmap(Invocation& call) {
  v1::HostUnmapRequest request;
  request.set_name(call.Name("DEVICE"));
  request.set_iova(call.Address("iova"));
  request.set_length(call.Size("size"));
  const auto done = call.Call(&v1::SimulationService::Stub::HostUnmap, request);
  if (!done.ok()) return done.status();
  call.Did(*done, FormatRange(request.iova(), request.iova() + (request.length() - 1)), "unmapped",
           absl::StrCat("for ", request.name()));
  return absl::OkStatus();
}

absl::Status SetDeviceHealth(Invocation& call) {
  v1::SetDeviceHealthRequest request;
  request.set_name(call.Name("DEVICE"));
  request.set_health(call.Text("HEALTH") == "healthy" ? v1::DEVICE_HEALTH_HEALTHY
                                                      : v1::DEVICE_HEALTH_UNHEALTHY);
  request.set_health_reason(call.Text("reason"));
  const auto device = call.Call(&v1::SimulationService::Stub::SetDeviceHealth, request);
  if (!device.ok()) return device.status();
  call.Did(*device, device->name(), "made", call.Text("HEALTH"));
  return absl::OkStatus();
}

absl::Status UnplugDevice(Invocation& call) {
  v1::UnplugDeviceRequest request;
  request.set_name(call.Name("DEVICE"));
  const auto done = call.Call(&v1::SimulationService::Stub::UnplugDevice, request);
  if (!done.ok()) return done.status();
  call.Did(*done, request.name(), "unplugged");
  return absl::OkStatus();
}

absl::Status PlugDevice(Invocation& call) {
  v1::PlugDeviceRequest request;
  request.set_name(call.Name("DEVICE"));
  const auto device = call.Call(&v1::SimulationService::Stub::PlugDevice, request);
  if (!device.ok()) return device.status();
  call.Did(*device, device->name(), "plugged in");
  return absl::OkStatus();
}

absl::Status ResizeRegion(Invocation& call) {
  v1::ResizeMemoryRegionRequest request;
  request.set_name(call.Name("REGION"));
  request.set_size_bytes(call.Size("size"));
  const auto region = call.Call(&v1::SimulationService::Stub::ResizeMemoryRegion, request);
  if (!region.ok()) return region.status();
  call.Did(*region, request.name(), "resized",
           absl::StrCat("to ", FormatSize(region->size_bytes())));
  return absl::OkStatus();
}

absl::Status RevokeRegion(Invocation& call) {
  v1::RevokeMemoryRegionRequest request;
  request.set_name(call.Name("REGION"));
  const auto region = call.Call(&v1::SimulationService::Stub::RevokeMemoryRegion, request);
  if (!region.ok()) return region.status();
  call.Did(*region, request.name(), "revoked");
  return absl::OkStatus();
}

}  // namespace viommu
