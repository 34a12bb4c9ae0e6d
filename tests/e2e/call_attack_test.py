"""Clients that call more than may run at once, and clients that die in the middle of a revoke."""
import struct
import time
import unittest

from tests.e2e import daemon
from tests.e2e import grpcurl
from tests.e2e import http2
from tests.e2e import metrics
from tests.e2e import raw_http2
from tools import case_report

PAGE = 4096
ENTRIES = 16384  # Of one batch, as many as may be.
CALLS = 100      # As many as one connection may have open.
WINDOW = 1 << 30
# For what takes milliseconds, on a machine that compiles meanwhile.
SECONDS = 60


def opened(connection):
    """Ready for calls whose answers never wait for us."""
    connection.start()
    connection.send(
        http2.frame(http2.SETTINGS, payload=struct.pack(">HL", http2.INITIAL_WINDOW, WINDOW)),
        http2.frame(http2.WINDOW_UPDATE, payload=struct.pack(">L", WINDOW)))
    return connection


def call(stream, method, request):
    """The frames of a whole unary call."""
    return (http2.frame(http2.HEADERS, http2.END_HEADERS, stream,
                        http2.call_headers("viommu.v1." + method)) +
            http2.frame(http2.DATA, http2.END_STREAM, stream, http2.message(request)))


def refused_calls(running):
    return metrics.Metrics(running).total("viommu_calls_refused_total", reason="TOO_MANY_CALLS")


class CallAttackTest(unittest.TestCase):
    def start(self, *flags):
        running = self.enterContext(daemon.Daemon(*flags, metrics=True))
        client = grpcurl.Client(running)
        self.get(client, "MemoryService/CreateMemoryRegion",
                 {"memory_region_id": "ram", "memory_region": {"size_bytes": PAGE}})
        self.get(client, "IoasService/CreateIoas", {"ioas_id": "space"})
        return running, client

    def get(self, client, method, request):
        """The answer of a call, as soon as there is a place for it: a call before it has its answer
        a little sooner than its place is free."""
        deadline = time.monotonic() + SECONDS
        while (answer := client.call(method, request)).code == "RESOURCE_EXHAUSTED":
            self.assertLess(time.monotonic(), deadline, answer.text)
        return answer.message

    def fill(self, client):
        entry = {"memory_region": "memoryRegions/ram", "length": PAGE}
        self.get(client, "IoasService/Map", {"name": "ioas/space", "mappings": [entry] * ENTRIES})

    def mappings(self, client):
        return int(self.get(client, "IoasService/GetIoas", {"name": "ioas/space"}).get(
            "mapping_count", 0))

    def test_more_calls_than_may_run_are_told_so_and_revokes_are_not_kept_out(self):
        running, client = self.start("--max_calls=1", "--tcp_address=127.0.0.1:0")
        self.fill(client)
        request = raw_http2.field(1, b"ioas/space") + b"\x10" + raw_http2.varint(1000)
        before = refused_calls(running)
        refused, deadline = [], time.monotonic() + SECONDS
        with http2.Connection(running) as connection:
            opened(connection)
            first = 1
            # How many meet is the scheduler's business; among a hundred at once some do.
            while not refused:
                self.assertLess(time.monotonic(), deadline, "all found the one place free")
                connection.send(*(call(first + 2 * i, "IoasService/ListMappings", request)
                                  for i in range(CALLS)))
                connection.send(call(first + 2 * CALLS, "IoasService/Unmap",
                                     raw_http2.field(1, b"ioas/none") + b"\x18\x01"))
                blocks = connection.ends(CALLS + 1)
                self.assertEqual(CALLS + 1, len(blocks))
                refused = [block for block in blocks if b"max_calls" in block]
                # Refused for what it asks, not for want of room.
                self.assertFalse([block for block in blocks if b"max_revokes" in block])
                self.assertEqual(1, sum(b"ioas/none" in block for block in blocks))
                first += 2 * CALLS + 2
        self.assertEqual(len(refused), refused_calls(running) - before)
        self.assertEqual(ENTRIES, self.mappings(client))

    def test_an_unmap_whose_client_dies_is_done_whole_or_not_begun(self):
        running, client = self.start()
        request = raw_http2.field(1, b"ioas/space") + b"\x18\x01"  # all
        done = 0
        # Dead before the call is looked at, while it runs, when its answer is under way: when that
        # is, is a matter of the machine.
        lives = [0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.2]
        while lives:
            life = lives.pop(0)
            self.fill(client)
            with http2.Connection(running, unix=True) as connection:
                opened(connection)
                connection.send(call(1, "IoasService/Unmap", request))
                time.sleep(life)
            # Nobody is told; a call that was begun ends by itself.
            deadline = time.monotonic() + 1
            while (left := self.mappings(client)) != 0 and time.monotonic() < deadline:
                self.assertEqual(ENTRIES, left)
            done += left == 0
            if not lives and done == 0 and life < SECONDS / 4:
                lives.append(2 * life)
            client.call("IoasService/Unmap", {"name": "ioas/space", "all": True})
        self.assertGreater(done, 0, "none was ever begun")


if __name__ == "__main__":
    case_report.main()
