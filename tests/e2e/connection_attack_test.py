"""Attacks on the accept loop: floods of connections, lacks of files, peers that never speak."""
import concurrent.futures
import contextlib
import os
import resource
import time
import unittest

from tests.e2e import attack
from tests.e2e import daemon
from tests.e2e import grpcurl
from tests.e2e import http2
from tools import case_report

TCP = "--tcp_address=127.0.0.1:0"
MIB = 1 << 10  # In KiB, as memory is told.
REFUSED = "connections_refused"


def client_hello():
    """The start of a TLS connection, as far as a server without TLS looks."""
    body = b"\x03\x03" + bytes(32) + b"\x00\x00\x02\x13\x01\x01\x00"
    handshake = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + len(handshake).to_bytes(2, "big") + handshake


class AttackTest(unittest.TestCase):
    def start(self, *flags, **options):
        return self.enterContext(daemon.Daemon(TCP, *flags, metrics=True, **options))

    def connect(self, running, count, **options):
        """This many connections, closed in any case when the test ends."""
        return [self.enterContext(http2.Connection(running, **options)) for _ in range(count)]

    def refusals(self, running):
        return [event for event in running.events() if event["event"] == REFUSED]


class FloodTest(AttackTest):
    def test_a_hundred_silent_connections_at_a_low_limit_of_files(self):
        # All are accepted before the first is shut out for its silence.
        running = self.start("--handshake_timeout_ms=60000", open_files=100)
        (lowered,) = [event for event in running.events()
                      if event["event"] == "max_connections_lowered"]
        self.assertEqual((1024, 18), (lowered["wanted"], lowered["max_connections"]))
        with attack.survived(self, running, 16 * MIB):
            silent = self.connect(running, 100)
            attack.eventually(self, "those beyond the limit are closed", lambda: 84 == sum(
                connection.closed() for connection in silent))
            self.assertEqual("soft", grpcurl.Client(running).get("HostService/GetHost")["backend"])
            for connection in silent:
                connection.close()
        self.assertEqual(84, attack.refused(running, "limit"))
        self.assertEqual(0, attack.refused(running, "resources"))

    def test_tcp_never_takes_the_places_of_the_unix_socket(self):
        running = self.start("--max_connections=16")
        with attack.survived(self, running, 16 * MIB):
            flood = self.connect(running, 14)
            for connection in flood:
                connection.start()
            attack.eventually(self, "TCP has its share", lambda: attack.connections(running) == 14)
            late = self.connect(running, 3)
            for connection in late:
                self.assertEqual([], connection.until_closed())
            self.assertEqual("soft", grpcurl.Client(running).get("HostService/GetHost")["backend"])
            self.assertEqual(3, attack.refused(running, "limit"))
            self.assertEqual(0, attack.refused(running, "limit", "unix"))
            self.assertEqual(["limit"], [event["reason"] for event in self.refusals(running)])
            for connection in flood:
                connection.close()

    def test_a_lack_of_files_passes(self):
        running = self.start()
        with attack.survived(self, running, 16 * MIB):
            before = resource.prlimit(running.pid, resource.RLIMIT_NOFILE)
            # Nothing can be opened but in the place of what is closed.
            lowest = self.lowest_free_file(running)
            resource.prlimit(running.pid, resource.RLIMIT_NOFILE, (lowest, before[1]))
            began, used = time.monotonic(), attack.cpu_seconds(running)
            for connection in self.connect(running, 50):
                self.assertEqual([], connection.until_closed())
            self.connect(running, 50)
            time.sleep(1)
            share = (attack.cpu_seconds(running) - used) / (time.monotonic() - began)
            self.assertLess(share, 0.5, "it does not spin")
            resource.prlimit(running.pid, resource.RLIMIT_NOFILE, before)
            began = time.monotonic()
            with http2.Connection(running) as connection:
                self.assertTrue(connection.start())
            took = time.monotonic() - began
            print(f"served {took * 1000:.0f} ms after the lack of files was over")
            self.assertLess(took, 15)
        self.assertGreaterEqual(attack.refused(running, "resources"), 50)
        (event,) = self.refusals(running)
        self.assertEqual(("resources", "Too many open files"), (event["reason"], event["error"]))

    def lowest_free_file(self, running):
        taken = {int(name) for name in os.listdir(f"/proc/{running.pid}/fd")}
        return next(number for number in range(len(taken) + 1) if number not in taken)

    def test_a_thousand_connections_opened_and_dropped(self):
        running = self.start()
        for unix in (False, True):
            with self.subTest(unix=unix), attack.survived(self, running, 32 * MIB):
                for i in range(1000):
                    with http2.Connection(running, unix=unix) as connection:
                        if i % 2:
                            connection.start()
        self.assertEqual([], self.refusals(running))

    def test_it_stops_in_time_while_connections_are_open(self):
        running = self.start("--drain_timeout_seconds=1")
        for unix in (False, True):
            for connection in self.connect(running, 20, unix=unix):
                connection.start()
        began = time.monotonic()
        self.assertEqual(0, running.stop())
        self.assertLess(time.monotonic() - began, 20)  # By default it would be half a minute.


class SilenceTest(AttackTest):
    """Who does not speak HTTP/2 in time is shut out, and who goes silent later as well."""

    def closed_after(self, running, *pieces, unix=False):
        """In how many seconds the daemon closes a connection that says this and no more."""
        began = time.monotonic()  # Before the daemon can begin to count.
        with http2.Connection(running, unix=unix) as connection:
            connection.send(*pieces)
            with contextlib.suppress(TimeoutError):
                connection.until_closed()
                return time.monotonic() - began
        raise AssertionError(f"it stays open after {pieces}")

    def test_a_handshake_that_is_not_finished_in_time(self):
        settings = http2.frame(http2.SETTINGS, payload=bytes(6))
        cases = [(what, said, unix) for unix in (False, True) for what, said in (
            ("nothing", b""), ("half a preface", http2.PREFACE[:10]), ("a preface", http2.PREFACE),
            ("half a frame's head", http2.PREFACE + settings[:4]),
            ("half a frame", http2.PREFACE + settings[:-3]))]
        # Longer than the default, so that it is seen to count.
        running = self.start("--handshake_timeout_ms=4000")
        with (attack.survived(self, running, 16 * MIB),
              concurrent.futures.ThreadPoolExecutor(len(cases)) as threads):
            taken = [threads.submit(self.closed_after, running, said, unix=unix)
                     for _, said, unix in cases]
            for (what, _, unix), took in zip(cases, taken):
                with self.subTest(what, unix=unix):
                    self.assertGreater(took.result(), 3.9)

    def test_bytes_that_are_no_http2(self):
        # Far longer than it takes to see that they are none.
        running = self.start("--handshake_timeout_ms=60000")
        with attack.survived(self, running, 16 * MIB):
            for what, said in (("TLS", client_hello()), ("garbage", os.urandom(1 << 16)),
                               ("HTTP/1.1", b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"),
                               ("zeros", bytes(1 << 16))):
                with self.subTest(what):
                    self.assertLess(self.closed_after(running, said), 30)

    def test_a_peer_that_goes_silent(self):
        headers = http2.frame(http2.HEADERS, http2.END_HEADERS, 1,
                              http2.call_headers("viommu.v1.HostService/GetHost"))
        data = http2.frame(http2.DATA, 0, 1, http2.message(bytes(100)))
        running = self.start("--keepalive_interval_ms=1000", "--keepalive_timeout_ms=500")
        with attack.survived(self, running, 16 * MIB):
            for what, said in (("after its settings", b""), ("in a call", headers),
                               ("in a frame", headers + data[:-50])):
                with self.subTest(what):
                    took = self.closed_after(running, http2.PREFACE, http2.frame(http2.SETTINGS),
                                             said)
                    self.assertGreater(took, 1.4, "it is asked first")
                    self.assertLess(took, 30)

    def test_a_flood_of_pings(self):
        running = self.start()
        with attack.survived(self, running, 16 * MIB):
            with http2.Connection(running) as connection:
                connection.start()
                connection.send(*[http2.frame(http2.PING, payload=bytes(8))] * 1000)
                goaway = connection.frame_of(http2.GOAWAY)
                self.assertEqual(http2.ENHANCE_YOUR_CALM, int.from_bytes(goaway[4:8], "big"))
                self.assertEqual(b"too_many_pings", goaway[8:])
                connection.until_closed()


if __name__ == "__main__":
    case_report.main()
