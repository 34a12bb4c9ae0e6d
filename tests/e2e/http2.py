"""Speaks HTTP/2 by hand, so that a test can break its rules."""
import collections
import os
import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    0, 1, 3, 4, 6, 7, 8, 9)
ACK = END_STREAM = 1
END_HEADERS = 4
ENHANCE_YOUR_CALM = 11
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW = 3, 4  # Settings.
MAX_FRAME = 16384

_FRAME = struct.Struct(">BHBBL")  # Length in two parts, type, flags, stream.
_SETTING = struct.Struct(">HL")
_SECONDS = 60
_FIRST_WINDOW = 65535  # Of a connection, and of its streams until the peer's settings say more.


def frame(kind, flags=0, stream=0, payload=b""):
    return _FRAME.pack(len(payload) >> 16, len(payload) & 0xffff, kind, flags, stream) + payload


def header_block(*fields):
    """HPACK without its tables: every field is a literal that is not to be remembered."""
    def text(value):
        value = value if isinstance(value, bytes) else value.encode()
        if len(value) < 127:
            return bytes([len(value)]) + value
        length, rest = b"\x7f", len(value) - 127
        while rest >= 128:
            length, rest = length + bytes([rest % 128 + 128]), rest // 128
        return length + bytes([rest]) + value

    return b"".join(b"\x00" + text(name) + text(value) for name, value in fields)


def call_headers(method, *more):
    return header_block((":method", "POST"), (":scheme", "http"), (":path", f"/{method}"),
                        (":authority", "test"), ("content-type", "application/grpc"),
                        ("te", "trailers"), *more)


def message(payload, compressed=False, length=None):
    """A message as gRPC frames it; `length` may claim another one."""
    return struct.pack(">BL", compressed, len(payload) if length is None else length) + payload


def unix_socket(daemon):
    """Connected to the daemon's."""
    # The path of the folder may be too long for a socket; that of a descriptor is not.
    folder = os.open(os.path.dirname(daemon.socket), os.O_PATH)
    connected = socket.socket(socket.AF_UNIX)
    try:
        connected.connect(f"/proc/self/fd/{folder}/{os.path.basename(daemon.socket)}")
    finally:
        os.close(folder)
    return connected


class _Windows:
    """How many bytes of data the peer lets us send, by its settings and window updates."""

    def __init__(self):
        self._stream_size = _FIRST_WINDOW
        self._granted = collections.Counter()  # By stream, beyond the first; 0: the connection.

    def room(self, stream):
        return min(_FIRST_WINDOW + self._granted[0], self._stream_size + self._granted[stream])

    def use(self, stream, size):
        self._granted[0] -= size
        self._granted[stream] -= size

    def heed(self, kind, flags, stream, payload):
        if kind == WINDOW_UPDATE:
            self._granted[stream] += int.from_bytes(payload, "big")
        elif kind == SETTINGS and not flags & ACK:
            for number, value in _SETTING.iter_unpack(payload):
                if number == INITIAL_WINDOW:
                    self._stream_size = value  # Of streams that are open as well.


class Connection:
    """One connection to a daemon, over TCP or its unix socket. Use it in a `with` statement."""

    def __init__(self, daemon, unix=False):
        if unix:
            self._socket = unix_socket(daemon)
        else:
            host, port = daemon.endpoints["tcp_address"].rsplit(":", 1)
            self._socket = socket.create_connection((host, int(port)))
        self._socket.settimeout(_SECONDS)
        self._received = bytearray()  # The beginning of the next frame.
        self._windows = _Windows()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._socket.close()

    def send(self, *pieces):
        """Sends all of it, or false when the daemon has closed the connection."""
        try:
            self._socket.sendall(b"".join(pieces))
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def start(self):
        """Exchanges settings: those of the daemon, by number. None: it has hung up."""
        self.send(PREFACE, frame(SETTINGS))
        settings = self.frame_of(SETTINGS)
        # Only what was acknowledged binds: sent too early, it would acknowledge nothing.
        self.send(frame(SETTINGS, ACK))
        return settings and {number: value for number, value in _SETTING.iter_unpack(settings)}

    def next_frame(self, seconds=_SECONDS):
        """(kind, flags, stream, payload) of the next frame, or None at the connection's end.

        Raises TimeoutError in a silence of so many seconds; what has come of a frame by then is
        kept for the next time."""
        if not self._receive(_FRAME.size, seconds):
            return None
        high, low, kind, flags, stream = _FRAME.unpack_from(self._received)
        size = _FRAME.size + (high << 16 | low)
        if not self._receive(size, seconds):
            return None
        payload = bytes(self._received[_FRAME.size:size])
        del self._received[:size]
        self._windows.heed(kind, flags, stream, payload)
        return kind, flags, stream, payload

    def _receive(self, size, seconds):
        """Whether so many bytes have been received and not been taken; no: the connection ended."""
        self._socket.settimeout(seconds)
        try:
            while len(self._received) < size:
                try:
                    more = self._socket.recv(size - len(self._received))
                except ConnectionResetError:
                    return False
                if not more:
                    return False
                self._received += more
        finally:
            self._socket.settimeout(_SECONDS)
        return True

    def frames(self):
        """(kind, flags, stream, payload) of each frame until the connection ends."""
        while (taken := self.next_frame()) is not None:
            yield taken

    def until_closed(self):
        """The frames that come before the daemon closes the connection."""
        return list(self.frames())

    def frame_of(self, wanted, stream=0):
        """The payload of the next frame of this kind and stream; None: the connection ended."""
        for kind, _, number, payload in self.frames():
            if (kind, number) == (wanted, stream):
                return payload
        return None

    def ends(self, calls):
        """The last header block of each of so many calls; fewer when the connection ends before."""
        blocks = []
        for kind, flags, _, payload in self.frames():
            if kind == HEADERS and flags & END_STREAM:
                blocks.append(payload)
                if len(blocks) == calls:
                    break
        return blocks

    def ended(self, stream):
        """All headers and trailers of a call as bytes, when it is over; b"" where it was reset."""
        blocks = b""
        for kind, flags, number, payload in self.frames():
            if number != stream:
                continue
            if kind == HEADERS:
                blocks += payload
                if flags & END_STREAM:
                    return blocks
            elif kind == RST_STREAM:
                return b""
        return None

    def send_message(self, stream, length):
        """Sends one message of so many zeros, as far as the daemon's windows let; ends the call.

        Returns how many bytes went, and the frames that ended it: headers or resets."""
        head, sent, ending = message(b"", length=length), 0, []
        for kind, flags, number, payload in self.frames():
            if kind == PING and not flags & ACK:
                self.send(frame(PING, ACK, 0, payload))
            elif kind == SETTINGS and not flags & ACK:
                # The daemon changes its windows when memory is short. Until this it goes by those
                # before: who filled a larger one without a word would break the rules.
                self.send(frame(SETTINGS, ACK))
            elif number == stream and kind in (HEADERS, RST_STREAM):
                ending.append((kind, payload))
                if kind == RST_STREAM or flags & END_STREAM:
                    break
            while sent < length and self._windows.room(stream) >= MAX_FRAME:
                piece = (head + bytes(min(MAX_FRAME - len(head), length - sent)))
                sent += len(piece) - len(head)
                head = b""
                self._send_frame(stream, piece, END_STREAM if sent == length else 0)
        return sent, ending

    def send_data(self, stream, data):
        """Sends as much of it as the daemon's windows have room for: how many bytes went."""
        sent = 0
        while sent < len(data) and (room := self._windows.room(stream)) > 0:
            piece = data[sent:sent + min(room, MAX_FRAME)]
            if not self._send_frame(stream, piece):
                break
            sent += len(piece)
        return sent

    def _send_frame(self, stream, data, flags=0):
        self._windows.use(stream, len(data))
        return self.send(frame(DATA, flags, stream, data))

    def closed(self):
        """Whether the daemon has closed it by now."""
        self._socket.setblocking(False)
        try:
            return self._socket.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True
        finally:
            self._socket.settimeout(_SECONDS)
