"""What Prometheus sees: every series from the start, and each moving with what it counts."""
import time
import unittest

from tests.e2e import daemon
from tests.e2e import every_rpc
from tests.e2e import grpcurl
from tests.e2e import metrics
from tools import case_report

PAGE = 4096
BUILT_IN = [
    ("grpc.health.v1.Health", "Check", "unary"),
    ("grpc.health.v1.Health", "Watch", "server_stream"),
    ("grpc.reflection.v1alpha.ServerReflection", "ServerReflectionInfo", "bidi_stream"),
]
CODES = {
    "OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists",
    "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange",
    "Unimplemented", "Internal", "Unavailable", "DataLoss", "Unauthenticated",
}

# Series that start at 0, with their labels; label values by which they are told apart.
AT_ZERO = [
    ("viommu_objects", "kind", {"memory_region", "ioas", "domain", "fault_queue", "viommu",
                                "vdevice", "event_queue", "hardware_queue"}),
    ("viommu_mappings", None, None),
    ("viommu_mapped_bytes", None, None),
    ("viommu_limit_refusals_total", "limit",
     {"max_memory_regions", "max_ioas", "max_domains", "max_mappings", "max_mapped_bytes",
      "max_region_bytes_total", "max_pasids", "max_fault_queues", "max_fault_groups",
      "max_operations_in_flight",
      "max_streams", "max_viommus", "max_queued_events"}),
    ("viommu_page_fault_groups_waiting", None, None),
    ("viommu_page_faults_partial", None, None),
    ("viommu_page_fault_groups_lost_total", None, None),
    ("viommu_page_faults_dropped_total", None, None),
    ("viommu_page_fault_answers_total", "code", {"success", "invalid", "failure"}),
    ("viommu_events_waiting", None, None),
    ("viommu_events_lost_total", None, None),
    ("viommu_claimed_devices", None, None),
    ("viommu_unhealthy_devices", "cause",
     {"injected", "reset_failed", "invalidation_failed", "unplug_failed", "state_lost"}),
    ("viommu_quarantined_devices", None, None),
    ("viommu_suspended_objects", "kind", {"memory_region", "mapping"}),
    ("viommu_attached_devices", None, None),
    ("viommu_map_batch_entries_count", "path", {"unary", "stream"}),
    ("viommu_map_batch_seconds_count", "path", {"unary", "stream"}),
    ("viommu_unmap_batch_entries_count", "path", {"unary", "stream"}),
    ("viommu_unmap_batch_seconds_count", "path", {"unary", "stream"}),
    ("viommu_invalidations_total", "kind", {"iotlb_page"}),
    ("viommu_invalidation_queue_depth", "iommu", {"dmar0", "dmar1"}),
    ("viommu_invalidation_errors_total", "iommu", {"dmar0", "dmar1"}),
    ("viommu_invalidation_timeouts_total", "iommu", {"dmar0", "dmar1"}),
    ("viommu_dma_faults_total", "reason", {"SPT.2", "SSS.1", "SSS.2", "SGN.5"}),
    ("viommu_attach_transitions_total", "hitless", {"true", "false"}),
    ("viommu_attach_transitions_total", "kind",
     {"host_dma_to_blocked", "blocked_to_paging", "paging_to_paging", "paging_to_blocked",
      "blocked_to_host_dma", "blocked_to_identity"}),
]

# The main job after the session of every RPC: two domains over one space, a replace between them.
DEVICE = "devices/0000:02:00.0"
JOB = [
    ("DeviceService/ClaimDevice", {"name": DEVICE}),
    ("MemoryService/CreateMemoryRegion",
     {"memory_region_id": "r", "memory_region": {"size_bytes": 1 << 30}}),
    ("IoasService/CreateIoas", {"ioas_id": "s"}),
    ("DomainService/CreateDomain",
     {"domain_id": "a", "domain": {"paging": {"ioas": "ioas/s", "device": DEVICE}}}),
    ("DomainService/CreateDomain",
     {"domain_id": "b", "domain": {"paging": {"ioas": "ioas/s", "device": DEVICE}}}),
    ("DeviceService/AttachDevice", {"name": DEVICE, "domain": "domains/a"}),
    ("IoasService/Map", {"name": "ioas/s", "mappings": [
        {"iova": i * PAGE, "memory_region": "memoryRegions/r", "length": PAGE}
        for i in range(3)]}),
    ("DeviceService/ReplaceAttachment", {"name": DEVICE, "domain": "domains/b"}),
    ("SimulationService/Dma", {"name": DEVICE, "iova": 0, "read_length": 16}),
    ("IoasService/Unmap", {"name": "ioas/s", "ranges": [{"iova": 0, "length": PAGE}]}),
    ("SimulationService/Dma", {"name": DEVICE, "iova": 0, "read_length": 16}),
]

# (series, labels, by how much the job changes it, or None for "it rises")
MOVED_BY_THE_JOB = [
    ("viommu_objects", {"kind": "ioas"}, 1),
    ("viommu_objects", {"kind": "domain"}, 2),
    ("viommu_objects", {"kind": "memory_region"}, 1),
    ("viommu_mappings", {}, 2),
    ("viommu_mapped_bytes", {}, 2 * PAGE),
    ("viommu_table_pages", {}, None),
    ("viommu_claimed_devices", {}, 2),
    ("viommu_attached_devices", {}, 1),
    ("viommu_map_batch_entries_count", {"path": "unary"}, 1),
    ("viommu_map_batch_entries_sum", {"path": "unary"}, 3),
    ("viommu_map_batch_seconds_count", {"path": "unary"}, 1),
    ("viommu_map_batch_seconds_sum", {"path": "unary"}, None),
    ("viommu_unmap_batch_entries_sum", {"path": "unary"}, 1),
    ("viommu_unmap_batch_seconds_count", {"path": "unary"}, 1),
    ("viommu_map_batch_entries_count", {"path": "stream"}, 0),
    ("viommu_invalidations_total", {"kind": "iotlb_page"}, None),
    ("viommu_invalidations_total", {"kind": "pasid_cache"}, None),
    ("viommu_invalidations_total", {"kind": "wait"}, None),
    ("viommu_invalidation_waits_total", {"iommu": "dmar0"}, None),
    ("viommu_invalidation_waits_total", {"iommu": "dmar1"}, 0),
    ("viommu_dma_faults_total", {"reason": "SSS.2"}, 1),
    ("viommu_attach_transitions_total", {"kind": "host_dma_to_blocked", "hitless": "true"}, 1),
    ("viommu_attach_transitions_total", {"kind": "blocked_to_paging", "hitless": "true"}, 1),
    ("viommu_attach_transitions_total", {"kind": "paging_to_paging", "hitless": "true"}, 1),
    ("viommu_attach_transitions_total", {"hitless": "false"}, 0),
    ("grpc_server_started_total", {"grpc_method": "Dma"}, 2),
    ("grpc_server_handled_total", {"grpc_method": "Dma", "grpc_code": "OK"}, 2),
    ("grpc_server_handled_total", {"grpc_method": "CreateDomain", "grpc_code": "OK"}, 2),
    ("grpc_server_msg_received_total", {"grpc_method": "CreateDomain"}, 2),
    ("grpc_server_msg_sent_total", {"grpc_method": "CreateDomain"}, 2),
    ("grpc_server_handling_seconds_count", {"grpc_method": "CreateDomain"}, 2),
    ("grpc_server_handling_seconds_sum", {"grpc_method": "CreateDomain"}, None),
]


# Of the RPCs that are streams.
_TYPES = {"StreamMappings": "bidi_stream", "StreamInvalidations": "bidi_stream",
          "StreamEvents": "bidi_stream",
          "StreamFaults": "bidi_stream",
          "ExportTables": "server_stream", "Watch": "server_stream"}


class MetricsTest(unittest.TestCase):
    def setUp(self):
        self.daemon = self.enterContext(daemon.Daemon(daemon.LISTENERS, metrics=True))
        self.client = grpcurl.Client(self.daemon)
        self.at_start = metrics.Metrics(self.daemon)

    def methods(self):
        """(service, method, type) of every RPC that is served."""
        for service in self.client.listing():
            if service.startswith("viommu."):
                for symbol in self.client.listing(service):
                    method = symbol.rpartition(".")[2]
                    yield service, method, _TYPES.get(method, "unary")
        yield from BUILT_IN

    def test_the_series_of_every_rpc_are_there_at_0_from_the_start(self):
        names = ["grpc_server_started_total", "grpc_server_msg_received_total",
                 "grpc_server_msg_sent_total", "grpc_server_handling_seconds_count",
                 "grpc_server_handling_seconds_sum"]
        for service, method, kind in self.methods():
            labels = {"grpc_service": service, "grpc_method": method, "grpc_type": kind}
            with self.subTest(method):
                for name in names:
                    self.assertEqual([(labels, 0)], self.at_start.samples(name, **labels), name)
                handled = self.at_start.samples("grpc_server_handled_total", **labels)
                self.assertEqual(CODES, {have["grpc_code"] for have, _ in handled})
                self.assertEqual({0}, {value for _, value in handled})

    def test_buckets_begin_at_50_microseconds(self):
        bounds = self.at_start.values_of("grpc_server_handling_seconds_bucket", "le")
        self.assertEqual(5e-5, min(float(bound) for bound in bounds))

    def test_our_own_series_are_there_at_0_from_the_start(self):
        for name, label, values in AT_ZERO:
            with self.subTest(name, label=label):
                if label is None:
                    self.assertEqual([({}, 0)], self.at_start.samples(name))
                    continue
                self.assertLessEqual(values, self.at_start.values_of(name, label))
                for value in values:
                    self.assertEqual(0, self.at_start.total(name, **{label: value}))

    def test_what_there_is_at_the_start_is_counted(self):
        self.assertEqual(8, self.at_start.total("viommu_objects", kind="device"))
        self.assertEqual(2, self.at_start.total("viommu_objects", kind="iommu"))
        self.assertEqual(1, self.at_start.total("viommu_build_info", version="0.1.0",
                                                backend="soft"))
        self.assertGreater(self.at_start.total("viommu_table_pages"), 0)
        self.assertEqual((4 << 30) // PAGE, self.at_start.total("viommu_table_pages_limit"))
        self.assertEqual(1, self.at_start.total("viommu_serving"))
        self.assertEqual(1024, self.at_start.total("viommu_connections_limit"))
        self.assertEqual(128, self.at_start.total("viommu_calls_limit", kind="call"))
        self.assertEqual(256, self.at_start.total("viommu_invalidation_queue_entries",
                                                  iommu="dmar0"))
        boot = self.client.get("HostService/GetHost")["boot_id"]
        self.assertEqual({boot}, self.at_start.values_of("viommu_boot_info", "boot_id"))
        age = time.time() - self.at_start.total("process_start_time_seconds")
        self.assertTrue(0 < age < 300, age)
        files = self.at_start.total("process_open_fds")
        self.assertTrue(0 < files < self.at_start.total("process_max_fds"), files)
        self.assertGreater(self.at_start.total("process_resident_memory_bytes"), 1 << 20)

    def test_listeners_are_counted(self):
        def listeners():
            seen = metrics.Metrics(self.daemon)
            return seen.total("viommu_listeners"), seen.total("viommu_listeners_limit")
        self.assertEqual((0, 128), listeners())
        self.client.get("ListenerService/CreateListener", {"listener_id": "vm0", "listener": {}})
        self.client.get("ListenerService/CreateListener", {"listener_id": "vm1", "listener": {}})
        self.assertEqual((2, 128), listeners())
        self.client.get("ListenerService/DeleteListener", {"name": "listeners/vm0"})
        self.assertEqual((1, 128), listeners())
        self.daemon.stop()
        with daemon.Daemon(daemon.LISTENERS, "--max_listeners=5", metrics=True,
                           folder=self.daemon.folder) as self.daemon:
            self.assertEqual((1, 5), listeners(), "it opens again what was there")
        with daemon.Daemon(metrics=True) as self.daemon:
            self.assertEqual((0, 0), listeners(), "tenants have none")

    def test_the_main_job_moves_them(self):
        for method, request in JOB:
            self.client.get(method, request)
        after = metrics.Metrics(self.daemon)
        for name, labels, change in MOVED_BY_THE_JOB:
            with self.subTest(name, **labels):
                moved = after.total(name, **labels) - self.at_start.total(name, **labels)
                if change is None:
                    self.assertGreater(moved, 0)
                else:
                    self.assertEqual(change, moved)

    def test_refused_calls_are_counted_by_code(self):
        for name, code in (("ioas/none", "NotFound"), ("none", "InvalidArgument")):
            self.client.call("IoasService/GetIoas", {"name": name})
            self.assertEqual(1, metrics.Metrics(self.daemon).total(
                "grpc_server_handled_total", grpc_method="GetIoas", grpc_code=code))

    def test_no_call_makes_a_new_series(self):
        """So that no name, address or request id can ever be in a label."""
        answers = {}
        for method, request, _ in every_rpc.STEPS:
            answers[method] = every_rpc.ask(self.client, method,
                                            every_rpc.complete(request, answers))
        after = metrics.Metrics(self.daemon)
        self.assertEqual(self.at_start.names(), after.names())
        for name in after.names():
            self.assertEqual([labels for labels, _ in self.at_start.samples(name)],
                             [labels for labels, _ in after.samples(name)], name)


if __name__ == "__main__":
    case_report.main()
