"""A gRPC client without manners: speaks just enough HTTP/2 to send messages and never read."""
import os
import socket
import struct

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS, _WINDOW_UPDATE = 0, 1, 4, 8
_END_HEADERS, _ACK = 4, 1
_INITIAL_WINDOW = 4
_STREAM = 1
_MAX_FRAME = 16384


def varint(value):
    out = b""
    while value > 0x7f:
        out += bytes([value & 0x7f | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number, payload):
    """A length-delimited protobuf field."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def _frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _header(name, value):
    # Literal, not indexed, not compressed (RFC 7541, 6.2.2); both are shorter than 127 bytes.
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


class Call:
    """One streaming call on a connection of its own, whose server may send no message."""

    def __init__(self, daemon, path):
        # By a short name: the absolute path may be too long for a socket.
        folder = os.open(os.path.dirname(daemon.socket), os.O_PATH)
        try:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(f"/proc/self/fd/{folder}/{os.path.basename(daemon.socket)}")
        finally:
            os.close(folder)
        self._received = b""
        self.trailers = b""  # All header blocks so far.
        headers = b"".join(_header(name, value) for name, value in (
            (b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"localhost"),
            (b":path", path.encode()), (b"te", b"trailers"),
            (b"content-type", b"application/grpc")))
        self._socket.sendall(
            _PREFACE + _frame(_SETTINGS, 0, 0, struct.pack(">HI", _INITIAL_WINDOW, 0)) +
            _frame(_HEADERS, _END_HEADERS, _STREAM, headers))
        self._stream_window = self._connection_window = 65535
        self._peer_initial = 65535

    def send(self, message, seconds):
        """Whether the message could be sent within so much waiting for each of its windows."""
        data = b"\0" + struct.pack(">I", len(message)) + message
        while data:
            room = min(self._stream_window, self._connection_window, _MAX_FRAME, len(data))
            if room > 0:
                self._socket.settimeout(seconds)
                self._socket.sendall(_frame(_DATA, 0, _STREAM, data[:room]))
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
        if kind == _WINDOW_UPDATE:
            (more,) = struct.unpack(">I", payload)
            if stream == 0:
                self._connection_window += more
            else:
                self._stream_window += more
        elif kind == _SETTINGS and not flags & _ACK:
            for offset in range(0, length, 6):
                setting, value = struct.unpack_from(">HI", payload, offset)
                if setting == _INITIAL_WINDOW:
                    self._stream_window += value - self._peer_initial
                    self._peer_initial = value
            self._socket.sendall(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _HEADERS:
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
