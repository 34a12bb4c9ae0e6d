#include "clients/viommuctl/command_table.h"

#include "clients/viommuctl/commands.h"

namespace viommu {
namespace {

using T = ValueType;
constexpr Presence kRequired = Presence::kRequired;
constexpr Presence kOptional = Presence::kOptional;

constexpr Param NameOf(absl::string_view placeholder, Kind kind, absl::string_view help,
                       Presence presence = kRequired) {
  return {placeholder, T::kName, help, presence, kind};
}

const Param kRegion = NameOf("REGION", Kind::kRegion, "Memory region.");
const Param kIoas = NameOf("IOAS", Kind::kIoas, "IO address space.");
const Param kDomain = NameOf("DOMAIN", Kind::kDomain, "Domain.");
const Param kDevice = NameOf("DEVICE", Kind::kDevice, "Device.");
const Param kIommu = NameOf("IOMMU", Kind::kIommu, "IOMMU.");
const Param kQueue = NameOf("IOMMU", Kind::kQueue, "IOMMU whose queue it is.");
const Param kNewId = {"ID", T::kId, "Its id. Default: one is chosen.", kOptional};
const Param kAddress = {"ADDRESS", T::kAddress, "IO virtual address.", kRequired};

const Param kRegionFlag = NameOf("region", Kind::kRegion, "Memory that shall show there.");
const Param kSize = {"size", T::kSize, "Bytes.", kRequired};
const Param kIova = {"iova", T::kAddress, "First IO virtual address. Default: one is chosen."};
const Param kIovaRequired = {"iova", T::kAddress, "First IO virtual address.", kRequired};
const Param kOffset = {"offset", T::kSize, "First byte of the region. Default: 0."};
const Param kPermission = {"permission", T::kPermission, "What devices may do. Default: rw."};
const Param kTextToWrite = {"text", T::kText, "The bytes, as text."};
const Param kHexToWrite = {"hex", T::kHexBytes, "The bytes, in hexadecimal."};

void AddObjectCommands(std::vector<Command>* to) {
  const std::vector<Command> commands = {
      {"list regions", {}, {}, kPaged, "Memory regions.", "list regions", ListRegions},
      {"list ioas", {}, {}, kPaged, "IO address spaces.", "list ioas", ListIoas},
      {"list domains", {}, {}, kPaged, "Domains.", "list domains", ListDomains},
      {"list devices", {}, {}, kPaged, "Devices, and who has them.", "list devices", ListDevices},
      {"list iommus", {}, {}, kPaged, "IOMMUs.", "list iommus", ListIommus},
      {"list queues", {}, {}, kPaged, "Invalidation queues.", "list queues", ListQueues},
      {"list attachments", {NameOf("DEVICE", Kind::kDevice, "Device. Default: all.", kOptional)},
       {}, kPaged, "Which device is attached to which domain.", "list attachments",
       ListAttachments},
      {"get region", {kRegion}, {}, kPlain, "One memory region.", "get region ram", GetRegion},
      {"get ioas", {kIoas}, {}, kPlain, "One IO address space.", "get ioas vm0 -o json", GetIoas},
      {"get domain", {kDomain}, {}, kPlain, "One domain.", "get domain vm0", GetDomain},
      {"get device", {kDevice}, {}, kPlain, "One device.", "get device 0000:01:00.0", GetDevice},
      {"get iommu", {kIommu}, {}, kPlain, "One IOMMU.", "get iommu dmar0", GetIommu},
      {"get queue", {kQueue}, {}, kPlain, "The invalidation queue of an IOMMU.", "get queue dmar0",
       GetQueue},
      {"get host", {}, {}, kPlain, "Version, backend and limits of viommud.", "get host", GetHost},
      {"describe region", {kRegion}, {}, kPaged | kForPeople,
       "A memory region, and where it is mapped.", "describe region ram", DescribeRegion},
      {"describe ioas", {kIoas}, {}, kPaged | kForPeople,
       "An IO address space, its domains, devices and mappings.", "describe ioas vm0",
       DescribeIoas},
      {"describe domain", {kDomain}, {}, kForPeople, "A domain, and the devices attached to it.",
       "describe domain vm0", DescribeDomain},
      {"describe device", {kDevice}, {}, kForPeople,
       "A device, its attachment and its reserved regions.", "describe device 0000:01:00.0",
       DescribeDevice},
      {"describe iommu", {kIommu}, {}, kForPeople, "An IOMMU, its queue and its devices.",
       "describe iommu dmar0", DescribeIommu},
      {"describe queue", {kQueue}, {}, kForPeople, "An invalidation queue.",
       "describe queue dmar0", DescribeQueue},
      {"describe host", {}, {}, kPaged | kForPeople, "The host, its IOMMUs and all attachments.",
       "describe host", DescribeHost},
      {"create region", {kNewId},
       {kSize, {"numa-node", T::kNumber, "Preferred NUMA node."}},
       kChanges, "Make zero-filled memory that can be mapped.", "create region ram --size 4G",
       CreateRegion},
      {"create ioas", {kNewId}, {}, kChanges, "Make an empty IO address space.",
       "create ioas vm0", CreateIoas},
      {"create domain", {kNewId},
       {NameOf("ioas", Kind::kIoas, "Whose mappings it shows."),
        NameOf("device", Kind::kDevice, "Claimed device whose IOMMU fixes its format.")},
       kChanges, "Make a domain over an IO address space.",
       "create domain vm0 --ioas vm0 --device 0000:01:00.0", CreateDomain},
      {"delete region", {kRegion}, {}, kChanges | kEtag, "Remove memory that is mapped nowhere.",
       "delete region ram", DeleteRegion},
      {"delete ioas", {kIoas}, {}, kChanges | kEtag, "Remove an IO address space and its mappings.",
       "delete ioas vm0", DeleteIoas},
      {"delete domain", {kDomain}, {}, kChanges | kEtag,
       "Remove a domain to which no device is attached.", "delete domain vm0", DeleteDomain},
  };
  to->insert(to->end(), commands.begin(), commands.end());
}

void AddDeviceCommands(std::vector<Command>* to) {
  const std::vector<Command> commands = {
      {"claim", {kDevice}, {}, kChanges | kEtag,
       "Take a device, with its group, from the host; it is blocked then.", "claim 0000:01:00.0",
       Claim},
      {"release", {kDevice}, {}, kChanges | kEtag, "Give a device, with its group, back.",
       "release 0000:01:00.0", Release},
      {"attach", {kDevice, kDomain}, {}, kChanges, "Attach a claimed device to a domain.",
       "attach 0000:01:00.0 vm0", Attach},
      {"replace", {kDevice, kDomain}, {}, kChanges, "Move an attached device to another domain.",
       "replace 0000:01:00.0 vm1", Replace},
      {"detach", {kDevice}, {}, kChanges, "Detach a device; it is blocked then.",
       "detach 0000:01:00.0", Detach},
      {"set-default-domain",
       {kDevice,
        {"TYPE", T::kChoice, "What the host shall use.", kRequired, Kind::kNone,
         "identity|dma|dma-fq"}},
       {}, kChanges, "Choose the domain of a device that the host has.",
       "set-default-domain 0000:01:00.0 dma", SetDefaultDomain},
      {"reserved-regions", {kDevice}, {}, kPlain, "Addresses that must not be mapped for a device.",
       "reserved-regions 0000:01:00.0", ReservedRegions},
      {"hardware-info", {kDevice}, {}, kPlain, "Capability registers of a device's IOMMU.",
       "hardware-info 0000:01:00.0", HardwareInfo},
  };
  to->insert(to->end(), commands.begin(), commands.end());
}

void AddMappingCommands(std::vector<Command>* to) {
  const std::vector<Command> commands = {
      {"map", {kIoas}, {kRegionFlag, kSize, kIova, kOffset, kPermission}, kChanges,
       "Map memory into an IO address space.",
       "map vm0 --region ram --size 1G --iova 0x40000000", Map},
      {"unmap", {kIoas},
       {{"iova", T::kAddress, "First IO virtual address."},
        {"size", T::kSize, "Bytes."},
        {"all", T::kSwitch, "Everything, instead of --iova and --size."}},
       kChanges, "Unmap a range; no device can use it any more.",
       "unmap vm0 --iova 0x40000000 --size 1G", Unmap},
      {"copy", {kIoas},
       {{"source-iova", T::kAddress, "First address to copy.", kRequired},
        kSize,
        NameOf("from", Kind::kIoas, "IO address space to copy from. Default: the same.", kOptional),
        kIova,
        kPermission},
       kChanges, "Map what another range already shows.",
       "copy vm1 --from vm0 --source-iova 0x40000000 --size 1G", Copy},
      {"mappings", {kIoas},
       {{"first", T::kAddress, "Leave out mappings that end below it."},
        {"last", T::kAddress, "Leave out mappings that start above it."}},
       kPaged, "What an IO address space maps.", "mappings vm0 --first 1G", Mappings},
      {"translate", {kIoas, kAddress}, {}, kPlain, "What one address shows.",
       "translate vm0 0x40001234", Translate},
      {"iova-ranges", {kIoas}, {}, kPlain, "Addresses that can be mapped.", "iova-ranges vm0",
       IovaRanges},
      {"allow-ranges",
       {kIoas,
        {"RANGE", T::kRange, "FIRST-LAST, both included, or FIRST+SIZE.", Presence::kRepeated}},
       {{"none", T::kSwitch, "Take every earlier wish back."}},
       kChanges, "Say which addresses must stay usable.", "allow-ranges vm0 0x0+3G 4G+60G",
       AllowRanges},
  };
  to->insert(to->end(), commands.begin(), commands.end());
}

void AddSimulationCommands(std::vector<Command>* to) {
  const std::vector<Command> commands = {
      {"dma read", {kDevice, kAddress}, {kSize}, kPlain, "Read as a device would.",
       "dma read 0000:01:00.0 0x40000000 --size 64", DmaRead},
      {"dma write", {kDevice, kAddress}, {kTextToWrite, kHexToWrite}, kPlain,
       "Write as a device would.", "dma write 0000:01:00.0 0x40000000 --text hello", DmaWrite},
      {"memory read", {kRegion}, {kSize, kOffset}, kPlain, "Read as the host's processor would.",
       "memory read ram --size 64", MemoryRead},
      {"memory write", {kRegion}, {kTextToWrite, kHexToWrite, kOffset}, kPlain,
       "Write as the host's processor would.", "memory write ram --hex 00ff --offset 4K",
       MemoryWrite},
      {"host-map", {kDevice}, {kRegionFlag, kSize, kOffset, kPermission}, kChanges,
       "Map memory for a device that the host has.",
       "host-map 0000:01:00.0 --region ram --size 4K", HostMap},
      {"host-unmap", {kDevice}, {kIovaRequired, kSize}, kChanges, "Take back a host-map.",
       "host-unmap 0000:01:00.0 --iova 0xfffff000 --size 4K", HostUnmap},
      {"set-device-health",
       {kDevice,
        {"HEALTH", T::kChoice, "How it shall be.", kRequired, Kind::kNone, "healthy|unhealthy"}},
       {{"reason", T::kText, "Why."}},
       kChanges, "Make a device healthy or not.",
       "set-device-health 0000:01:00.0 unhealthy --reason \"link down\"", SetDeviceHealth},
      {"tables", {kDevice, kAddress}, {}, kPlain,
       "The hardware's table entries on the way of an address.",
       "tables 0000:01:00.0 0x40000000", Tables},
  };
  to->insert(to->end(), commands.begin(), commands.end());
}

void AddWatchingCommands(std::vector<Command>* to) {
  const std::vector<Command> commands = {
      {"health", {}, {}, kPlain, "Whether viommud and its services can be used.", "health",
       Health},
      {"queues", {}, {}, kPaged, "The same as list queues.", "queues", ListQueues},
      {"top", {},
       {{"once", T::kSwitch, "Show one interval and end."},
        {"interval", T::kDuration, "How long to count. Default: 2s."},
        {"metrics", T::kText, "IPV4:PORT of viommud's metrics. Default: as its endpoints.json says."}},
       kForPeople, "What viommud is doing, in rates per second, from its metrics.", "top --once",
       Top},
      {"completion", {{"SHELL", T::kChoice, "Shell.", kRequired, Kind::kNone, "bash"}}, {},
       kForPeople, "Print a script that completes words.", "completion bash", Completion},
      {"reference", {}, {}, kForPeople, "Print the page docs/VIOMMUCTL.md.", "reference",
       Reference},
      {"help", {{"COMMAND", T::kText, "Its words.", Presence::kRepeated}}, {}, kForPeople,
       "Explain a command, or list all.", "help create domain", Help},
  };
  to->insert(to->end(), commands.begin(), commands.end());
}

}  // namespace

std::vector<Command> AllCommands() {
  std::vector<Command> commands;
  AddObjectCommands(&commands);
  AddDeviceCommands(&commands);
  AddMappingCommands(&commands);
  AddSimulationCommands(&commands);
  AddWatchingCommands(&commands);
  return commands;
}

}  // namespace viommu
