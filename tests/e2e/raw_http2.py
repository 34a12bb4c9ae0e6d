"""A gRPC client without manners: speaks just enough HTTP/2 to send messages and never read."""
import struct

from tests.e2e import http2

_STREAM = 1


def varint(value):
    out = b""
    while value > 0x7f:
        out += bytes([value & 0x7f | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number, payload):
    """A length-delimited protobuf field."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


class Call:
    """One streaming call on a connection of its own, whose server may send no message."""

    def __init__(self, daemon, method):
        self._connection = http2.Connection(daemon, unix=True)
        self.trailers = b""  # All header blocks so far.
        self._connection.send(
            http2.PREFACE,
            http2.frame(http2.SETTINGS, payload=struct.pack(">HL", http2.INITIAL_WINDOW, 0)),
            http2.frame(http2.HEADERS, http2.END_HEADERS, _STREAM, http2.call_headers(method)))

    def send(self, message, seconds):
        """Whether the message could be sent within so much waiting for each of its windows.

        After a message that could not, the call is in the midst of it and good for no other."""
        data = memoryview(http2.message(message))
        while data:
            data = data[self._connection.send_data(_STREAM, data):]
            if data and not self._take(seconds):
                return False
        return True

    def await_status(self, code, seconds):
        """Whether trailers with this grpc-status came; gRPC writes them uncompressed."""
        mark = b"\x0bgrpc-status" + bytes([len(str(code))]) + str(code).encode()
        while self._take(seconds):
            if mark in self.trailers:
                return True
        return False

    def close(self):
        self._connection.close()

    def _take(self, seconds):
        """Takes one frame; False: none came, or the connection is closed."""
        try:
            taken = self._connection.next_frame(seconds)
        except TimeoutError:
            return False
        if taken is None:
            return False
        kind, flags, _, payload = taken
        if kind == http2.SETTINGS and not flags & http2.ACK:
            self._connection.send(http2.frame(http2.SETTINGS, http2.ACK))
        elif kind == http2.HEADERS:
            self.trailers += payload
        return True
