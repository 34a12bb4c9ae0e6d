"""Clients that take too much: streams, unread answers, bytes in flight."""
import struct
import time
import unittest

from tests.e2e import attack
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
# How long the daemon may take, on a machine that compiles meanwhile, for what takes milliseconds.
SOON_SECONDS = 30
STREAMS = 4
# Of each: the bytes in flight, a message on its way, and what gRPC keeps besides.
MAY_GROW_MIB = STREAMS * (8 + 4 + 16)


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
        self.assertTrue(call.send(opening(), SOON_SECONDS))
        return call

    def mappings(self, client):
        return int(client.get("IoasService/GetIoas", {"name": "ioas/space"}).get(
            "mapping_count", 0))

    def test_more_streams_than_may_be_open_are_told_so(self):
        running, client = self.start("--max_streams=2")
        held = [self.pump(running) for _ in range(2)]
        attack.eventually(self, "both are open", lambda: metrics.Metrics(running).total(
            "viommu_calls_in_flight", kind="stream") == 2)
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
        attack.eventually(self, "there is room when one has gone", lambda: client.call(
            STREAM, [{"open": {"name": "ioas/space"}}]).code == "OK")

    def test_a_client_that_reads_nothing_is_cut_off_and_told_why(self):
        running, client = self.start()
        call = self.pump(running)
        began = time.monotonic()  # Before the daemon can begin to count.
        self.assertTrue(call.send(maps(1, 1), SOON_SECONDS))
        self.assertTrue(call.await_status(RESOURCE_EXHAUSTED, SOON_SECONDS), call.trailers)
        took = time.monotonic() - began
        print(f"cut off after {took:.2f} s of {WRITE_SECONDS} s")
        self.assertIn(b"SLOW_READER", call.trailers)
        self.assertGreater(took, WRITE_SECONDS * 0.9)
        self.assertLess(took, SOON_SECONDS)
        self.assertEqual(1, self.mappings(client))
        self.assertEqual(1, metrics.Metrics(running).total(
            "viommu_map_batch_entries_count", path="stream"), "metered all the same")

    def test_it_does_not_hold_up_others_or_the_end(self):
        # Far from each other: whoever waits for the write waits for longer than SOON_SECONDS.
        running, client = self.start("--drain_timeout_seconds=1",
                                     write_seconds=4 * SOON_SECONDS)
        call = self.pump(running)
        for sequence in range(1, 5):
            self.assertTrue(call.send(maps(sequence, 1000), SOON_SECONDS))
        attack.eventually(self, "it is at the first answer", lambda: self.mappings(client) > 0)
        began = time.monotonic()
        client.get("IoasService/Unmap", {"name": "ioas/space", "all": True})
        self.assertLess(time.monotonic() - began, SOON_SECONDS)
        began = time.monotonic()
        self.assertEqual(0, running.stop())
        self.assertLess(time.monotonic() - began, SOON_SECONDS)

    def test_memory_is_bounded_while_a_client_pumps(self):
        running, _ = self.start(write_seconds=3600)
        before = attack.forget_peak(running)
        going, sent, sequence = [self.pump(running) for _ in range(STREAMS)], 0, 0
        while going and self.grown_mib(running, before) < MAY_GROW_MIB:
            sequence += 1
            # 4 MiB each, nearly what a message may have. One that gets stuck is left so; the first
            # does not.
            patience = SOON_SECONDS if sequence == 1 else 3
            going = [call for call in going
                     if call.send(maps(sequence, 16384, 3_900_000), patience)]
            sent += 4 * len(going)
            self.assertLess(sequence, 100, "it is taken without end")
        grown = self.grown_mib(running, before)
        print(f"{sent} MiB were taken from {STREAMS} streams; memory grew by {grown} MiB at most")
        self.assertGreaterEqual(sent, STREAMS * 4, "hardly anything was sent")
        if attack.MEMORY_TELLS:
            self.assertLess(grown, MAY_GROW_MIB)

    def grown_mib(self, running, before):
        """By how much memory has grown at most."""
        return (attack.memory_kib(running, "VmHWM") - before) >> 10


if __name__ == "__main__":
    case_report.main()
