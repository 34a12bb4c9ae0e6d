"""A viommud with small limits: what fills one passes, one more is refused with all that is to know."""
import unittest

from tests.e2e import daemon
from tests.e2e import grpcurl
from tests.e2e import metrics
from tests.e2e import state
from tools import case_report

PAGE = 4096
DEVICE = "devices/0000:02:00.0"

FLAGS = (
    "--owner_max_memory_regions=2",
    "--owner_max_ioas=2",
    "--owner_max_domains=1",
    "--owner_max_mappings=3",
    f"--owner_max_mapped_bytes={8 * PAGE}",
    f"--owner_max_region_bytes_total={32 * PAGE}",
    "--owner_max_operations_in_flight=5",
    "--owner_max_streams=1",
)

# A call that goes well, as often as its limit allows; then one that does not: method, request,
# reason, metadata.
SETUP = [
    ("DeviceService/ClaimDevice", {"name": DEVICE}),
    ("MemoryService/CreateMemoryRegion",
     {"memory_region_id": "r", "memory_region": {"size_bytes": 16 * PAGE}}),
    ("MemoryService/CreateMemoryRegion",
     {"memory_region_id": "q", "memory_region": {"size_bytes": PAGE}}),
    ("IoasService/CreateIoas", {"ioas_id": "s"}),
    ("IoasService/CreateIoas", {"ioas_id": "t"}),
    ("DomainService/CreateDomain",
     {"domain_id": "d", "domain": {"paging": {"ioas": "ioas/s", "device": DEVICE}}}),
]


def a_map(*pages, length=PAGE):
    return {"name": "ioas/s", "mappings": [
        {"iova": page * PAGE, "memory_region": "memoryRegions/r", "length": length}
        for page in pages]}


class LimitsTest(unittest.TestCase):
    def setUp(self):
        self.daemon = self.enterContext(daemon.Daemon(*FLAGS, metrics=True))
        self.client = grpcurl.Client(self.daemon)
        for method, request in SETUP:
            self.client.get(method, request)

    def refuse(self, method, request, reason, limit, in_use, requested, limit_value, **more):
        """That the call is refused so, changes nothing and is counted once."""
        before = state.snapshot(self.daemon, self.client)
        counted = metrics.Metrics(self.daemon).total("viommu_limit_refusals_total", limit=limit)
        answer = self.client.call(method, request)
        self.assertEqual("RESOURCE_EXHAUSTED", answer.code, answer.text)
        self.assertEqual(reason, answer.failure.reason)
        metadata = dict(answer.failure.metadata)
        metadata.pop("errno")
        self.assertEqual({"limit": limit, "limit_value": str(limit_value), "in_use": str(in_use),
                          "requested": str(requested), "owner": "local", **more}, metadata)
        self.assertNotIn("RetryInfo", answer.failure.details)
        self.assertEqual(before, state.snapshot(self.daemon, self.client))
        self.assertEqual(counted + 1, metrics.Metrics(self.daemon).total(
            "viommu_limit_refusals_total", limit=limit))

    def test_the_limits_are_shown(self):
        self.assertEqual(
            {"max_memory_regions": "2", "max_ioas": "2", "max_domains": "1", "max_mappings": "3",
             "max_mapped_bytes": str(8 * PAGE), "max_region_bytes_total": str(32 * PAGE),
             "max_operations_in_flight": "5", "max_streams": "1", "max_pasids": "65536",
             "max_fault_queues": "1024", "max_fault_groups": "65536",
             "max_viommus": "4096", "max_queued_events": "1048576"},
            self.client.get("HostService/GetHost")["limits"]["owner"])

    def test_objects_are_limited_by_kind(self):
        self.refuse("MemoryService/CreateMemoryRegion", {"memory_region": {"size_bytes": PAGE}},
                    "OBJECT_LIMIT", "max_memory_regions", 2, 1, 2)
        self.refuse("IoasService/CreateIoas", {}, "OBJECT_LIMIT", "max_ioas", 2, 1, 2)
        self.refuse("DomainService/CreateDomain",
                    {"domain": {"paging": {"ioas": "ioas/s", "device": DEVICE}}},
                    "OBJECT_LIMIT", "max_domains", 1, 1, 1)
        self.client.get("IoasService/DeleteIoas", {"name": "ioas/t"})
        self.client.get("IoasService/CreateIoas", {"ioas_id": "u"})

    def test_bytes_of_regions_are_limited(self):
        self.client.get("MemoryService/DeleteMemoryRegion", {"name": "memoryRegions/q"})
        request = {"memory_region_id": "x", "memory_region": {"size_bytes": 17 * PAGE}}
        self.refuse("MemoryService/CreateMemoryRegion", request, "REGION_BYTES_LIMIT",
                    "max_region_bytes_total", 16 * PAGE, 17 * PAGE, 32 * PAGE)
        request["memory_region"]["size_bytes"] = 16 * PAGE
        self.client.get("MemoryService/CreateMemoryRegion", request)

    def test_mappings_are_limited_and_the_entry_is_named(self):
        self.client.get("IoasService/Map", a_map(0, 1))
        self.refuse("IoasService/Map", a_map(4, 5), "MAPPING_LIMIT", "max_mappings", 2, 2, 3,
                    index="1", field="mappings[1]")
        self.client.get("IoasService/Map", a_map(4))
        self.client.get("IoasService/Unmap", {"name": "ioas/s", "all": True})
        self.client.get("IoasService/Map", a_map(4, 5, 6))

    def test_mapped_bytes_are_limited(self):
        self.refuse("IoasService/Map", a_map(0, 16, length=5 * PAGE), "MAPPED_BYTES_LIMIT",
                    "max_mapped_bytes", 0, 10 * PAGE, 8 * PAGE, index="1", field="mappings[1]")
        self.client.get("IoasService/Map", a_map(0, 16, length=4 * PAGE))

    def test_streams_are_limited_and_a_closed_one_makes_room(self):
        method = "MappingService/StreamMappings"
        stream = self.client.open(method)
        stream.send({"open": {"name": "ioas/s"}},
                    {"unmap": {"sequence": 1, "iova": [0], "length": [PAGE]}})
        self.assertEqual("1", stream.receive()["sequence"])  # It is open.
        self.refuse(method, [{"open": {"name": "ioas/s"}}], "STREAM_LIMIT", "max_streams", 1, 1, 1)
        self.assertEqual("OK", stream.finish().code)
        self.assertEqual("OK", self.client.call(method, [{"open": {"name": "ioas/s"}}]).code)

    def test_a_settings_mistake_is_told_at_the_start(self):
        done = daemon.run("--owner_max_ioas=0", "--owner_max_streams=9999")
        self.assertEqual(2, done.returncode)
        self.assertIn("--owner_max_ioas: 0 is not in 1..1048576", done.stderr)
        self.assertIn("--owner_max_streams: 9999 is not in 1..4096", done.stderr)


if __name__ == "__main__":
    case_report.main()
