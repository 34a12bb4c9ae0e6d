"""Watch over the real binary: snapshot, changes, resuming, slow readers, and SIGTERM."""
import signal
import struct
import unittest

from tests.e2e import attack
from tests.e2e import daemon
from tests.e2e import grpcurl
from tests.e2e import http2
from tests.e2e import metrics
from tools import case_report

WATCH = "WatchService/Watch"
DEVICE = "devices/0000:01:00.0"
PAGE = 4096
INITIAL_WINDOW_SIZE = 4


def told(message):
    """("ADDED", "ioas/space") of a message, or ("there", name), ("sync", ""), ("mapped", name)."""
    if "sync" in message:
        return "sync", ""
    if "mappings" in message:
        return "mapped", message["mappings"]["name"]
    if "snapshot" in message:
        (thing,) = message["snapshot"].values()
        return "there", thing["name"]
    change = message["change"]
    (thing,) = change["object"].values() if "object" in change else (change["deleted"],)
    return change["type"].removeprefix("WATCH_CHANGE_TYPE_"), thing["name"]


class WatchTest(unittest.TestCase):
    def setUp(self):
        # Nobody waits for so long.
        self.daemon = self.enterContext(daemon.Daemon("--drain_timeout_seconds=600", metrics=True))
        self.client = grpcurl.Client(self.daemon)

    def open(self, request):
        stream = self.client.open(WATCH)
        self.addCleanup(stream.kill)
        stream.send(request)
        stream.close()
        return stream

    def make(self, ioas):
        return self.client.get("IoasService/CreateIoas", {"ioas_id": ioas})

    def test_snapshot_sync_changes_and_summaries(self):
        self.make("old")
        watch = self.open({"kinds": ["WATCH_KIND_IOAS", "WATCH_KIND_MEMORY_REGION"]})
        self.assertEqual(("there", "ioas/old"), told(watch.receive()))
        sync = watch.receive()
        host = self.client.get("HostService/GetHost")
        self.assertEqual((host["boot_id"], host["revision"]),
                         (sync["sync"]["boot_id"], sync["revision"]))
        made = self.make("new")
        added = watch.receive()
        self.assertEqual(("ADDED", made), (told(added)[0], added["change"]["object"]["ioas"]))
        self.client.get("MemoryService/CreateMemoryRegion",
                        {"memory_region_id": "ram", "memory_region": {"size_bytes": PAGE}})
        self.assertEqual(("ADDED", "memoryRegions/ram"), told(watch.receive()))
        self.client.get("IoasService/Map", {"name": "ioas/new", "mappings": [
            {"memory_region": "memoryRegions/ram", "length": PAGE}]})
        mapped = watch.receive()
        self.assertEqual({"name": "ioas/new", "uid": made["uid"], "mapping_count": "1",
                          "mapped_bytes": str(PAGE), "mapping_revision": mapped["revision"]},
                         mapped["mappings"])
        self.client.get("IoasService/DeleteIoas", {"name": "ioas/old"})
        gone = watch.receive()["change"]
        self.assertEqual(("WATCH_CHANGE_TYPE_DELETED", "WATCH_KIND_IOAS", "ioas/old", "local"),
                         (gone["type"], *(gone["deleted"][k] for k in ("kind", "name", "owner"))))

    def test_health_is_told_with_its_cause(self):
        watch = self.open({"kinds": ["WATCH_KIND_DEVICE"]})
        while told(watch.receive()) != ("sync", ""):
            pass
        for cause, shown in (("UNSPECIFIED", "INJECTED"), ("RESET_FAILED", "RESET_FAILED")):
            self.client.get("SimulationService/SetDeviceHealth", {
                "name": DEVICE, "health": "DEVICE_HEALTH_UNHEALTHY", "health_reason": "hot",
                "health_cause": f"DEVICE_HEALTH_CAUSE_{cause}"})
            device = watch.receive()["change"]["object"]["device"]
            self.assertEqual((f"DEVICE_HEALTH_CAUSE_{shown}", "hot"),
                             (device["health_cause"], device["health_reason"]))

    def test_resumes_behind_what_was_seen(self):
        watch = self.open({"kinds": ["WATCH_KIND_IOAS"]})
        position = {"boot_id": watch.receive()["sync"]["boot_id"]}
        self.make("seen")
        position["revision"] = watch.receive()["revision"]
        watch.kill()
        self.make("missed")
        resumed = self.open({"kinds": ["WATCH_KIND_IOAS"], "resume": position})
        self.assertEqual([("sync", ""), ("ADDED", "ioas/missed")],
                         [told(resumed.receive()) for _ in range(2)])
        self.make("next")
        self.assertEqual(("ADDED", "ioas/next"), told(resumed.receive()), "and nothing between")

    def test_refuses_what_it_can_not_do(self):
        host = self.client.get("HostService/GetHost")
        for request, code, reason in (
                ({"resume": {"boot_id": "x", "revision": 0}}, "OUT_OF_RANGE", "REVISION_COMPACTED"),
                ({"resume": {"boot_id": host["boot_id"], "revision": 1 << 60}}, "OUT_OF_RANGE",
                 "REVISION_IN_FUTURE"),
                ({"resume": {"revision": 1}}, "INVALID_ARGUMENT", "MISSING_FIELD"),
                ({"kinds": [99]}, "INVALID_ARGUMENT", "UNKNOWN_ENUM_VALUE"),
                ({"kinds": ["WATCH_KIND_UNSPECIFIED"]}, "INVALID_ARGUMENT", "UNKNOWN_ENUM_VALUE")):
            with self.subTest(request):
                answer = self.client.call(WATCH, request)
                self.assertEqual((code, reason), (answer.code, answer.failure.reason), answer.text)
                self.assertEqual([], answer.messages)

    def test_ends_when_its_client_is_gone(self):
        watch = self.open({})
        in_flight = lambda: metrics.Metrics(self.daemon).total("viommu_calls_in_flight",
                                                               kind="stream")
        attack.eventually(self, "it is open", lambda: in_flight() == 1)
        watch.kill()
        attack.eventually(self, "it is closed", lambda: in_flight() == 0)

    def test_ends_with_the_daemon(self):
        watch = self.open({"kinds": ["WATCH_KIND_IOAS"]})
        watch.receive()
        self.daemon.signal(signal.SIGTERM)
        ended = watch.finish()
        self.assertEqual(("UNAVAILABLE", "DRAINING"), (ended.code, ended.failure.reason))
        self.assertEqual(0, self.daemon.wait())


class SlowReaderTest(unittest.TestCase):
    def test_who_does_not_read_is_cut_off_and_nobody_waits_for_it(self):
        running = self.enterContext(daemon.Daemon("--stream_write_timeout_seconds=2",
                                                  "--tcp_address=127.0.0.1:0", metrics=True))
        client = grpcurl.Client(running)
        peer = self.enterContext(http2.Connection(running))
        window = struct.pack(">HL", INITIAL_WINDOW_SIZE, 0)
        peer.send(http2.PREFACE, http2.frame(http2.SETTINGS, payload=window))
        self.assertIsNotNone(peer.frame_of(http2.SETTINGS))
        peer.send(http2.frame(http2.SETTINGS, http2.ACK))
        peer.send(http2.frame(http2.HEADERS, http2.END_HEADERS, 1,
                              http2.call_headers("viommu.v1." + WATCH)),
                  http2.frame(http2.DATA, http2.END_STREAM, 1, http2.message(b"")))

        def watches(series):
            scrape = metrics.Metrics(running)
            return scrape.total(f"grpc_server_{series}_total", grpc_method="Watch",
                                grpc_service="viommu.v1.WatchService")

        # It may be over before anybody can see it open.
        attack.eventually(self, "it is open", lambda: watches("started") == 1)
        for i in range(8):
            client.get("IoasService/CreateIoas", {"ioas_id": f"space-{i}"})
        attack.eventually(self, "it is cut off", lambda: watches("handled") == 1)
        self.assertIn(b"SLOW_READER", peer.ended(1))


if __name__ == "__main__":
    case_report.main()
