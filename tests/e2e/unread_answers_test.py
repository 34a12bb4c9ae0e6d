"""Clients that ask and take no answer, and streams that never begin: the others must not notice."""
import struct
import time
import unittest

from tests.e2e import attack
from tests.e2e import daemon
from tests.e2e import grpcurl
from tests.e2e import http2
from tests.e2e import metrics
from tools import case_report

PAGE = 4096
INITIAL_WINDOW_SIZE = 4
GET_HOST = "viommu.v1.HostService/GetHost"
STREAM = "viommu.v1.MappingService/StreamMappings"
# Of unread calls; the settings' default. More calls are made than there are threads.
MAX_CALLS = 128
CONNECTIONS, CALLS = 3, 100
# Longer than any test takes, and as short as what is waited for may be.
LONG_SECONDS, SHORT_SECONDS = 600, 2


def in_flight(running, kind):
    return metrics.Metrics(running).total("viommu_calls_in_flight", kind=kind)


def streams(count):
    """Numbers of the first streams that a client opens."""
    return range(1, 2 * count, 2)


class PatienceTest(unittest.TestCase):
    def start(self, *flags, timeout_seconds=LONG_SECONDS):
        running = self.enterContext(daemon.Daemon(
            f"--stream_write_timeout_seconds={timeout_seconds}", "--tcp_address=127.0.0.1:0",
            *flags, metrics=True))
        client = grpcurl.Client(running)
        client.get("MemoryService/CreateMemoryRegion",
                   {"memory_region_id": "ram", "memory_region": {"size_bytes": PAGE}})
        client.get("IoasService/CreateIoas", {"ioas_id": "space"})
        client.get("IoasService/Map", {"name": "ioas/space", "mappings": [
            {"iova": PAGE, "memory_region": "memoryRegions/ram", "length": PAGE}]})
        return running, client

    def connect(self, running):
        return self.enterContext(http2.Connection(running))

    def ask(self, running, calls):
        """A connection that made so many calls and lets no answer come."""
        peer = self.connect(running)
        window = struct.pack(">HL", INITIAL_WINDOW_SIZE, 0)
        peer.send(http2.PREFACE, http2.frame(http2.SETTINGS, payload=window))
        self.assertIsNotNone(peer.frame_of(http2.SETTINGS))
        peer.send(http2.frame(http2.SETTINGS, http2.ACK))
        for stream in streams(calls):
            peer.send(
                http2.frame(http2.HEADERS, http2.END_HEADERS, stream, http2.call_headers(GET_HOST)),
                http2.frame(http2.DATA, http2.END_STREAM, stream, http2.message(b"")))
        return peer


class UnreadAnswersTest(PatienceTest):
    def test_unread_answers_take_no_more_than_the_calls_that_may_run(self):
        running, client = self.start()
        peers = [self.ask(running, CALLS) for _ in range(CONNECTIONS)]
        attack.eventually(self, "as many as may are unread, and no more are let in", lambda: (
            MAX_CALLS, CONNECTIONS * CALLS - MAX_CALLS) == (
                in_flight(running, "call"), metrics.Metrics(running).total(
                    "viommu_calls_refused_total", reason="TOO_MANY_CALLS")))
        for other in (client, grpcurl.Client.over_tcp(running)):
            refused = other.call("HostService/GetHost")
            self.assertEqual(("RESOURCE_EXHAUSTED", "TOO_MANY_CALLS"),
                             (refused.code, refused.failure and refused.failure.reason),
                             refused.text)
            self.assertEqual(("max_calls", str(MAX_CALLS)), (
                refused.failure.metadata["limit"], refused.failure.metadata["value"]))
        self.assertEqual("1", client.get("IoasService/Unmap", {
            "name": "ioas/space", "all": True})["unmapped_count"])
        self.assertEqual(MAX_CALLS, in_flight(running, "call"), "they were unread all the time")
        for peer in peers:
            peer.close()
        attack.eventually(self, "they go with their clients",
                          lambda: in_flight(running, "call") == 0)
        self.assertEqual("soft", client.get("HostService/GetHost")["backend"])

    def test_unread_answers_are_given_up(self):
        running, client = self.start(timeout_seconds=SHORT_SECONDS)
        ends = self.ask(running, CALLS).ends(CALLS)
        self.assertEqual(CALLS, sum(b"SLOW_READER" in block for block in ends))
        attack.eventually(self, "they are given up", lambda: in_flight(running, "call") == 0)
        self.assertEqual("soft", client.get("HostService/GetHost")["backend"])

    def test_they_end_with_the_daemon(self):
        running, _ = self.start("--drain_timeout_seconds=1")
        self.ask(running, 20)
        attack.eventually(self, "they are unread", lambda: in_flight(running, "call") == 20)
        self.assertEqual(0, running.stop())


class SilentStreamsTest(PatienceTest):
    MOST = 8  # Of these TCP may have all but one.

    def stream(self, client):
        """One that maps a page and is done."""
        return client.call("MappingService/StreamMappings", [
            {"open": {"name": "ioas/space", "default_memory_region": "memoryRegions/ram"}},
            {"map": {"sequence": 1, "length": [PAGE]}}])

    def open_all(self, running):
        """A connection with as many streams as TCP may have, none of which begins."""
        peer = self.connect(running)
        peer.start()
        for stream in streams(self.MOST - 1):
            peer.send(http2.frame(http2.HEADERS, http2.END_HEADERS, stream,
                                  http2.call_headers(STREAM)))
        return peer

    def test_streams_that_never_begin_take_no_more_than_their_share(self):
        running, client = self.start(f"--max_streams={self.MOST}")
        over_tcp = grpcurl.Client.over_tcp(running)
        peer = self.open_all(running)
        attack.eventually(self, "all are open",
                          lambda: in_flight(running, "stream") == self.MOST - 1)
        refused = self.stream(over_tcp)
        self.assertEqual(("RESOURCE_EXHAUSTED", "TOO_MANY_STREAMS"),
                         (refused.code, refused.failure and refused.failure.reason), refused.text)
        self.assertEqual(str(self.MOST - 1), refused.failure.metadata["value"])
        self.assertEqual("OK", self.stream(client).code, "one is kept for the unix socket")
        peer.close()
        attack.eventually(self, "all are ended", lambda: in_flight(running, "stream") == 0)
        self.assertEqual("OK", self.stream(over_tcp).code)

    def test_streams_that_never_begin_keep_nobody_out_for_long(self):
        running, _ = self.start(f"--max_streams={self.MOST}", timeout_seconds=SHORT_SECONDS)
        peer = self.open_all(running)
        # They end in any order, and `ended` passes over the others.
        self.assertIn(b"OPEN_TIMEOUT", peer.ended(1))
        attack.eventually(self, "all are ended", lambda: metrics.Metrics(running).total(
            "grpc_server_handled_total", grpc_method="StreamMappings",
            grpc_code="DeadlineExceeded") == self.MOST - 1)
        attack.eventually(self, "they count no more", lambda: in_flight(running, "stream") == 0)
        self.assertEqual("OK", self.stream(grpcurl.Client.over_tcp(running)).code)

    def test_a_stream_that_has_begun_may_be_silent(self):
        running, client = self.start(timeout_seconds=SHORT_SECONDS)
        stream = client.open("MappingService/StreamMappings")
        self.addCleanup(stream.kill)
        stream.send({"open": {"name": "ioas/space", "default_memory_region": "memoryRegions/ram"}})
        attack.eventually(self, "it is open", lambda: in_flight(running, "stream") == 1)
        time.sleep(2 * SHORT_SECONDS)
        stream.send({"map": {"sequence": 1, "length": [PAGE]}})
        self.assertEqual("1", stream.receive()["sequence"])
        self.assertEqual("OK", stream.finish().code)


if __name__ == "__main__":
    case_report.main()
