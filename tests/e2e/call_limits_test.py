"""Clients that take too much: streams, unread answers, bytes in flight."""
import os
import struct
import time
import unittest

from tests.e2e import daemon
from tests.e2e import grpcurl
from tests.e2e import metrics
from tests.e2e import raw_http2
from tools import case_report

STREAM = "MappingService/StreamMappings"
PATH = "viommu.v1." + STREAM
PAGE = 4096
RESOURCE_EXHAUSTED = 8
WRITE_SECONDS = 2
MEBIBYTE = 1 << 20


def resident_bytes(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def opening():
    return raw_http2.field(1, raw_http2.field(1, b"ioas/space") +
                           raw_http2.field(4, b"memoryRegions/ram"))


def maps(sequence, entries, names=0):
    """A batch of `entries` pages, with so many bytes of region names that are no use."""
    batch = b"\x08" + raw_http2.varint(sequence)
    batch += raw_http2.field(4, struct.pack("<Q", PAGE) * entries)
    batch += raw_http2.field(6, b"x" * names) if names else b""
    return raw_http2.field(2, batch)


class LimitsTest(unittest.TestCase):
    def start(self, *flags, write_seconds=WRITE_SECONDS):
        running = self.enterContext(daemon.Daemon(
            f"--stream_write_timeout_seconds={write_seconds}", *flags, metrics=True))
        client = grpcurl.Client(running)
        client.get("MemoryService/CreateMemoryRegion",
                   {"memory_region_id": "ram", "memory_region": {"size_bytes": PAGE}})
        client.get("IoasService/CreateIoas", {"ioas_id": "space"})
        return running, client

    def pump(self, running):
        call = raw_http2.Call(running, PATH)
        self.addCleanup(call.close)
        self.assertTrue(call.send(opening(), 10))
        return call

    def test_more_streams_than_may_be_open_are_told_so(self):
        running, client = self.start("--max_streams=2")
        held = [self.pump(running) for _ in range(2)]
        deadline = time.monotonic() + 10
        while (metrics.Metrics(running).total("viommu_calls_in_flight", kind="stream") < 2 and
               time.monotonic() < deadline):
            time.sleep(0.01)
        refused = client.call(STREAM, [{"open": {"name": "ioas/space"}}])
        self.assertEqual(("RESOURCE_EXHAUSTED", "TOO_MANY_STREAMS"),
                         (refused.code, refused.failure.reason))
        self.assertEqual(("max_streams", "2"), (refused.failure.metadata["limit"],
                                                refused.failure.metadata["value"]))
        self.assertIn("RetryInfo", refused.failure.details)
        self.assertEqual({"status": "SERVING"}, client.get("grpc.health.v1.Health/Check"))
        self.assertIn("viommu.v1.MappingService", client.listing())
        client.get("IoasService/Unmap", {"name": "ioas/space", "all": True})
        self.assertEqual(1, metrics.Metrics(running).total("viommu_calls_refused_total",
                                                           reason="TOO_MANY_STREAMS"))
        held[0].close()
        while client.call(STREAM, [{"open": {"name": "ioas/space"}}]).code != "OK":
            self.assertLess(time.monotonic(), deadline + 20, "no room after one has gone")

    def test_a_client_that_reads_nothing_is_cut_off_and_told_why(self):
        running, client = self.start()
        call = self.pump(running)
        self.assertTrue(call.send(maps(1, 1), 10))
        began = time.monotonic()
        self.assertTrue(call.await_status(RESOURCE_EXHAUSTED, 30), call.trailers)
        took = time.monotonic() - began
        print(f"cut off after {took:.2f} s of {WRITE_SECONDS} s")
        self.assertIn(b"SLOW_READER", call.trailers)
        self.assertGreater(took, WRITE_SECONDS * 0.9)
        self.assertLess(took, WRITE_SECONDS * 5)
        self.assertEqual("1", client.get("IoasService/GetIoas",
                                         {"name": "ioas/space"})["mapping_count"])
        self.assertEqual(1, metrics.Metrics(running).total(
            "viommu_map_batch_entries_count", path="stream"), "metered all the same")

    def test_it_does_not_hold_up_others_or_the_end(self):
        running, client = self.start()
        call = self.pump(running)
        for sequence in range(1, 10):
            if not call.send(maps(sequence, 1000), 0.2):
                break
        began = time.monotonic()
        client.get("IoasService/Unmap", {"name": "ioas/space", "all": True})
        self.assertLess(time.monotonic() - began, WRITE_SECONDS)
        self.assertEqual(0, running.stop())

    def test_memory_is_bounded_while_a_client_pumps(self):
        running, _ = self.start(write_seconds=3600)
        before = resident_bytes(running.pid)
        most = sent = 0
        began = time.monotonic()
        calls = [self.pump(running) for _ in range(4)]
        for sequence in range(1, 1000):
            # 4 MiB each, nearly what a message may have.
            going = [call for call in calls if call.send(maps(sequence, 16384, 3_900_000), 0.3)]
            sent += 4 * len(going)
            most = max(most, resident_bytes(running.pid))
            if not going or time.monotonic() - began > 20:
                break
        grown = (most - before) / MEBIBYTE
        print(f"{sent} MiB were taken from 4 streams; memory grew by {grown:.0f} MiB at most")
        self.assertLess(grown, 4 * (8 + 4 + 16))


if __name__ == "__main__":
    case_report.main()
