// clients/viommuctl/command_params.h -- What the parts of the command table share: the arguments
// and flags that several commands take, and the parts themselves.
#ifndef VIOMMU_CLIENTS_VIOMMUCTL_COMMAND_PARAMS_H_
#define VIOMMU_CLIENTS_VIOMMUCTL_COMMAND_PARAMS_H_

#include <vector>

#include "absl/strings/string_view.h"
#include "clients/viommuctl/command.h"
#include "clients/viommuctl/kinds.h"

namespace viommu::table {

using T = ValueType;
inline constexpr Presence kRequired = Presence::kRequired;
inline constexpr Presence kOptional = Presence::kOptional;

constexpr Param NameOf(absl::string_view placeholder, Kind kind, absl::string_view help,
                       Presence presence = kRequired) {
  return {placeholder, T::kName, help, presence, kind};
}

inline constexpr Param kRegion = NameOf("REGION", Kind::kRegion, "Memory region.");
inline constexpr Param kIoas = NameOf("IOAS", Kind::kIoas, "IO address space.");
inline constexpr Param kDomain = NameOf("DOMAIN", Kind::kDomain, "Domain.");
inline constexpr Param kDevice = NameOf("DEVICE", Kind::kDevice, "Device.");
inline constexpr Param kIommu = NameOf("IOMMU", Kind::kIommu, "IOMMU.");
inline constexpr Param kQueue = NameOf("IOMMU", Kind::kQueue, "IOMMU whose queue it is.");
inline constexpr Param kViommu = NameOf("VIOMMU", Kind::kViommu, "Viommu.");
inline constexpr Param kVdevice = NameOf("VDEVICE", Kind::kVdevice, "Vdevice: VIOMMU/ID.");
inline constexpr Param kEventQueue = NameOf("QUEUE", Kind::kEventQueue, "Event queue: VIOMMU/ID.");
inline constexpr Param kHardwareQueue =
    NameOf("QUEUE", Kind::kHardwareQueue, "Hardware queue: VIOMMU/ID.");
inline constexpr Param kFaultQueue = NameOf("QUEUE", Kind::kFaultQueue, "Fault queue.");
inline constexpr Param kListener = NameOf("OWNER", Kind::kListener, "Tenant whose it is.");
inline constexpr Param kNewId = {"ID", T::kId, "Its id. Default: one is chosen.", kOptional};
inline constexpr Param kAddress = {"ADDRESS", T::kAddress, "IO virtual address.", kRequired};

inline constexpr Param kRegionFlag =
    NameOf("region", Kind::kRegion, "Memory that shall show there.");
inline constexpr Param kSize = {"size", T::kSize, "Bytes.", kRequired};
inline constexpr Param kIova = {"iova", T::kAddress,
                                "First IO virtual address. Default: one is chosen."};
inline constexpr Param kIovaRequired = {"iova", T::kAddress, "First IO virtual address.",
                                        kRequired};
inline constexpr Param kOffset = {"offset", T::kSize, "First byte of the region. Default: 0."};
inline constexpr Param kPermission = {"permission", T::kPermission,
                                      "What devices may do. Default: rw."};
inline constexpr Param kTarget =
    NameOf("DOMAIN", Kind::kDomain, "Domain. Not with --ioas.", kOptional);
inline constexpr Param kTargetIoas = NameOf(
    "ioas", Kind::kIoas, "Attach to an auto domain of this IO address space instead.", kOptional);
inline constexpr Param kPasid = {"pasid", T::kCount, "PASID. Default: requests without PASID."};
inline constexpr Param kHolder = {"owner", T::kId,
                                  "Who must have the device. Default: whoever has it."};
inline constexpr Param kPasidArgument = {"PASID", T::kCount, "PASID.", kRequired};
inline constexpr Param kPasidLabel = {"label", T::kText, "What it is kept for."};
inline constexpr Param kTextToWrite = {"text", T::kText, "The bytes, as text."};
inline constexpr Param kHexToWrite = {"hex", T::kHexBytes, "The bytes, in hexadecimal."};

// The commands of one group, appended in the order in which help lists them.
void AddObjectCommands(std::vector<Command>* to);    // Regions, address spaces, domains; listings.
void AddDeviceCommands(std::vector<Command>* to);    // Claims, attachments, PASIDs.
void AddMappingCommands(std::vector<Command>* to);   // Maps, unmaps, ranges.
void AddGuestCommands(std::vector<Command>* to);     // First stages of guests on a nest parent.
void AddViommuCommands(std::vector<Command>* to);    // Viommus and what belongs to them.
void AddFaultCommands(std::vector<Command>* to);     // Page faults and their answers.
void AddListenerCommands(std::vector<Command>* to);  // Sockets of tenants.
void AddSimulationCommands(std::vector<Command>* to);  // What devices and the machine do.
void AddWatchingCommands(std::vector<Command>* to);    // Health, watching, the tool itself.

}  // namespace viommu::table

#endif  // VIOMMU_CLIENTS_VIOMMUCTL_COMMAND_PARAMS_H_
