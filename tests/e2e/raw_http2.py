"""A gRPC client without manners: speaks just enough HTTP/2 to send messages and never read."""
import struct

from tests.e2e import http2

_INITIAL_WINDOW = 4
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
        self._socket = http2.unix_socket(daemon)
        self._received = b""
        self.trailers = b""  # All header blocks so far.
        self._socket.sendall(
            http2.PREFACE +
            http2.frame(http2.SETTINGS, payload=struct.pack(">HI", _INITIAL_WINDOW, 0)) +
            http2.frame(http2.HEADERS, http2.END_HEADERS, _STREAM, http2.call_headers(method)))
        self._stream_window = self._connection_window = 65535
        self._peer_initial = 65535

    def send(self, message, seconds):
        """Whether the message could be sent within so much waiting for each of its windows."""
        data = http2.message(message)
        while data:
            room = min(self._stream_window, self._connection_window, http2.MAX_FRAME, len(data))
            if room > 0:
                self._socket.settimeout(seconds)
                self._socket.sendall(http2.frame(http2.DATA, 0, _STREAM, data[:room]))
                self._stream_window -= room
                self._connection_window -= room
                data = data[room:]
            elif not self._take(seconds):
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
        self._socket.close()

    def _take(self, seconds):
        """Takes one frame; False: none came, or the connection is closed."""
        self._socket.settimeout(seconds)
        try:
            head = self._exactly(9)
            length = int.from_bytes(head[:3], "big")
            kind, flags, stream = struct.unpack(">BBI", head[3:])
            payload = self._exactly(length)
        except (TimeoutError, ConnectionError):
            return False
        if kind == http2.WINDOW_UPDATE:
            (more,) = struct.unpack(">I", payload)
            if stream == 0:
                self._connection_window += more
            else:
                self._stream_window += more
        elif kind == http2.SETTINGS and not flags & http2.ACK:
            for offset in range(0, length, 6):
                setting, value = struct.unpack_from(">HI", payload, offset)
                if setting == _INITIAL_WINDOW:
                    self._stream_window += value - self._peer_initial
                    self._peer_initial = value
            self._socket.sendall(http2.frame(http2.SETTINGS, http2.ACK))
        elif kind == http2.HEADERS:
            self.trailers += payload
        return True

    def _exactly(self, count):
        while len(self._received) < count:
            more = self._socket.recv(65536)
            if not more:
                raise ConnectionError("closed")
            self._received += more
        out, self._received = self._received[:count], self._received[count:]
        return out
