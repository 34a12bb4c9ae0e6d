// clients/viommuctl/commands.h -- The functions that the command table names, by file.
#ifndef VIOMMU_CLIENTS_VIOMMUCTL_COMMANDS_H_
#define VIOMMU_CLIENTS_VIOMMUCTL_COMMANDS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "clients/viommuctl/invocation.h"
#include "clients/viommuctl/kinds.h"

namespace viommu {

// object_commands.cc
absl::Status GetRegion(Invocation& call);
absl::Status GetIoas(Invocation& call);
absl::Status GetDomain(Invocation& call);
absl::Status GetFaultQueue(Invocation& call);
absl::Status GetDevice(Invocation& call);
absl::Status GetIommu(Invocation& call);
absl::Status GetQueue(Invocation& call);
absl::Status GetHost(Invocation& call);
absl::Status ListRegions(Invocation& call);
absl::Status ListIoas(Invocation& call);
absl::Status ListDomains(Invocation& call);
absl::Status ListFaultQueues(Invocation& call);
absl::Status ListDevices(Invocation& call);
absl::Status ListIommus(Invocation& call);
absl::Status ListQueues(Invocation& call);
absl::Status ListAttachments(Invocation& call);
absl::Status CreateRegion(Invocation& call);
absl::Status CreateIoas(Invocation& call);
absl::Status CreateDomain(Invocation& call);
absl::Status CreateFaultQueue(Invocation& call);
absl::Status DeleteRegion(Invocation& call);
absl::Status DeleteIoas(Invocation& call);
absl::Status DeleteDomain(Invocation& call);
absl::Status DeleteFaultQueue(Invocation& call);
// The short names of all objects of a kind; none when they can not be had.
std::vector<std::string> NamesOf(Kind kind, Invocation& call);

// describe_commands.cc
absl::Status DescribeRegion(Invocation& call);
absl::Status DescribeIoas(Invocation& call);
absl::Status DescribeDomain(Invocation& call);
absl::Status DescribeDevice(Invocation& call);
absl::Status DescribeIommu(Invocation& call);
absl::Status DescribeQueue(Invocation& call);
absl::Status DescribeHost(Invocation& call);

// device_commands.cc
absl::Status Claim(Invocation& call);
absl::Status Release(Invocation& call);
absl::Status Attach(Invocation& call);
absl::Status Replace(Invocation& call);
absl::Status Detach(Invocation& call);
absl::Status Reset(Invocation& call);
absl::Status SetDefaultDomain(Invocation& call);
absl::Status ReservedRegions(Invocation& call);
absl::Status HardwareInfo(Invocation& call);

// fault_commands.cc
absl::Status ListFaults(Invocation& call);
absl::Status RespondFault(Invocation& call);
absl::Status WatchFaults(Invocation& call);
absl::Status RaiseFault(Invocation& call);
absl::Status PageResponses(Invocation& call);

// listener_commands.cc
absl::Status ListListeners(Invocation& call);
absl::Status GetListener(Invocation& call);
absl::Status CreateListener(Invocation& call);
absl::Status DeleteListener(Invocation& call);

// pasid_commands.cc
absl::Status ListPasids(Invocation& call);
absl::Status AllocatePasid(Invocation& call);
absl::Status ReservePasid(Invocation& call);
absl::Status FreePasid(Invocation& call);

// mapping_commands.cc
absl::Status Map(Invocation& call);
absl::Status Unmap(Invocation& call);
absl::Status Copy(Invocation& call);
absl::Status AllowRanges(Invocation& call);
absl::Status SetLargePages(Invocation& call);
absl::Status LoadRegions(Invocation& call);
absl::Status UnloadRegions(Invocation& call);
absl::Status Mappings(Invocation& call);
absl::Status IovaRanges(Invocation& call);
absl::Status Translate(Invocation& call);

// dirty_commands.cc
absl::Status SetDirtyTracking(Invocation& call);
absl::Status DirtyPages(Invocation& call);

// guest_commands.cc
absl::Status Invalidate(Invocation& call);

// viommu_commands.cc
absl::Status ListViommus(Invocation& call);
absl::Status GetViommu(Invocation& call);
absl::Status CreateViommu(Invocation& call);
absl::Status DeleteViommu(Invocation& call);
absl::Status ListVdevices(Invocation& call);
absl::Status GetVdevice(Invocation& call);
absl::Status CreateVdevice(Invocation& call);
absl::Status DeleteVdevice(Invocation& call);
absl::Status ListEventQueues(Invocation& call);
absl::Status GetEventQueue(Invocation& call);
absl::Status CreateEventQueue(Invocation& call);
absl::Status DeleteEventQueue(Invocation& call);
absl::Status ListHardwareQueues(Invocation& call);
absl::Status GetHardwareQueue(Invocation& call);
absl::Status CreateHardwareQueue(Invocation& call);
absl::Status DeleteHardwareQueue(Invocation& call);
absl::Status ListEvents(Invocation& call);
absl::Status GiveCommand(Invocation& call);
absl::Status RaiseEvent(Invocation& call);

// simulation_commands.cc
absl::Status DmaRead(Invocation& call);
absl::Status DmaWrite(Invocation& call);
absl::Status MemoryRead(Invocation& call);
absl::Status MemoryWrite(Invocation& call);
absl::Status HostMap(Invocation& call);
absl::Status HostUnmap(Invocation& call);
absl::Status SetDeviceHealth(Invocation& call);
absl::Status PlugDevice(Invocation& call);
absl::Status UnplugDevice(Invocation& call);
absl::Status ResizeRegion(Invocation& call);
absl::Status RevokeRegion(Invocation& call);

// table_commands.cc
absl::Status Tables(Invocation& call);
absl::Status ExplainAccess(Invocation& call);
absl::Status ExportTables(Invocation& call);

// health_command.cc
absl::Status Health(Invocation& call);

// top_command.cc
absl::Status Top(Invocation& call);

// watch_command.cc
absl::Status WatchObjects(Invocation& call);

// version_command.cc
absl::Status Version(Invocation& call);

// help_commands.cc
absl::Status Help(Invocation& call);
absl::Status Reference(Invocation& call);
absl::Status Completion(Invocation& call);

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_VIOMMUCTL_COMMANDS_H_
