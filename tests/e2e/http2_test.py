"""The tests' own HTTP/2: what comes in pieces, and late, is neither lost nor counted twice."""
import collections
import os
import socket
import struct
import threading
import unittest

from tests.e2e import daemon
from tests.e2e import http2
from tests.e2e import raw_http2
from tools import case_report

SOON = 0.05
Peer = collections.namedtuple("Peer", "socket")  # As much of a daemon as a client needs.


def window_update(stream, size):
    return http2.frame(http2.WINDOW_UPDATE, 0, stream, struct.pack(">L", size))


class Http2Test(unittest.TestCase):
    def setUp(self):
        self.peer = Peer(os.path.join(daemon.new_folder(), "s"))
        self.listening = self.enterContext(socket.socket(socket.AF_UNIX))
        folder = os.open(os.path.dirname(self.peer.socket), os.O_PATH)
        self.addCleanup(os.close, folder)
        self.listening.bind(f"/proc/self/fd/{folder}/s")
        self.listening.listen()
        self.received = bytearray()  # By the far end.

    def connect(self):
        connection = self.enterContext(http2.Connection(self.peer, unix=True))
        return connection, self.accept()

    def accept(self):
        """The far end, where everything is read as it comes: only windows hold us up."""
        far = self.enterContext(self.listening.accept()[0])

        def read():
            while data := far.recv(1 << 16):
                self.received += data

        self.reading = threading.Thread(target=read, daemon=True)
        self.reading.start()
        return far

    def test_a_frame_that_comes_in_pieces_survives_every_silence(self):
        connection, far = self.connect()
        sent = http2.frame(http2.PING, http2.ACK, 0, b"12345678")
        for piece in (sent[:4], sent[4:9], sent[9:12]):
            far.sendall(piece)
            with self.assertRaises(TimeoutError):
                connection.next_frame(SOON)
        far.sendall(sent[12:] + sent)
        for _ in range(2):
            self.assertEqual((http2.PING, http2.ACK, 0, b"12345678"), connection.next_frame())
        far.shutdown(socket.SHUT_WR)
        self.assertIsNone(connection.next_frame())

    def test_no_more_is_sent_than_the_windows_let(self):
        connection, far = self.connect()
        data = bytes(1 << 20)
        self.assertEqual(65535, connection.send_data(1, data))
        self.assertEqual(0, connection.send_data(1, data))
        for said, more in (
                (window_update(0, 1000), 0),
                (window_update(1, 300), 300),
                # Of streams that are open as well.
                (http2.frame(http2.SETTINGS, payload=struct.pack(
                    ">HL", http2.INITIAL_WINDOW, 65535 + 500)), 500),
                (window_update(1, 1000), 200)):
            far.sendall(said)
            connection.next_frame()
            self.assertEqual(more, connection.send_data(1, data))

    def test_a_change_of_the_windows_is_acknowledged_before_it_is_used(self):
        connection, far = self.connect()
        far.sendall(http2.frame(http2.SETTINGS, payload=struct.pack(
            ">HL", http2.INITIAL_WINDOW, 1 << 20)) + window_update(0, 1 << 20) +
                    http2.frame(http2.RST_STREAM, 0, 1, struct.pack(">L", 0)))
        sent, _ = connection.send_message(1, 1 << 30)
        self.assertGreater(sent, 65535)
        connection.close()
        self.reading.join()
        self.assertTrue(self.received.startswith(http2.frame(http2.SETTINGS, http2.ACK)))

    def test_a_call_says_when_a_message_got_stuck(self):
        call = raw_http2.Call(self.peer, "x.Service/Method")
        self.addCleanup(call.close)
        far = self.accept()
        self.assertTrue(call.send(bytes(60000), SOON))
        self.assertFalse(call.send(bytes(60000), SOON))
        far.sendall(http2.frame(http2.HEADERS, http2.END_HEADERS | http2.END_STREAM, 1,
                                http2.header_block(("grpc-status", "8"))))
        self.assertTrue(call.await_status(8, 10))


if __name__ == "__main__":
    case_report.main()
