"""Attacks by what is said on a connection: bombs, and more than the limits of HTTP/2 let through."""
import gzip
import unittest

from tests.e2e import attack
from tests.e2e import daemon
from tests.e2e import http2
from tools import case_report

GET_HOST = "viommu.v1.HostService/GetHost"
WATCH = "grpc.health.v1.Health/Watch"
MIB = 1 << 20
IN_KIB = 1 << 10  # A mebibyte, as memory is told.

UNIMPLEMENTED, INTERNAL, RESOURCE_EXHAUSTED = "12", "13", "8"


def open_call(stream, method, *headers):
    return http2.frame(http2.HEADERS, http2.END_HEADERS, stream,
                       http2.call_headers(method, *headers))


def in_frames(stream, data):
    """`data` as DATA frames that end the call."""
    pieces = [data[i:i + http2.MAX_FRAME] for i in range(0, len(data), http2.MAX_FRAME)]
    return b"".join(
        http2.frame(http2.DATA, http2.END_STREAM if i == len(pieces) - 1 else 0, stream, piece)
        for i, piece in enumerate(pieces))


class MessageAttackTest(unittest.TestCase):
    def start(self, *flags):
        self.daemon = self.enterContext(
            daemon.Daemon("--tcp_address=127.0.0.1:0", *flags, metrics=True))

    def connect(self):
        connection = self.enterContext(http2.Connection(self.daemon))
        connection.start()
        return connection

    def check_status(self, headers, code, text):
        """That a call ended with this status, whose fields are literals in its last headers."""
        self.assertIn(b"grpc-status" + bytes([len(code)]) + code.encode(), headers)
        self.assertIn(text, headers)

    def test_a_message_beyond_the_limit(self):
        self.start()
        for length, refused in ((4 * MIB, False), (4 * MIB + 1, True)):
            with self.subTest(length), attack.survived(self, self.daemon, 48 * IN_KIB):
                with self.connect() as connection:
                    connection.send(open_call(1, GET_HOST))
                    sent, ending = connection.send_message(1, length)
                    self.assertEqual(length, sent)
                    headers = b"".join(payload for _, payload in ending)
                    if refused:
                        self.check_status(headers, RESOURCE_EXHAUSTED, b"larger than max")
                    else:
                        self.assertNotIn(b"larger than max", headers)

    def test_a_message_without_end(self):
        self.start("--max_buffered_bytes=33554432")
        with attack.survived(self, self.daemon, 96 * IN_KIB), self.connect() as connection:
            connection.send(open_call(1, GET_HOST))
            sent, ending = connection.send_message(1, 1 << 30)
            self.assertLess(sent, 128 * MIB)
            kind, code = ending[-1]
            self.assertEqual((http2.RST_STREAM, http2.ENHANCE_YOUR_CALM),
                             (kind, int.from_bytes(code, "big")))

    def test_more_than_the_window(self):
        self.start()
        with attack.survived(self, self.daemon, 64 * IN_KIB), self.connect() as connection:
            connection.send(open_call(1, GET_HOST), http2.frame(
                http2.DATA, 0, 1, http2.message(b"", length=1 << 30)))
            mebibyte = http2.frame(http2.DATA, 0, 1, bytes(http2.MAX_FRAME)) * 64
            self.assertFalse(all(connection.send(mebibyte) for _ in range(1024)), "it hangs up")

    def test_metadata_beyond_the_limit(self):
        self.start("--max_metadata_bytes=2048")
        for size, refused in ((1500, False), (2100, True)):
            with self.subTest(size), attack.survived(self, self.daemon, 16 * IN_KIB):
                with self.connect() as connection:
                    connection.send(open_call(1, GET_HOST, ("x-filler", "a" * size)),
                                    in_frames(1, http2.message(b"")))
                    headers = connection.ended(1)
                    if refused:
                        self.check_status(headers, RESOURCE_EXHAUSTED, b"metadata size exceeds")
                    else:
                        self.assertNotIn(b"exceeds", headers)

    def test_headers_without_end(self):
        self.start()
        with attack.survived(self, self.daemon, 16 * IN_KIB), self.connect() as connection:
            connection.send(http2.frame(http2.HEADERS, 0, 1, http2.call_headers(GET_HOST)))
            more = b"".join(http2.frame(http2.CONTINUATION, 0, 1, http2.header_block(
                (f"x-{i}", "a" * 16000))) for i in range(64))
            self.assertFalse(all(connection.send(more) for _ in range(1024)), "it hangs up")

    def test_a_bomb_is_not_inflated(self):
        self.start()
        bomb = http2.message(gzip.compress(bytes(256 * MIB)), compressed=True)
        self.assertLess(len(bomb), MIB)
        with attack.survived(self, self.daemon, 16 * IN_KIB):
            for encoding in ("gzip", "deflate"):
                with self.subTest(encoding), self.connect() as connection:
                    connection.send(open_call(1, GET_HOST, ("grpc-encoding", encoding)),
                                    in_frames(1, bomb))
                    self.check_status(connection.ended(1), UNIMPLEMENTED,
                                      f"'{encoding}' is disabled".encode())
            with self.subTest("no encoding named"), self.connect() as connection:
                connection.send(open_call(1, GET_HOST), in_frames(1, bomb))
                self.check_status(connection.ended(1), INTERNAL, b"")

    def test_more_calls_than_one_connection_may_have(self):
        self.start("--max_streams_per_connection=8")
        with attack.survived(self, self.daemon, 16 * IN_KIB):
            connection = self.enterContext(http2.Connection(self.daemon))
            self.assertEqual(8, connection.start()[http2.MAX_CONCURRENT_STREAMS])
            for i in range(8):
                stream = 2 * i + 1
                connection.send(open_call(stream, WATCH), in_frames(stream, http2.message(b"")))
                self.assertIsNotNone(connection.frame_of(http2.HEADERS, stream))
            connection.send(open_call(17, WATCH))
            connection.until_closed()


if __name__ == "__main__":
    case_report.main()
