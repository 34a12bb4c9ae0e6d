"""Many clients at once, and SIGTERM while they are at it."""
import collections
import concurrent.futures
import signal
import threading
import time
import unittest

from tests.e2e import daemon
from tests.e2e import grpcurl
from tests.e2e import http2
from tests.e2e import metrics
from tools import case_report

CLIENTS = 64
STREAMS = 8
SERVED_SECONDS = 60
# Far longer than any of this takes: what it waits for, it waits for.
DRAIN_SECONDS = 600
PAGE = 4096
STREAM = "MappingService/StreamMappings"


def in_parallel(count, work):
    """Results of work(0) ... work(count - 1), all under way at once."""
    together = threading.Barrier(count)

    def start(i):
        together.wait()
        return work(i)

    with concurrent.futures.ThreadPoolExecutor(count) as threads:
        return list(threads.map(start, range(count)))


def map_page(sequence):
    return {"map": {"sequence": sequence, "length": [PAGE]}}


class ManyClientsTest(unittest.TestCase):
    def setUp(self):
        self.daemon = self.enterContext(daemon.Daemon(metrics=True))
        self.client = grpcurl.Client(self.daemon)

    def test_each_has_its_session_as_if_it_were_alone(self):
        def session(i):
            name = f"client-{i}"
            call = self.client.get
            call("MemoryService/CreateMemoryRegion",
                 {"memory_region_id": name, "memory_region": {"size_bytes": 16 * PAGE}})
            call("IoasService/CreateIoas", {"ioas_id": name})
            mapped = call("IoasService/Map", {"name": f"ioas/{name}", "mappings": [
                {"iova": i << 20, "memory_region": f"memoryRegions/{name}", "length": 16 * PAGE}]})
            shown = call("IoasService/Translate", {"name": f"ioas/{name}", "iova": (i << 20) + 5})
            unmapped = call("IoasService/Unmap", {"name": f"ioas/{name}", "all": True})
            call("IoasService/DeleteIoas", {"name": f"ioas/{name}"})
            call("MemoryService/DeleteMemoryRegion", {"name": f"memoryRegions/{name}"})
            return (int(mapped["iovas"][0]), shown["memory_region"], shown["offset"],
                    unmapped["unmapped_count"])

        self.assertEqual([(i << 20, f"memoryRegions/client-{i}", "5", "1") for i in range(CLIENTS)],
                         in_parallel(CLIENTS, session))
        scrape = metrics.Metrics(self.daemon)
        for kind in ("ioas", "memory_region"):
            self.assertEqual(0, scrape.total("viommu_objects", kind=kind))
        self.assertEqual(CLIENTS, scrape.total("grpc_server_handled_total", grpc_method="Map",
                                               grpc_code="OK"))

    def test_one_of_many_gets_a_name_and_one_an_address(self):
        made = in_parallel(CLIENTS, lambda _: self.client.call("IoasService/CreateIoas",
                                                               {"ioas_id": "wanted"}).code)
        self.assertEqual({"OK": 1, "ALREADY_EXISTS": CLIENTS - 1}, collections.Counter(made))
        self.client.get("MemoryService/CreateMemoryRegion",
                        {"memory_region_id": "ram", "memory_region": {"size_bytes": PAGE}})
        mapped = in_parallel(CLIENTS, lambda _: self.client.call("IoasService/Map", {
            "name": "ioas/wanted", "mappings": [
                {"iova": PAGE, "memory_region": "memoryRegions/ram", "length": PAGE}]}).code)
        self.assertEqual({"OK": 1, "ALREADY_EXISTS": CLIENTS - 1}, collections.Counter(mapped))

    def test_a_request_repeated_by_all_at_once_is_done_once(self):
        answers = in_parallel(CLIENTS, lambda _: self.client.get(
            "IoasService/CreateIoas", {"request_id": "the-same"}))
        self.assertEqual([answers[0]] * CLIENTS, answers)
        self.assertEqual(1, len(self.client.get("IoasService/ListIoas")["ioas"]))


class DrainTest(unittest.TestCase):
    """SIGTERM: health turns NOT_SERVING, what runs finishes, exit code 0."""

    def setUp(self):
        self.lock = threading.Lock()
        self.served = set()  # Clients that have been.
        self.told = 0  # Clients that were refused as they should be.

    def start(self, drain_seconds=DRAIN_SECONDS, **options):
        running = self.enterContext(
            daemon.Daemon(f"--drain_timeout_seconds={drain_seconds}", **options))
        client = grpcurl.Client(running)
        client.get("MemoryService/CreateMemoryRegion",
                   {"memory_region_id": "ram", "memory_region": {"size_bytes": 1 << 30}})
        client.get("IoasService/CreateIoas", {"ioas_id": "space"})
        return running, client

    def open(self, client, method, *messages):
        """An open call with its messages sent; ended in any case when the test ends."""
        stream = client.open(method)
        self.addCleanup(stream.kill)
        stream.send(*messages)
        return stream

    def open_stream(self, client):
        """A mapping stream whose first batch has been answered."""
        stream = self.open(client, STREAM, {"open": {
            "name": "ioas/space", "default_memory_region": "memoryRegions/ram"}}, map_page(1))
        self.assertEqual("1", stream.receive()["sequence"])
        return stream

    def watch_health(self, client):
        watch = self.open(client, "grpc.health.v1.Health/Watch", {})
        watch.close()
        self.assertEqual({"status": "SERVING"}, watch.receive())
        return watch

    def test_health_is_served_overall_and_for_each_service(self):
        _, client = self.start()
        services = [name for name in client.listing() if name.startswith("viommu.")]
        for service in ["", *services]:
            with self.subTest(service):
                self.assertEqual({"status": "SERVING"}, client.get("grpc.health.v1.Health/Check",
                                                                   {"service": service}))
        self.assertEqual("NOT_FOUND", client.call("grpc.health.v1.Health/Check",
                                                  {"service": "viommu.v1.NoService"}).code)

    def test_an_open_stream_goes_on_until_its_client_is_done(self):
        running, client = self.start(metrics=True)
        stream, watch = self.open_stream(client), self.watch_health(client)
        running.signal(signal.SIGTERM)
        self.assertEqual({"status": "NOT_SERVING"}, watch.receive())
        for sequence in (2, 3):
            stream.send(map_page(sequence))
            answer = stream.receive()
            self.assertEqual(str(sequence), answer["sequence"])
            self.assertNotIn("status", answer)
        refused = client.call("HostService/GetHost")
        self.assertEqual(("UNAVAILABLE", "DRAINING"), (refused.code, refused.failure.reason))
        self.assertIn("RetryInfo", refused.failure.details)
        self.assertTrue(running.running(), "it waits for the stream")
        self.assertEqual(0, metrics.Metrics(running).total("viommu_serving"))
        self.assertEqual("OK", stream.finish().code)
        watch.kill()
        self.assertEqual(0, running.wait())

    def test_a_client_that_is_never_done_is_cut_off_in_time(self):
        running, client = self.start(drain_seconds=1)
        stream = self.open_stream(client)
        began = time.monotonic()
        running.signal(signal.SIGTERM)
        self.assertEqual(0, running.wait())
        self.assertGreater(time.monotonic() - began, 0.9)
        self.assertIn(stream.finish().code, ("UNAVAILABLE", "CANCELLED"))

    def test_neither_a_health_watch_nor_an_idle_peer_keeps_it(self):
        running, client = self.start()
        watch = self.watch_health(client)
        # Answers whatever keeps its connection, and hears no GOAWAY.
        with http2.Connection(running, unix=True) as idle:
            idle.start()

            def answer_pings():
                for kind, flags, _, payload in idle.frames():
                    if kind == http2.PING and not flags & http2.ACK:
                        idle.send(http2.frame(http2.PING, http2.ACK, 0, payload))

            peer = threading.Thread(target=answer_pings)
            peer.start()
            running.signal(signal.SIGTERM)
            self.assertEqual({"status": "NOT_SERVING"}, watch.receive())
            self.assertEqual(0, running.wait())
            peer.join()

    def test_a_second_signal_ends_it_at_once(self):
        running, client = self.start()
        self.open_stream(client)
        watch = self.watch_health(client)
        running.signal(signal.SIGTERM)
        self.assertEqual({"status": "NOT_SERVING"}, watch.receive())
        running.signal(signal.SIGTERM)
        self.assertEqual(1, running.wait())

    def test_under_load_every_call_is_answered_or_was_never_taken(self):
        running, client = self.start(metrics=True)
        # Keeps the daemon draining until it has been looked at.
        watch, last = self.watch_health(client), self.open_stream(client)

        def work(i):
            """Calls, one after the other, until one is not answered: how many were."""
            if i < STREAMS:
                return self.stream_until_refused(client, i)
            return self.call_until_refused(client, i)

        with concurrent.futures.ThreadPoolExecutor(1) as background:
            ended = background.submit(in_parallel, STREAMS + CLIENTS, work)
            self.await_served(STREAMS + CLIENTS)
            running.signal(signal.SIGTERM)
            self.assertEqual({"status": "NOT_SERVING"}, watch.receive())
            answered = ended.result()
            self.assertEqual(STREAMS + CLIENTS, self.told, "each was told why")
        scrape = metrics.Metrics(running)
        self.assertEqual(STREAMS + CLIENTS,
                         scrape.total("viommu_calls_refused_total", reason="DRAINING"))
        for method, count, refused, open_now in (
                ("StreamMappings", sum(answered[:STREAMS]), STREAMS, 1),
                ("Map", sum(answered[STREAMS:]), CLIENTS, 0)):
            with self.subTest(method):
                labels = {"grpc_method": method}
                self.assertEqual(count, scrape.total("grpc_server_handled_total", grpc_code="OK",
                                                     **labels))
                self.assertEqual(refused, scrape.total("grpc_server_handled_total",
                                                       grpc_code="Unavailable", **labels))
                self.assertEqual(count + refused + open_now,
                                 scrape.total("grpc_server_started_total", **labels))
        watch.kill()
        self.assertEqual("OK", last.finish().code)
        self.assertEqual(0, running.wait(), running.log())
        self.assertEqual(["start", "ready", "drain", "stop"],
                         [event["event"] for event in running.events()])

    def call_until_refused(self, client, i):
        for count in range(1_000_000):
            answer = client.call("IoasService/Map", {"name": "ioas/space", "mappings": [
                {"iova": (i << 40) + count * PAGE, "memory_region": "memoryRegions/ram",
                 "length": PAGE}]})
            if answer.code != "OK":
                self.check_refusal(answer)
                return count
            self.assertIn("iovas", answer.message)
            self.served.add(i)
        raise AssertionError("it is never refused")

    def stream_until_refused(self, client, i):
        """Streams of ten batches: one that was taken is answered to its end."""
        for count in range(1_000_000):
            answer = client.call(STREAM, [
                {"open": {"name": "ioas/space", "default_memory_region": "memoryRegions/ram"}},
                *(map_page(i + 1) for i in range(10))])
            if answer.code != "OK":
                self.assertEqual([], answer.messages)
                self.check_refusal(answer)
                return count
            self.assertEqual(("OK", 10), (answer.code, len(answer.messages)), answer.text)
            self.served.add(i)
        raise AssertionError("it is never refused")

    def await_served(self, count):
        """Returns when so many clients have been served once."""
        deadline = time.monotonic() + SERVED_SECONDS
        while len(self.served) < count:
            self.assertLess(time.monotonic(), deadline, "some client is not served")
            time.sleep(0.01)

    def check_refusal(self, answer):
        """While a stream is open, the daemon listens and tells everybody."""
        self.assertEqual("UNAVAILABLE", answer.code, answer.text)
        self.assertEqual("DRAINING", answer.failure.reason)
        with self.lock:
            self.told += 1


if __name__ == "__main__":
    case_report.main()
