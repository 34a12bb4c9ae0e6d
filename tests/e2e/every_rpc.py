"""A session in which every RPC of every service is called once and has something to do; for a
daemon with daemon.LISTENERS."""
import base64

DEVICE = "devices/0000:82:00.0"  # It has PASIDs.
PAGE = 4096

ASKING = "devices/0000:81:00.0"  # It has page requests.

# Stands for the address that HostMap chose.
HOST_IOVA = object()

BYTES = base64.b64encode(b"bytes").decode()

# (method, request, part that the answer must have)
STEPS = [
    ("HostService/GetHost", {}, {"version": "0.1.0", "backend": "soft"}),
    ("HostService/ListIommus", {}, {}),
    ("HostService/GetIommu", {"name": "iommus/dmar1"},
     {"devices": ["devices/0000:81:00.0", "devices/0000:82:00.0", "devices/0000:83:00.0"]}),
    ("HostService/ListInvalidationQueues", {}, {}),
    ("HostService/GetInvalidationQueue", {"name": "iommus/dmar0/invalidationQueue"},
     {"name": "iommus/dmar0/invalidationQueue"}),
    ("DeviceService/ListDevices", {}, {}),
    ("DeviceService/GetDevice", {"name": "devices/0000:02:00.0"},
     {"group": "nic0", "group_members": ["devices/0000:02:00.1"]}),
    ("DeviceService/ListReservedRegions", {"parent": "devices/0000:83:00.0"}, {}),
    ("DeviceService/GetHardwareInfo", {"name": DEVICE}, {}),
    ("DeviceService/SetDefaultDomain",
     {"name": "devices/0000:81:00.0", "default_domain": "DEFAULT_DOMAIN_TYPE_DMA"},
     {"default_domain": "DEFAULT_DOMAIN_TYPE_DMA"}),
    ("MemoryService/CreateMemoryRegion",
     {"memory_region_id": "ram", "memory_region": {"size_bytes": 1 << 20, "numa_node": 1}},
     {"name": "memoryRegions/ram", "size_bytes": str(1 << 20), "numa_node": 1}),
    ("MemoryService/GetMemoryRegion", {"name": "memoryRegions/ram"}, {"name": "memoryRegions/ram"}),
    ("MemoryService/ListMemoryRegions", {}, {}),
    ("SimulationService/HostMap",
     {"name": DEVICE, "memory_region": "memoryRegions/ram", "length": PAGE}, {}),
    ("SimulationService/HostUnmap", {"name": DEVICE, "iova": HOST_IOVA, "length": PAGE}, {}),
    ("DeviceService/ClaimDevice", {"name": DEVICE}, {"claimed_by": "local"}),
    # Before there is any, so that the mark is all that is told.
    ("WatchService/Watch", {"kinds": ["WATCH_KIND_IOAS"], "until_sync": True}, {}),
    ("IoasService/CreateIoas", {"ioas_id": "space"},
     {"name": "ioas/space", "mode": "IOAS_MODE_NATIVE", "large_pages": True}),
    ("IoasService/GetIoas", {"name": "ioas/space"}, {"name": "ioas/space"}),
    ("IoasService/ListIoas", {}, {}),
    ("IoasService/SetAllowedIovaRanges",
     {"name": "ioas/space", "ranges": [{"first": 0x100000, "last": 0xffffff}]}, {}),
    ("IoasService/SetLargePages", {"name": "ioas/space", "large_pages": False},
     {"large_pages": False, "alignment_bytes": str(PAGE)}),
    ("IoasService/LoadReservedRegions", {"name": "ioas/space", "device": DEVICE},
     {"loaded_devices": [DEVICE]}),
    ("IoasService/UnloadReservedRegions", {"name": "ioas/space", "device": DEVICE},
     {"name": "ioas/space"}),
    ("IoasService/ListIovaRanges", {"parent": "ioas/space"}, {}),
    ("DomainService/CreateDomain",
     {"domain_id": "paging",
      "domain": {"paging": {"ioas": "ioas/space", "device": DEVICE, "dirty_tracking": True}}},
     {"name": "domains/paging", "type": "DOMAIN_TYPE_PAGING"}),
    ("DomainService/SetDirtyTracking", {"name": "domains/paging", "enabled": True},
     {"name": "domains/paging"}),
    ("DomainService/GetDomain", {"name": "domains/identity"}, {"type": "DOMAIN_TYPE_IDENTITY"}),
    ("DomainService/ListDomains", {}, {}),
    ("DeviceService/AttachDevice", {"name": DEVICE, "domain": "domains/blocked"}, {}),
    ("DeviceService/ReplaceAttachment", {"name": DEVICE, "domain": "domains/paging"}, {}),
    ("DeviceService/ListAttachments", {"parent": DEVICE}, {}),
    ("DeviceService/AllocatePasid", {"name": DEVICE, "min_pasid": 5, "label": "queue"},
     {"device": DEVICE, "pasid": 5, "state": "PASID_STATE_ALLOCATED", "owner": "local",
      "label": "queue"}),
    ("DeviceService/ReservePasid", {"name": DEVICE, "pasid": 9},
     {"pasid": 9, "state": "PASID_STATE_RESERVED"}),
    ("DeviceService/ListPasids", {"parent": DEVICE}, {}),
    ("DeviceService/FreePasid", {"name": DEVICE, "pasid": 5}, {}),
    ("DeviceService/ResetDevice", {"name": DEVICE}, {"name": DEVICE, "domain": "domains/paging"}),
    ("IoasService/Map",
     {"name": "ioas/space", "mappings": [
         {"iova": 0x100000, "memory_region": "memoryRegions/ram", "length": PAGE}]},
     {"iovas": [str(0x100000)]}),
    ("IoasService/CopyMappings",
     {"name": "ioas/space", "source": "ioas/space", "source_iova": 0x100000, "length": PAGE,
      "iova": 0x200000, "permission": "PERMISSION_READ"},
     {"iovas": [str(0x200000)]}),
    ("IoasService/ListMappings", {"parent": "ioas/space", "first_iova": 0x200000}, {}),
    ("IoasService/Translate", {"name": "ioas/space", "iova": 0x200123}, {"offset": str(0x123)}),
    ("MappingService/StreamMappings", [
        {"open": {"name": "ioas/space"}}, {"unmap": {"sequence": 1, "iova": [0x200000],
                                                     "length": [PAGE]}}],
     {"sequence": "1", "unmapped_bytes": str(PAGE)}),
    ("SimulationService/WriteMemory", {"name": "memoryRegions/ram", "data": BYTES}, {}),
    ("SimulationService/ReadMemory", {"name": "memoryRegions/ram", "length": 5},
     {"data": BYTES}),
    ("SimulationService/Dma", {"name": DEVICE, "iova": 0x100000, "read_length": 5},
     {"bytes_done": "5", "data": BYTES}),
    ("DomainService/ReadDirtyBitmap",
     {"name": "domains/paging", "iova": 0x100000, "length": PAGE, "page_size_bytes": PAGE},
     {"page_count": "1"}),
    ("SimulationService/DumpTables", {"name": DEVICE, "iova": 0x100000}, {}),
    ("SimulationService/ExplainTranslation",
     {"name": DEVICE, "iova": 0x101000, "access": "PERMISSION_WRITE"}, {}),
    ("SimulationService/ExportTables", {}, {}),
    ("SimulationService/ResizeMemoryRegion",
     {"name": "memoryRegions/ram", "size_bytes": 2 * PAGE}, {"size_bytes": str(2 * PAGE)}),
    ("SimulationService/RevokeMemoryRegion", {"name": "memoryRegions/ram"},
     {"state": "OBJECT_STATE_SUSPENDED"}),
    ("IoasService/Unmap", {"name": "ioas/space", "all": True}, {"unmapped_count": "1"}),
    ("DomainService/CreateDomain",
     {"domain_id": "parent",
      "domain": {"paging": {"ioas": "ioas/space", "device": DEVICE, "nest_parent": True}}},
     {"name": "domains/parent"}),
    ("DomainService/CreateDomain",
     {"domain_id": "guest",
      "domain": {"nested": {"parent": "domains/parent", "device": DEVICE,
                            "vtd": {"table_address": PAGE, "address_width_bits": 48}}}},
     {"type": "DOMAIN_TYPE_NESTED"}),
    ("ViommuService/ListViommus", {}, {}),
    ("ViommuService/Invalidate",
     {"name": "domains/guest",
      "commands": {"vtd": {"invalidations": [{"address": PAGE, "page_count": 1}]}}},
     {"handled": "1"}),
    ("ViommuService/StreamInvalidations",
     [{"open": {"name": "domains/guest"}}, {"batch": {"sequence": 1}}], {"sequence": "1"}),
    ("DeviceService/ClaimDevice", {"name": ASKING}, {"claimed_by": "local"}),
    ("FaultService/CreateFaultQueue",
     {"fault_queue_id": "faults", "fault_queue": {"depth": 8}},
     {"name": "faultQueues/faults", "depth": 8, "owner": "local"}),
    ("FaultService/GetFaultQueue", {"name": "faultQueues/faults"}, {"name": "faultQueues/faults"}),
    ("FaultService/ListFaultQueues", {}, {}),
    ("DomainService/CreateDomain",
     {"domain_id": "asking",
      "domain": {"paging": {"ioas": "ioas/space", "device": ASKING,
                            "fault_queue": "faultQueues/faults"}}},
     {"name": "domains/asking"}),
    ("DeviceService/AttachDevice", {"name": ASKING, "domain": "domains/asking"}, {}),
    ("SimulationService/RaisePageFault", {"name": ASKING, "iova": 0x300000, "group": 3}, {}),
    ("FaultService/ListFaults", {"name": "faultQueues/faults"}, {}),
    ("FaultService/StreamFaults", [{"open": {"name": "faultQueues/faults"}}], {}),
    ("FaultService/RespondFault",
     {"name": "faultQueues/faults",
      "responses": [{"cookie": 1, "code": "PAGE_RESPONSE_CODE_INVALID"}]}, {}),
    ("SimulationService/ListPageResponses", {"name": ASKING},
     {"responses": [{"group": 3, "code": "PAGE_RESPONSE_CODE_INVALID"}]}),
    ("DeviceService/DetachDevice", {"name": ASKING}, {}),
    ("DomainService/DeleteDomain", {"name": "domains/asking"}, {}),
    ("FaultService/DeleteFaultQueue", {"name": "faultQueues/faults"}, {}),
    ("DeviceService/ReleaseDevice", {"name": ASKING}, {"ownership": "DEVICE_OWNERSHIP_HOST"}),
    ("DomainService/DeleteDomain", {"name": "domains/guest"}, {}),
    ("DomainService/DeleteDomain", {"name": "domains/parent"}, {}),
    ("DeviceService/DetachDevice", {"name": DEVICE}, {}),
    ("DomainService/DeleteDomain", {"name": "domains/paging"}, {}),
    ("IoasService/DeleteIoas", {"name": "ioas/space"}, {}),
    ("MemoryService/DeleteMemoryRegion", {"name": "memoryRegions/ram"}, {}),
    ("DeviceService/ReleaseDevice", {"name": DEVICE}, {"ownership": "DEVICE_OWNERSHIP_HOST"}),
    ("ListenerService/CreateListener", {"listener_id": "tenant"},
     {"name": "listeners/tenant", "owner": "tenant", "mode": 0o660}),
    ("ListenerService/GetListener", {"name": "listeners/tenant"}, {"name": "listeners/tenant"}),
    ("ListenerService/ListListeners", {}, {}),
    ("ListenerService/DeleteListener", {"name": "listeners/tenant"}, {}),
    ("SimulationService/SetDeviceHealth",
     {"name": DEVICE, "health": "DEVICE_HEALTH_UNHEALTHY", "health_reason": "fan"},
     {"health": "DEVICE_HEALTH_UNHEALTHY", "health_reason": "fan"}),
    ("SimulationService/UnplugDevice", {"name": DEVICE}, {}),
    ("SimulationService/PlugDevice", {"name": DEVICE}, {"health": "DEVICE_HEALTH_HEALTHY"}),
]

# What no unit of the default host has: (method, request, code, reason).
_QUEUE = "viommus/vm/eventQueues/q"
ABSENT = [
    ("ViommuService/CreateViommu",
     {"viommu": {"type": "VIOMMU_TYPE_ARM_SMMU_V3", "device": DEVICE, "parent": "domains/parent"}},
     "UNIMPLEMENTED", "VIOMMU_UNAVAILABLE"),
    ("ViommuService/GetViommu", {"name": "viommus/vm"}, "NOT_FOUND", "VIOMMU_NOT_FOUND"),
    ("ViommuService/DeleteViommu", {"name": "viommus/vm"}, "NOT_FOUND", "VIOMMU_NOT_FOUND"),
    ("ViommuService/CreateVdevice",
     {"parent": "viommus/vm", "vdevice": {"device": DEVICE, "virtual_id": 1}},
     "NOT_FOUND", "VIOMMU_NOT_FOUND"),
    ("ViommuService/GetVdevice", {"name": "viommus/vm/vdevices/nic"}, "NOT_FOUND",
     "VDEVICE_NOT_FOUND"),
    ("ViommuService/ListVdevices", {"parent": "viommus/vm"}, "NOT_FOUND", "VIOMMU_NOT_FOUND"),
    ("ViommuService/DeleteVdevice", {"name": "viommus/vm/vdevices/nic"}, "NOT_FOUND",
     "VDEVICE_NOT_FOUND"),
    ("ViommuService/CreateEventQueue",
     {"parent": "viommus/vm", "event_queue": {"type": "EVENT_TYPE_ARM_SMMU_V3", "depth": 1}},
     "NOT_FOUND", "VIOMMU_NOT_FOUND"),
    ("ViommuService/GetEventQueue", {"name": _QUEUE}, "NOT_FOUND", "EVENT_QUEUE_NOT_FOUND"),
    ("ViommuService/ListEventQueues", {"parent": "viommus/vm"}, "NOT_FOUND", "VIOMMU_NOT_FOUND"),
    ("ViommuService/DeleteEventQueue", {"name": _QUEUE}, "NOT_FOUND", "EVENT_QUEUE_NOT_FOUND"),
    ("ViommuService/ListEvents", {"parent": _QUEUE}, "NOT_FOUND", "EVENT_QUEUE_NOT_FOUND"),
    ("ViommuService/StreamEvents", {"open": {"name": _QUEUE}}, "NOT_FOUND",
     "EVENT_QUEUE_NOT_FOUND"),
    ("ViommuService/CreateHardwareQueue",
     {"parent": "viommus/vm",
      "hardware_queue": {"type": "HARDWARE_QUEUE_TYPE_TEGRA241_CMDQV", "length": PAGE}},
     "NOT_FOUND", "VIOMMU_NOT_FOUND"),
    ("ViommuService/GetHardwareQueue", {"name": "viommus/vm/hardwareQueues/q"}, "NOT_FOUND",
     "HARDWARE_QUEUE_NOT_FOUND"),
    ("ViommuService/ListHardwareQueues", {"parent": "viommus/vm"}, "NOT_FOUND",
     "VIOMMU_NOT_FOUND"),
    ("ViommuService/DeleteHardwareQueue", {"name": "viommus/vm/hardwareQueues/q"}, "NOT_FOUND",
     "HARDWARE_QUEUE_NOT_FOUND"),
    ("SimulationService/RaiseEvent", {"name": DEVICE, "event": {"id": 0x10}},
     "FAILED_PRECONDITION", "VDEVICE_MISSING"),
]

_WITHOUT_EFFECT = ("Get", "List", "Translate", "ReadMemory", "DumpTables", "ExplainTranslation",
                   "ExportTables", "Watch")
# They have an effect, but none on the model: see simulation.proto, mapping.proto, viommu.proto,
# fault.proto.
_WITHOUT_REQUEST_ID = ("Dma", "WriteMemory", "StreamMappings", "Invalidate",
                       "StreamInvalidations", "ReadDirtyBitmap", "StreamEvents", "RaiseEvent",
                       "RaisePageFault", "StreamFaults")


def is_mutation(method):
    """Whether requests of "HostService/GetHost" or the like carry request_id and validate_only."""
    return not method.partition("/")[2].startswith(_WITHOUT_EFFECT + _WITHOUT_REQUEST_ID)


def ask(client, method, request):
    """The answer to a step that has to go well; of several the first."""
    if method != "SimulationService/ExportTables":
        return client.get(method, request)
    answer = client.call(method, request)
    if answer.code != "OK":
        raise AssertionError(f"{answer.code}: {answer.text}")
    return answer.messages[0]


def complete(request, answers):
    """`request` with what only the answers so far, by method, can tell."""
    if isinstance(request, dict) and request.get("iova") is HOST_IOVA:
        return dict(request, iova=answers["SimulationService/HostMap"]["iova"])
    return request
