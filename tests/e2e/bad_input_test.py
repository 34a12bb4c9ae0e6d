"""Bad input: each gets an error that names field, value and rule, and changes nothing."""
import collections
import os
import unittest

from tests.e2e import daemon
from tests.e2e import grpcurl
from tests.e2e import state
from tools import case_report

PAGE = 4096
MIB = 1 << 20
TOP = 1 << 64

# The session that all cases meet; see BadInputTest.setUpClass.
ATTACHED = "devices/0000:01:00.0"    # To domains/paging, over ioas/space.
MEMBER = "devices/0000:02:00.0"      # To domains/paging; claimed with its group.
SIBLING = "devices/0000:02:00.1"     # The other one of that group; not attached.
DETACHED = "devices/0000:81:00.0"    # Claimed; may have IDENTITY; behind the other unit.
FREE = "devices/0000:82:00.0"        # The host's; may have IDENTITY.
DIRECT = "devices/0000:00:02.0"      # Can not be claimed.
UNTRUSTED = "devices/0000:03:00.0"   # The host's.
MAPPED = 0x10000                     # 16 pages of memoryRegions/ram, at its start.
MSI = 0xfee00000

Case = collections.namedtuple("Case", "what method request code reason field says",
                              defaults=[None, ""])


def map_case(what, code, reason, field, says, **entry):
    """A Map into ioas/space whose one entry is good but for what is given."""
    good = {"iova": 0x100000, "memory_region": "memoryRegions/ram", "length": PAGE}
    entry = {key: value for key, value in {**good, **entry}.items() if value is not None}
    return Case(what, "IoasService/Map", {"name": "ioas/space", "mappings": [entry]}, code, reason,
                field and f"mappings[0].{field}", says)


def unmap_case(what, code, reason, field, says, **entry):
    """An Unmap from ioas/space of one range that is good but for what is given."""
    good = {"iova": MAPPED, "length": 16 * PAGE}
    entry = {key: value for key, value in {**good, **entry}.items() if value is not None}
    return Case(what, "IoasService/Unmap", {"name": "ioas/space", "ranges": [entry]}, code, reason,
                field and f"ranges[0].{field}", says)


def unknown_name(method, name, reason, /, **request):
    """`name` is the one in the request that nothing has."""
    return Case(f"{method} of {name}", method, request, "NOT_FOUND", reason, says=name)


def malformed_name(what, method, field, value, /, **request):
    return Case(f"{what}: {method}", method, {**request, field: value}, "INVALID_ARGUMENT",
                "MALFORMED_NAME", field, value[:60])


UNKNOWN_NAMES = [
    *(unknown_name(method, f"{collection}/none", reason, **{field: f"{collection}/none"})
      for collection, reason, field, methods in [
          ("devices", "DEVICE_NOT_FOUND", "name", [
              "DeviceService/GetDevice", "DeviceService/ClaimDevice",
              "DeviceService/ReleaseDevice", "DeviceService/DetachDevice",
              "DeviceService/AllocatePasid", "DeviceService/ResetDevice"]),
          ("devices", "DEVICE_NOT_FOUND", "parent", [
              "DeviceService/ListAttachments", "DeviceService/ListReservedRegions",
              "DeviceService/ListPasids"]),
          ("ioas", "IOAS_NOT_FOUND", "name", [
              "IoasService/GetIoas", "IoasService/DeleteIoas",
              "IoasService/SetAllowedIovaRanges"]),
          ("ioas", "IOAS_NOT_FOUND", "parent", [
              "IoasService/ListMappings", "IoasService/ListIovaRanges"]),
          ("domains", "DOMAIN_NOT_FOUND", "name", [
              "DomainService/GetDomain", "DomainService/DeleteDomain"]),
          ("memoryRegions", "MEMORY_REGION_NOT_FOUND", "name", [
              "MemoryService/GetMemoryRegion", "MemoryService/DeleteMemoryRegion"]),
          ("iommus", "IOMMU_NOT_FOUND", "name", ["HostService/GetIommu"])]
      for method in methods),
    unknown_name("HostService/GetInvalidationQueue", "iommus/none", "IOMMU_NOT_FOUND",
                 name="iommus/none/invalidationQueue"),
    unknown_name("DeviceService/GetHardwareInfo", "devices/none", "DEVICE_NOT_FOUND",
                 name="devices/none"),
    unknown_name("DeviceService/AttachDevice", "devices/none", "DEVICE_NOT_FOUND",
                 name="devices/none", domain="domains/paging"),
    unknown_name("DeviceService/AttachDevice", "domains/none", "DOMAIN_NOT_FOUND",
                 name=DETACHED, domain="domains/none"),
    unknown_name("DeviceService/ReplaceAttachment", "domains/none", "DOMAIN_NOT_FOUND",
                 name=ATTACHED, domain="domains/none"),
    unknown_name("DeviceService/SetDefaultDomain", "devices/none", "DEVICE_NOT_FOUND",
                 name="devices/none", default_domain="DEFAULT_DOMAIN_TYPE_DMA"),
    unknown_name("DomainService/CreateDomain", "ioas/none", "IOAS_NOT_FOUND",
                 domain={"paging": {"ioas": "ioas/none", "device": ATTACHED}}),
    unknown_name("DomainService/CreateDomain", "devices/none", "DEVICE_NOT_FOUND",
                 domain={"paging": {"ioas": "ioas/space", "device": "devices/none"}}),
    unknown_name("DomainService/CreateDomain", "domains/none", "DOMAIN_NOT_FOUND",
                 domain={"nested": {"parent": "domains/none", "device": ATTACHED, "vtd": {}}}),
    unknown_name("ViommuService/Invalidate", "domains/none", "DOMAIN_NOT_FOUND",
                 name="domains/none"),
    unknown_name("IoasService/Map", "ioas/none", "IOAS_NOT_FOUND", name="ioas/none",
                 mappings=[{"memory_region": "memoryRegions/ram", "length": PAGE}]),
    unknown_name("IoasService/Map", "memoryRegions/none", "MEMORY_REGION_NOT_FOUND",
                 name="ioas/space",
                 mappings=[{"memory_region": "memoryRegions/none", "length": PAGE}]),
    unknown_name("IoasService/Unmap", "ioas/none", "IOAS_NOT_FOUND", name="ioas/none",
                 ranges=[{"iova": 0, "length": PAGE}]),
    unknown_name("IoasService/CopyMappings", "ioas/none", "IOAS_NOT_FOUND", name="ioas/space",
                 source="ioas/none", source_iova=MAPPED, length=PAGE),
    unknown_name("IoasService/Translate", "ioas/none", "IOAS_NOT_FOUND", name="ioas/none", iova=0),
    unknown_name("SimulationService/Dma", "devices/none", "DEVICE_NOT_FOUND", name="devices/none",
                 iova=0, read_length=1),
    unknown_name("SimulationService/ReadMemory", "memoryRegions/none", "MEMORY_REGION_NOT_FOUND",
                 name="memoryRegions/none", length=1),
    unknown_name("SimulationService/WriteMemory", "memoryRegions/none", "MEMORY_REGION_NOT_FOUND",
                 name="memoryRegions/none", data="AA=="),
    unknown_name("SimulationService/HostMap", "memoryRegions/none", "MEMORY_REGION_NOT_FOUND",
                 name=FREE, memory_region="memoryRegions/none", length=PAGE),
    unknown_name("SimulationService/HostUnmap", "devices/none", "DEVICE_NOT_FOUND",
                 name="devices/none", iova=0, length=PAGE),
    unknown_name("SimulationService/SetDeviceHealth", "devices/none", "DEVICE_NOT_FOUND",
                 name="devices/none", health="DEVICE_HEALTH_HEALTHY"),
    unknown_name("SimulationService/UnplugDevice", "devices/none", "DEVICE_NOT_FOUND",
                 name="devices/none"),
    unknown_name("SimulationService/PlugDevice", "devices/none", "DEVICE_NOT_FOUND",
                 name="devices/none"),
    unknown_name("SimulationService/DumpTables", "devices/none", "DEVICE_NOT_FOUND",
                 name="devices/none", iova=0),
    unknown_name("SimulationService/ExplainTranslation", "devices/none", "DEVICE_NOT_FOUND",
                 name="devices/none", iova=0),
    # Somebody else's object is simply not there.
    unknown_name("IoasService/GetIoas", "ioas/space", "IOAS_NOT_FOUND",
                 name="owners/somebody/ioas/space"),
]

MALFORMED_NAMES = [
    malformed_name("no id", "IoasService/GetIoas", "name", "ioas/"),
    malformed_name("no collection", "IoasService/GetIoas", "name", "space"),
    malformed_name("another collection", "IoasService/GetIoas", "name", "domains/paging"),
    malformed_name("capital letters", "IoasService/GetIoas", "name", "ioas/Space"),
    malformed_name("a slash more", "IoasService/GetIoas", "name", "ioas/space/x"),
    malformed_name("a leading slash", "IoasService/GetIoas", "name", "/ioas/space"),
    malformed_name("ends in no letter", "IoasService/GetIoas", "name", "ioas/space-"),
    malformed_name("64 characters", "IoasService/GetIoas", "name", "ioas/" + 64 * "x"),
    malformed_name("a colon where none may be", "IoasService/GetIoas", "name", "ioas/a:b"),
    malformed_name("an owner of nothing", "IoasService/GetIoas", "name", "owners/local"),
    malformed_name("a PCI address alone", "DeviceService/ClaimDevice", "name", "0000:01:00.0"),
    malformed_name("a unit, not its queue", "HostService/GetInvalidationQueue", "name",
                   "iommus/dmar0"),
    malformed_name("a new id", "IoasService/CreateIoas", "ioas_id", "no spaces"),
    malformed_name("a new id", "DomainService/CreateDomain", "domain_id", "Upper",
                   domain={"paging": {"ioas": "ioas/space", "device": ATTACHED}}),
    malformed_name("a new id", "MemoryService/CreateMemoryRegion", "memory_region_id", "ram/1",
                   memory_region={"size_bytes": PAGE}),
    malformed_name("of the domain", "DeviceService/AttachDevice", "domain", "memoryRegions/ram",
                   name=DETACHED),
    map_case("of the memory region", "INVALID_ARGUMENT", "MALFORMED_NAME", "memory_region",
             "ram", memory_region="ram"),
]

MISSING = [
    Case("name", "IoasService/GetIoas", {}, "INVALID_ARGUMENT", "MISSING_FIELD", "name"),
    Case("domain", "DeviceService/AttachDevice", {"name": DETACHED}, "INVALID_ARGUMENT",
         "MISSING_FIELD", "domain"),
    Case("kind of domain", "DomainService/CreateDomain", {"domain_id": "x", "domain": {}},
         "INVALID_ARGUMENT", "MISSING_FIELD"),
    Case("a guest's first stage", "DomainService/CreateDomain",
         {"domain": {"nested": {"parent": "domains/paging", "device": ATTACHED}}},
         "INVALID_ARGUMENT", "MISSING_FIELD", "domain.nested.stage1"),
    Case("default domain", "DeviceService/SetDefaultDomain", {"name": FREE}, "INVALID_ARGUMENT",
         "MISSING_FIELD", "default_domain"),
    Case("health", "SimulationService/SetDeviceHealth", {"name": FREE}, "INVALID_ARGUMENT",
         "MISSING_FIELD", "health"),
    Case("boot id", "WatchService/Watch", {"resume": {"revision": 1}}, "INVALID_ARGUMENT",
         "MISSING_FIELD", "resume.boot_id"),
    Case("kind to watch", "WatchService/Watch", {"kinds": [0]}, "INVALID_ARGUMENT",
         "UNKNOWN_ENUM_VALUE", "kinds[0]"),
    Case("size of a region", "MemoryService/CreateMemoryRegion", {"memory_region": {}},
         "INVALID_ARGUMENT", "INVALID_SIZE", "memory_region.size_bytes"),
    Case("address of a DMA", "SimulationService/Dma", {"name": ATTACHED, "read_length": 1},
         "INVALID_ARGUMENT", "MISSING_FIELD", "iova"),
    Case("kind of DMA", "SimulationService/Dma", {"name": ATTACHED, "iova": MAPPED},
         "INVALID_ARGUMENT", "MISSING_FIELD"),
    Case("address to translate", "IoasService/Translate", {"name": "ioas/space"},
         "INVALID_ARGUMENT", "MISSING_FIELD", "iova"),
    Case("large pages", "IoasService/SetLargePages", {"name": "ioas/space"}, "INVALID_ARGUMENT",
         "MISSING_FIELD", "large_pages"),
    Case("whether to track", "DomainService/SetDirtyTracking", {"name": "domains/paging"},
         "INVALID_ARGUMENT", "MISSING_FIELD", "enabled"),
    Case("address of a bitmap", "DomainService/ReadDirtyBitmap", {"name": "domains/paging"},
         "INVALID_ARGUMENT", "MISSING_FIELD", "iova"),
    Case("size to resize to", "SimulationService/ResizeMemoryRegion", {"name": "memoryRegions/ram"},
         "INVALID_ARGUMENT", "INVALID_SIZE", "size_bytes"),
    map_case("memory region", "INVALID_ARGUMENT", "MISSING_FIELD", "memory_region", "",
             memory_region=None),
    unmap_case("address to unmap", "INVALID_ARGUMENT", "MISSING_FIELD", "iova", "", iova=None),
    Case("entries to map", "IoasService/Map", {"name": "ioas/space"}, "INVALID_ARGUMENT",
         "EMPTY_BATCH"),
    Case("ranges to unmap", "IoasService/Unmap", {"name": "ioas/space"}, "INVALID_ARGUMENT",
         "EMPTY_BATCH"),
]

MAP_RANGES = [
    map_case("zero length", "INVALID_ARGUMENT", "INVALID_LENGTH", "length", "", length=None),
    map_case("unaligned address", "INVALID_ARGUMENT", "MISALIGNED", "iova", "0x100001",
             iova=0x100001),
    map_case("unaligned length", "INVALID_ARGUMENT", "MISALIGNED", "length", "0x801",
             length=0x801),
    map_case("unaligned offset", "INVALID_ARGUMENT", "MISALIGNED", "offset", "0x10",
             offset=0x10),
    map_case("wraps by a page", "OUT_OF_RANGE", "IOVA_OVERFLOW", "iova", "0xfffffffffffff000",
             iova=TOP - PAGE, length=2 * PAGE),
    map_case("wraps by far", "OUT_OF_RANGE", "IOVA_OVERFLOW", "iova", "0xfffffffffff00000",
             iova=TOP - MIB, length=16 * MIB),
    map_case("ends at 2^64 - 1", "INVALID_ARGUMENT", "IOVA_RESERVED", "iova",
             "0xffffffffffffffff", iova=TOP - PAGE),
    map_case("begins above the aperture", "INVALID_ARGUMENT", "IOVA_RESERVED", "iova",
             "0x1000000000000", iova=1 << 48),
    map_case("ends above the aperture", "INVALID_ARGUMENT", "IOVA_RESERVED", "iova",
             "0x1000000000000", iova=(1 << 48) - PAGE, length=2 * PAGE),
    map_case("overlaps the mapping", "ALREADY_EXISTS", "IOVA_OCCUPIED", "iova", "0x10000",
             iova=MAPPED, length=PAGE),
    map_case("overlaps its last page", "ALREADY_EXISTS", "IOVA_OCCUPIED", "iova", "0x1f000",
             iova=MAPPED + 15 * PAGE, length=2 * PAGE),
    map_case("overlaps all of it", "ALREADY_EXISTS", "IOVA_OCCUPIED", "iova", "0xf000",
             iova=MAPPED - PAGE, length=18 * PAGE),
    map_case("in the MSI window", "INVALID_ARGUMENT", "IOVA_RESERVED", "iova",
             "[0xfee00000, 0xfeefffff]", iova=MSI + PAGE),
    map_case("into the MSI window", "INVALID_ARGUMENT", "IOVA_RESERVED", "iova",
             "[0xfee00000, 0xfeefffff]", iova=MSI - PAGE, length=2 * PAGE),
    map_case("across the MSI window", "INVALID_ARGUMENT", "IOVA_RESERVED", "iova",
             "[0xfee00000, 0xfeefffff]", iova=MSI - PAGE, length=2 * MIB),
    map_case("past the end of the region", "OUT_OF_RANGE", "SOURCE_OUT_OF_BOUNDS", "offset",
             "", offset=16 * MIB, length=PAGE),
    map_case("source wraps", "OUT_OF_RANGE", "SOURCE_OUT_OF_BOUNDS", "offset",
             "0xfffffffffffff000", offset=TOP - PAGE, length=2 * PAGE),
    map_case("more than there is room for", "OUT_OF_RANGE", "SOURCE_OUT_OF_BOUNDS", None, "",
             iova=None, length=1 << 49),
    map_case("permission NONE", "INVALID_ARGUMENT", "INVALID_PERMISSION", "permission",
             "PERMISSION_NONE", permission="PERMISSION_NONE"),
    map_case("unknown permission", "INVALID_ARGUMENT", "UNKNOWN_ENUM_VALUE", "permission", "99",
             permission=99),
]

UNMAP_RANGES = [
    unmap_case("zero length", "INVALID_ARGUMENT", "INVALID_LENGTH", "length", "", length=None),
    unmap_case("wraps", "OUT_OF_RANGE", "IOVA_OVERFLOW", "iova", "0xfffffffffffff000",
               iova=TOP - PAGE, length=2 * PAGE),
    unmap_case("wraps by all", "OUT_OF_RANGE", "IOVA_OVERFLOW", "iova", "0x1000",
               iova=PAGE, length=TOP - 1),
    unmap_case("nothing there", "NOT_FOUND", "IOVA_NOT_COVERED", None, "0x40000000",
               iova=0x40000000),
    unmap_case("nothing there, up to 2^64 - 1", "NOT_FOUND", "IOVA_NOT_COVERED", None,
               "0xffffffffffffffff", iova=TOP - PAGE, length=PAGE),
    unmap_case("half of the mapping", "NOT_FOUND", "IOVA_NOT_COVERED", None, "0x10000",
               length=8 * PAGE),
    unmap_case("the middle of the mapping", "NOT_FOUND", "IOVA_NOT_COVERED", None, "0x11000",
               iova=MAPPED + PAGE, length=PAGE),
    unmap_case("the kernel's range that means all", "INVALID_ARGUMENT", "INVALID_LENGTH",
               "length", "", iova=0, length=TOP - 1),
    Case("all and ranges", "IoasService/Unmap",
         {"name": "ioas/space", "all": True, "ranges": [{"iova": MAPPED, "length": PAGE}]},
         "INVALID_ARGUMENT", "CONFLICTING_FIELDS", "ranges"),
    Case("copy of a hole", "IoasService/CopyMappings",
         {"name": "ioas/space", "source": "ioas/space", "source_iova": MAPPED + 15 * PAGE,
          "length": 2 * PAGE, "iova": 0x200000}, "NOT_FOUND", "IOVA_NOT_COVERED"),
    Case("translation of a hole", "IoasService/Translate",
         {"name": "ioas/space", "iova": MAPPED - 1}, "NOT_FOUND", "IOVA_NOT_COVERED",
         says="0xffff"),
    Case("window that ends before it begins", "IoasService/ListMappings",
         {"parent": "ioas/space", "first_iova": 2, "last_iova": 1}, "INVALID_ARGUMENT",
         "RANGE_INVALID", "last_iova"),
    Case("allowed range that ends before it begins", "IoasService/SetAllowedIovaRanges",
         {"name": "ioas/space", "ranges": [{"first": 0x2000, "last": 0x1fff}]},
         "INVALID_ARGUMENT", "RANGE_INVALID", "ranges[0]"),
    Case("allowed ranges that overlap", "IoasService/SetAllowedIovaRanges",
         {"name": "ioas/space", "ranges": [{"first": 0, "last": 0x1fff},
                                           {"first": 0x1000, "last": 0x2fff}]},
         "INVALID_ARGUMENT", "RANGE_OVERLAP", "ranges[1]"),
    Case("allowed range in the MSI window", "IoasService/SetAllowedIovaRanges",
         {"name": "ioas/space", "ranges": [{"first": MSI, "last": MSI + PAGE - 1}]},
         "FAILED_PRECONDITION", "IOVA_CONFLICT", "ranges[0]", "0xfee00000"),
]

SPACES = [
    Case("VFIO's nesting type", "IoasService/CreateIoas",
         {"ioas": {"mode": "IOAS_MODE_VFIO_TYPE1_NESTING"}}, "UNIMPLEMENTED", "MODE_NOT_SUPPORTED",
         "ioas.mode"),
    Case("unknown mode", "IoasService/CreateIoas", {"ioas": {"mode": 99}}, "INVALID_ARGUMENT",
         "UNKNOWN_ENUM_VALUE", "ioas.mode", "99"),
    Case("large pages in VFIO's first type", "IoasService/CreateIoas",
         {"ioas": {"mode": "IOAS_MODE_VFIO_TYPE1", "large_pages": True}}, "INVALID_ARGUMENT",
         "LARGE_PAGES_NOT_ALLOWED", "ioas.large_pages"),
    Case("no large pages while they may be in use", "IoasService/SetLargePages",
         {"name": "ioas/space", "large_pages": False}, "FAILED_PRECONDITION",
         "LARGE_PAGES_IN_USE"),
    Case("regions of a device that is not there", "IoasService/LoadReservedRegions",
         {"name": "ioas/space", "device": "devices/none"}, "NOT_FOUND", "DEVICE_NOT_FOUND"),
    Case("regions of what is no device", "IoasService/UnloadReservedRegions",
         {"name": "ioas/space", "device": "ioas/space"}, "INVALID_ARGUMENT", "MALFORMED_NAME",
         "device"),
    Case("region larger than it was made", "SimulationService/ResizeMemoryRegion",
         {"name": "memoryRegions/ram", "size_bytes": 1 << 40}, "INVALID_ARGUMENT", "INVALID_SIZE",
         "size_bytes", str(1 << 40)),
]

MEMORY = [
    *(Case(f"region of {size} bytes", "MemoryService/CreateMemoryRegion",
           {"memory_region": {"size_bytes": size}}, "INVALID_ARGUMENT", "INVALID_SIZE",
           "memory_region.size_bytes", str(size)) for size in (1, PAGE + 1, TOP - PAGE)),
    Case("region on a node that is not there", "MemoryService/CreateMemoryRegion",
         {"memory_region": {"size_bytes": PAGE, "numa_node": 7}}, "INVALID_ARGUMENT",
         "INVALID_NUMA_NODE", "memory_region.numa_node", "7"),
    Case("read past the end", "SimulationService/ReadMemory",
         {"name": "memoryRegions/ram", "offset": 16 * MIB - 1, "length": 2}, "OUT_OF_RANGE",
         "SOURCE_OUT_OF_BOUNDS", "offset"),
    Case("read of nothing", "SimulationService/ReadMemory", {"name": "memoryRegions/ram"},
         "INVALID_ARGUMENT", "INVALID_LENGTH", "length"),
    Case("read of too much", "SimulationService/ReadMemory",
         {"name": "memoryRegions/ram", "length": 2 * MIB}, "INVALID_ARGUMENT", "INVALID_LENGTH",
         "length"),
    Case("write past the end", "SimulationService/WriteMemory",
         {"name": "memoryRegions/ram", "offset": 16 * MIB, "data": "AA=="}, "OUT_OF_RANGE",
         "SOURCE_OUT_OF_BOUNDS"),
    Case("DMA past 2^64 - 1", "SimulationService/Dma",
         {"name": ATTACHED, "iova": TOP - 1, "read_length": 2}, "OUT_OF_RANGE", "IOVA_OVERFLOW"),
    Case("host mapping of half a page", "SimulationService/HostMap",
         {"name": FREE, "memory_region": "memoryRegions/ram", "length": 100}, "INVALID_ARGUMENT",
         "MISALIGNED"),
    Case("host mapping of a claimed device", "SimulationService/HostMap",
         {"name": ATTACHED, "memory_region": "memoryRegions/ram", "length": PAGE},
         "FAILED_PRECONDITION", "DEVICE_CLAIMED"),
    Case("host unmapping of nothing", "SimulationService/HostUnmap",
         {"name": FREE, "iova": 0x40000000, "length": PAGE}, "NOT_FOUND", "IOVA_NOT_COVERED"),
]

PRECONDITIONS = [
    Case("claims what has a DIRECT region", "DeviceService/ClaimDevice", {"name": DIRECT},
         "FAILED_PRECONDITION", "DIRECT_REGION", says="[0x7a000000, 0x7a7fffff]"),
    Case("plugs in what is there", "SimulationService/PlugDevice", {"name": FREE},
         "ALREADY_EXISTS", "DEVICE_PRESENT", says=FREE),
    Case("releases what is not claimed", "DeviceService/ReleaseDevice", {"name": FREE},
         "FAILED_PRECONDITION", "DEVICE_NOT_CLAIMED", says=FREE),
    Case("attaches what is not claimed", "DeviceService/AttachDevice",
         {"name": FREE, "domain": "domains/paging"}, "FAILED_PRECONDITION", "DEVICE_NOT_CLAIMED",
         says=FREE),
    Case("detaches what is not claimed", "DeviceService/DetachDevice", {"name": FREE},
         "FAILED_PRECONDITION", "DEVICE_NOT_CLAIMED", says=FREE),
    Case("makes a domain for what is not claimed", "DomainService/CreateDomain",
         {"domain": {"paging": {"ioas": "ioas/space", "device": FREE}}}, "FAILED_PRECONDITION",
         "DEVICE_NOT_CLAIMED", says=FREE),
    Case("tracks what is written", "DomainService/CreateDomain",
         {"domain": {"paging": {"ioas": "ioas/space", "device": ATTACHED, "dirty_tracking": True}}},
         "UNIMPLEMENTED", "DIRTY_TRACKING_UNAVAILABLE", "domain.paging.dirty_tracking"),
    Case("names a fault queue", "DomainService/CreateDomain",
         {"domain": {"paging": {"ioas": "ioas/space", "device": ATTACHED,
                                "fault_queue": "faultQueues/q"}}},
         "UNIMPLEMENTED", "FAULT_QUEUE_UNAVAILABLE", "domain.paging.fault_queue"),
    Case("invalidates what is not nested", "ViommuService/Invalidate",
         {"name": "domains/paging"}, "FAILED_PRECONDITION", "NOT_NESTED", says="domains/paging"),
    Case("asks for hardware that is not there", "DeviceService/GetHardwareInfo",
         {"name": ATTACHED, "type": "HARDWARE_TYPE_AMD"}, "UNIMPLEMENTED",
         "HARDWARE_TYPE_MISMATCH", "type", ATTACHED),
    Case("attaches twice", "DeviceService/AttachDevice",
         {"name": ATTACHED, "domain": "domains/other"}, "FAILED_PRECONDITION", "ALREADY_ATTACHED",
         says="domains/paging"),
    Case("attaches twice to the same", "DeviceService/AttachDevice",
         {"name": ATTACHED, "domain": "domains/paging"}, "FAILED_PRECONDITION",
         "ALREADY_ATTACHED", says="domains/paging"),
    Case("replaces what is not attached", "DeviceService/ReplaceAttachment",
         {"name": DETACHED, "domain": "domains/blocked"}, "FAILED_PRECONDITION", "NOT_ATTACHED",
         says=DETACHED),
    Case("attaches one member of a group elsewhere", "DeviceService/AttachDevice",
         {"name": SIBLING, "domain": "domains/other"}, "FAILED_PRECONDITION", "GROUP_MISMATCH",
         says=MEMBER),
    Case("attaches across what reserves its mappings", "DeviceService/AttachDevice",
         {"name": DETACHED, "domain": "domains/msi"}, "FAILED_PRECONDITION", "IOVA_CONFLICT",
         says="0xfee00000"),
    Case("attaches a PASID of what has none", "DeviceService/AttachDevice",
         {"name": ATTACHED, "domain": "domains/blocked", "pasid": 1}, "UNIMPLEMENTED",
         "PASID_UNAVAILABLE", says=ATTACHED),
    Case("attaches PASID 0", "DeviceService/AttachDevice",
         {"name": DETACHED, "domain": "domains/msi", "pasid": 0}, "INVALID_ARGUMENT",
         "INVALID_PASID", "pasid"),
    Case("attaches a PASID of 21 bits", "DeviceService/AttachDevice",
         {"name": DETACHED, "domain": "domains/msi", "pasid": 1 << 20}, "OUT_OF_RANGE",
         "PASID_OUT_OF_RANGE", "pasid", "1048575"),
    Case("attaches a PASID to a domain that serves none", "DeviceService/AttachDevice",
         {"name": DETACHED, "domain": "domains/msi", "pasid": 7}, "FAILED_PRECONDITION",
         "PASID_INCOMPATIBLE", says="domains/msi"),
    Case("attaches a PASID to an address space", "DeviceService/AttachDevice",
         {"name": DETACHED, "domain": "ioas/wide", "pasid": 7}, "FAILED_PRECONDITION",
         "PASID_INCOMPATIBLE", says=DETACHED),
    Case("attaches to an address space that reserves its mappings", "DeviceService/AttachDevice",
         {"name": DETACHED, "domain": "ioas/msi"}, "FAILED_PRECONDITION", "IOVA_CONFLICT",
         says="0xfee00000"),
    Case("attaches to an address space that is not there", "DeviceService/AttachDevice",
         {"name": DETACHED, "domain": "ioas/none"}, "NOT_FOUND", "IOAS_NOT_FOUND",
         says="ioas/none"),
    Case("replaces a PASID that is not attached", "DeviceService/ReplaceAttachment",
         {"name": DETACHED, "domain": "domains/blocked", "pasid": 7}, "FAILED_PRECONDITION",
         "NOT_ATTACHED", says=f"{DETACHED} pasid 7"),
    Case("allocates a PASID from 0", "DeviceService/AllocatePasid",
         {"name": DETACHED, "min_pasid": 0}, "INVALID_ARGUMENT", "INVALID_PASID", "min_pasid"),
    Case("allocates a PASID beyond the width", "DeviceService/AllocatePasid",
         {"name": DETACHED, "max_pasid": (1 << 32) - 1}, "OUT_OF_RANGE", "PASID_OUT_OF_RANGE",
         "max_pasid", "4294967295"),
    Case("allocates a PASID between 9 and 8", "DeviceService/AllocatePasid",
         {"name": DETACHED, "min_pasid": 9, "max_pasid": 8}, "INVALID_ARGUMENT", "RANGE_INVALID",
         "min_pasid", "9"),
    Case("allocates a PASID under a long label", "DeviceService/AllocatePasid",
         {"name": DETACHED, "label": 64 * "x"}, "INVALID_ARGUMENT", "LABEL_TOO_LONG", "label",
         "64"),
    Case("allocates a PASID of what is not claimed", "DeviceService/AllocatePasid",
         {"name": FREE}, "FAILED_PRECONDITION", "DEVICE_NOT_CLAIMED", says=FREE),
    Case("reserves no PASID", "DeviceService/ReservePasid", {"name": DETACHED},
         "INVALID_ARGUMENT", "MISSING_FIELD", "pasid"),
    Case("reserves a PASID that is taken", "DeviceService/ReservePasid",
         {"name": DETACHED, "pasid": 3}, "ALREADY_EXISTS", "PASID_EXISTS", "pasid", "3"),
    Case("frees no PASID", "DeviceService/FreePasid", {"name": DETACHED}, "INVALID_ARGUMENT",
         "MISSING_FIELD", "pasid"),
    Case("frees a PASID that is not taken", "DeviceService/FreePasid",
         {"name": DETACHED, "pasid": 4}, "NOT_FOUND", "PASID_NOT_FOUND", "pasid", "4"),
    Case("IDENTITY without allow_identity", "DeviceService/ReplaceAttachment",
         {"name": ATTACHED, "domain": "domains/identity"}, "PERMISSION_DENIED",
         "IDENTITY_NOT_ALLOWED", says="allow_identity"),
    Case("IDENTITY of the host without allow_identity", "DeviceService/SetDefaultDomain",
         {"name": "devices/0000:83:00.0", "default_domain": "DEFAULT_DOMAIN_TYPE_IDENTITY"},
         "PERMISSION_DENIED", "IDENTITY_NOT_ALLOWED", says="allow_identity"),
    Case("default domain of a claimed device", "DeviceService/SetDefaultDomain",
         {"name": DETACHED, "default_domain": "DEFAULT_DOMAIN_TYPE_DMA"}, "FAILED_PRECONDITION",
         "DEVICE_CLAIMED", says=DETACHED),
    Case("takes a name that is taken", "IoasService/CreateIoas", {"ioas_id": "space"},
         "ALREADY_EXISTS", "IOAS_EXISTS", says="ioas/space"),
    Case("takes a region's name", "MemoryService/CreateMemoryRegion",
         {"memory_region_id": "ram", "memory_region": {"size_bytes": PAGE}}, "ALREADY_EXISTS",
         "MEMORY_REGION_EXISTS", says="memoryRegions/ram"),
    Case("takes a static domain's name", "DomainService/CreateDomain",
         {"domain_id": "blocked", "domain": {"paging": {"ioas": "ioas/space", "device": ATTACHED}}},
         "ALREADY_EXISTS", "DOMAIN_EXISTS", says="domains/blocked"),
    Case("deletes a static domain", "DomainService/DeleteDomain", {"name": "domains/identity"},
         "INVALID_ARGUMENT", "STATIC_DOMAIN", says="domains/identity"),
]

# (what, method, request, reason, subjects that PreconditionFailure names)
IN_USE = [
    ("an address space under domains", "IoasService/DeleteIoas", {"name": "ioas/space"}, "IN_USE",
     ["domains/other", "domains/paging"]),
    ("a domain with devices", "DomainService/DeleteDomain", {"name": "domains/paging"}, "IN_USE",
     [ATTACHED, MEMBER]),
    ("a region that is mapped", "MemoryService/DeleteMemoryRegion", {"name": "memoryRegions/ram"},
     "IN_USE", ["ioas/msi", "ioas/space"]),
    ("an attached device", "DeviceService/ReleaseDevice", {"name": ATTACHED}, "STILL_ATTACHED",
     None),
]

CONVENTIONS = [
    Case("stale etag of a device", "DeviceService/ReleaseDevice",
         {"name": DETACHED, "etag": "4-1"}, "ABORTED", "ETAG_MISMATCH", says=DETACHED),
    Case("stale etag of a region", "MemoryService/DeleteMemoryRegion",
         {"name": "memoryRegions/spare", "etag": "old"}, "ABORTED", "ETAG_MISMATCH",
         says="memoryRegions/spare"),
    Case("stale etag of an address space", "IoasService/SetAllowedIovaRanges",
         {"name": "ioas/space", "etag": "old"}, "ABORTED", "ETAG_MISMATCH", says="ioas/space"),
    Case("stale etag of a domain", "DomainService/DeleteDomain",
         {"name": "domains/other", "etag": "old"}, "ABORTED", "ETAG_MISMATCH",
         says="domains/other"),
    *(Case(f"page token of {listing}", listing, {**request, "page_token": "bm9uZQ=="},
           "INVALID_ARGUMENT", "UNKNOWN_PAGE_TOKEN", "page_token") for listing, request in [
               ("HostService/ListIommus", {}), ("HostService/ListInvalidationQueues", {}),
               ("DeviceService/ListDevices", {}), ("DeviceService/ListAttachments", {}),
               ("DeviceService/ListPasids", {"parent": DETACHED}),
               ("MemoryService/ListMemoryRegions", {}), ("IoasService/ListIoas", {}),
               ("IoasService/ListMappings", {"parent": "ioas/space"}),
               ("DomainService/ListDomains", {})]),
    Case("negative page size", "IoasService/ListIoas", {"page_size": -1}, "INVALID_ARGUMENT",
         "INVALID_PAGE_SIZE", "page_size", "-1"),
    Case("request_id with a space", "IoasService/CreateIoas", {"request_id": "a b"},
         "INVALID_ARGUMENT", "MALFORMED_REQUEST_ID", "request_id"),
    Case("request_id of 129 characters", "IoasService/CreateIoas", {"request_id": 129 * "x"},
         "INVALID_ARGUMENT", "MALFORMED_REQUEST_ID", "request_id", "129"),
    Case("request_id of another request", "IoasService/CreateIoas",
         {"ioas_id": "another", "request_id": "made-the-space"}, "INVALID_ARGUMENT",
         "REQUEST_ID_REUSED"),
    Case("request_id of another method", "IoasService/DeleteIoas",
         {"name": "ioas/wide", "request_id": "made-the-space"}, "INVALID_ARGUMENT",
         "REQUEST_ID_REUSED"),
]


class BadInputTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = cls.enterClassContext(daemon.Daemon(metrics=True))
        cls.client = grpcurl.Client(cls.daemon)
        for region in ("ram", "spare"):
            cls.get("MemoryService/CreateMemoryRegion", memory_region_id=region,
                    memory_region={"size_bytes": 16 * MIB})
        cls.get("IoasService/CreateIoas", ioas_id="space", request_id="made-the-space")
        for ioas in ("wide", "msi"):
            cls.get("IoasService/CreateIoas", ioas_id=ioas)
        for device in (ATTACHED, MEMBER, DETACHED):
            cls.get("DeviceService/ClaimDevice", name=device)
        for domain, ioas, device in (("paging", "space", ATTACHED), ("other", "space", ATTACHED),
                                     ("msi", "msi", DETACHED)):
            cls.get("DomainService/CreateDomain", domain_id=domain,
                    domain={"paging": {"ioas": f"ioas/{ioas}", "device": device}})
        for device in (ATTACHED, MEMBER):
            cls.get("DeviceService/AttachDevice", name=device, domain="domains/paging")
        cls.get("DeviceService/ReservePasid", name=DETACHED, pasid=3)
        cls.get("IoasService/Map", name="ioas/space", mappings=[
            {"iova": MAPPED, "memory_region": "memoryRegions/ram", "length": 16 * PAGE}])
        cls.get("IoasService/Map", name="ioas/msi", mappings=[
            {"iova": MSI, "memory_region": "memoryRegions/ram", "length": PAGE}])
        cls.before = state.snapshot(cls.daemon, cls.client)

    @classmethod
    def get(cls, method, **request):
        return cls.client.get(method, request)

    def tearDown(self):
        self.assertEqual(self.before, state.snapshot(self.daemon, self.client))

    def check(self, case):
        """Makes the call, and returns its failure when that is what it should be."""
        answer = self.client.call(case.method, case.request)
        self.assertEqual(case.code, answer.code, answer.text)
        failure = answer.failure
        self.assertEqual((case.reason, "viommu"), (failure.reason, failure.domain), failure.text)
        self.assertIn(case.says, failure.text)
        if case.field is not None:
            self.assertEqual(case.field, failure.metadata.get("field"), failure.text)
        if case.field is not None and case.code in ("INVALID_ARGUMENT", "OUT_OF_RANGE"):
            self.assertEqual([case.field], failure.fields, failure.text)
        # Every change raises it, so that the case to blame for one is known.
        self.assertEqual(self.before["revision"], self.get("HostService/GetHost")["revision"])
        return failure

    def check_all(self, cases):
        for case in cases:
            with self.subTest(case.what):
                self.check(case)

    def test_unknown_names(self):
        self.check_all(UNKNOWN_NAMES)

    def test_malformed_names(self):
        self.check_all(MALFORMED_NAMES)

    def test_missing_fields(self):
        self.check_all(MISSING)

    def test_ranges_that_can_not_be_mapped(self):
        self.check_all(MAP_RANGES)

    def test_ranges_that_can_not_be_unmapped_or_looked_at(self):
        self.check_all(UNMAP_RANGES)

    def test_refuses_options_that_an_address_space_can_not_have(self):
        self.check_all(SPACES)

    def test_memory_that_is_not_there(self):
        self.check_all(MEMORY)

    def test_preconditions(self):
        self.check_all(PRECONDITIONS)

    def test_etags_page_tokens_and_request_ids(self):
        self.check_all(CONVENTIONS)

    def test_what_is_in_use_names_its_referrers(self):
        for what, method, request, reason, subjects in IN_USE:
            with self.subTest(what):
                failure = self.check(
                    Case(what, method, request, "FAILED_PRECONDITION", reason,
                         says=request["name"]))
                if subjects is not None:
                    self.assertEqual(subjects, sorted(failure.subjects))

    def test_a_page_token_of_another_listing(self):
        token = self.get("DeviceService/ListDevices", page_size=1)["next_page_token"]
        self.check(Case("", "DomainService/ListDomains", {"page_token": token},
                        "INVALID_ARGUMENT", "UNKNOWN_PAGE_TOKEN", "page_token"))

    def test_a_batch_with_a_bad_entry_is_not_applied_at_all(self):
        bad_entries = [
            ({"iova": MAPPED}, "ALREADY_EXISTS", "IOVA_OCCUPIED", "iova"),
            ({"iova": 0x300000}, "ALREADY_EXISTS", "IOVA_OCCUPIED", "iova"),  # Entry 0 has it.
            ({"iova": MSI}, "INVALID_ARGUMENT", "IOVA_RESERVED", "iova"),
            ({"iova": 0x600001}, "INVALID_ARGUMENT", "MISALIGNED", "iova"),
            ({"length": 0}, "INVALID_ARGUMENT", "INVALID_LENGTH", "length"),
            ({"offset": 16 * MIB}, "OUT_OF_RANGE", "SOURCE_OUT_OF_BOUNDS", "offset"),
            ({"permission": "PERMISSION_NONE"}, "INVALID_ARGUMENT", "INVALID_PERMISSION",
             "permission"),
            ({"memory_region": "memoryRegions/none"}, "NOT_FOUND", "MEMORY_REGION_NOT_FOUND",
             "memory_region"),
        ]
        for position in (1, 4):
            for bad, code, reason, field in bad_entries:
                with self.subTest(reason, position=position):
                    entries = [{"iova": 0x300000 + i * MIB, "memory_region": "memoryRegions/ram",
                                "length": PAGE} for i in range(5)]
                    entries[position].update(bad)
                    failure = self.check(
                        Case("", "IoasService/Map", {"name": "ioas/space", "mappings": entries},
                             code, reason, field and f"mappings[{position}].{field}"))
                    self.assertEqual(str(position), failure.metadata["index"])

    def test_an_unmap_batch_with_a_bad_range_is_not_applied_at_all(self):
        failure = self.check(
            Case("", "IoasService/Unmap",
                 {"name": "ioas/space", "ranges": [{"iova": MAPPED, "length": 16 * PAGE},
                                                   {"iova": 0x40000000, "length": PAGE}]},
                 "NOT_FOUND", "IOVA_NOT_COVERED", says="0x40000000"))
        self.assertEqual("1", failure.metadata["index"])

    def test_a_batch_that_is_too_long(self):
        limit = self.get("HostService/GetHost")["limits"]["max_batch_entries"]
        entries = [{"memory_region": "memoryRegions/ram", "length": PAGE}] * (limit + 1)
        self.check(Case("", "IoasService/Map", {"name": "ioas/space", "mappings": entries},
                        "INVALID_ARGUMENT", "BATCH_TOO_LARGE", "mappings", str(limit)))

    def test_a_message_that_is_too_large(self):
        # 3 of 4 characters of base64 count; gRPC refuses it before anything of ours sees it.
        answer = self.client.call("SimulationService/WriteMemory", {
            "name": "memoryRegions/ram", "data": "AAAA" * (4 * MIB // 3 + 1)})
        self.assertEqual("RESOURCE_EXHAUSTED", answer.code)
        self.assertIn(str(4 * MIB), answer.text)

    def test_addresses_that_are_no_numbers(self):
        for text in ('"0x1000"', "-1", "1.5", str(TOP), '"here"'):
            with self.subTest(text):
                answer = self.client.call("IoasService/Translate",
                                          f'{{"name": "ioas/space", "iova": {text}}}')
                self.assertEqual(grpcurl.NO_STATUS, answer.code, "grpcurl refuses it by itself")

    def test_a_field_of_a_newer_version(self):
        proto = os.path.join(self.daemon.folder, "newer.proto")
        with open(proto, "w", encoding="utf-8") as file:
            file.write("""syntax = "proto3";
                package viommu.v1;
                service IoasService { rpc CreateIoas(Newer) returns (Nothing); }
                message Newer { string ioas_id = 1; bool forever = 999; }
                message Nothing {}""")
        answer = self.client.call("IoasService/CreateIoas", {"ioas_id": "kept", "forever": True},
                                  flags=["-import-path", self.daemon.folder, "-proto", proto])
        self.assertEqual("INVALID_ARGUMENT", answer.code, answer.text)
        self.assertIn("999", answer.text)

    def test_what_grpcurl_prints_can_be_read(self):
        """As a person calls it, without -format-error."""
        text = self.client.print("IoasService/DeleteIoas", {"name": "ioas/space"})
        for line in ("Code: FailedPrecondition", "ioas/space is in use by", '"reason": "IN_USE"',
                     '"subject": "domains/paging"', '"errno": "EBUSY"'):
            self.assertIn(line, text)


if __name__ == "__main__":
    case_report.main()
