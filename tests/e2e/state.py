"""What a client can see of everything that a daemon holds: two of these differ if anything changed."""
from tests.e2e import metrics

_LISTINGS = [
    ("DeviceService/ListDevices", "devices"),
    ("DeviceService/ListAttachments", "attachments"),
    ("MemoryService/ListMemoryRegions", "memory_regions"),
    ("IoasService/ListIoas", "ioas"),
    ("DomainService/ListDomains", "domains"),
    ("FaultService/ListFaultQueues", "fault_queues"),
]

# Faults, calls and times move with calls that change nothing.
_SERIES = [
    "viommu_objects", "viommu_mappings", "viommu_mapped_bytes", "viommu_table_pages",
    "viommu_claimed_devices", "viommu_attached_devices", "viommu_remembered_requests",
    "viommu_attach_transitions_total",
]


def snapshot(daemon, client):
    """Every object, mapping and allowed range, the host's revision, and the metrics of them."""
    state = {listing: client.get(listing).get(field, []) for listing, field in _LISTINGS}
    for ioas in state["IoasService/ListIoas"]:
        for listing in ("ListMappings", "ListIovaRanges"):
            state[listing, ioas["name"]] = client.get(f"IoasService/{listing}",
                                                      {"parent": ioas["name"]})
    # Without tenants that is a refusal, which tells nothing.
    state["listeners"] = client.call("ListenerService/ListListeners").messages
    state["revision"] = client.get("HostService/GetHost").get("revision")
    scrape = metrics.Metrics(daemon)
    for name in _SERIES:
        state[name] = scrape.samples(name)
    return state
