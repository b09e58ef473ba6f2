"""Raw connections for scenarios of the core protocol: bytes in, and a record of exactly the bytes that came out.

A connection is read up to the PONG that answers a PING sent behind the bytes under test, or to its end.
Nothing waits for a time; what must *not* come is shown by the PONG that comes without it.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
from collections.abc import Iterable
from typing import NamedTuple

from .compare import show_payload
from .core_target import CoreTarget

WAIT_SECONDS = 10.0
HIDDEN_INFO = {"git_commit", "xkey"}


class Message(NamedTuple):
    subject: str
    head: bytes
    """Its header block."""
    body: bytes


class Raw:
    """One socket. `info` is the first INFO; its line has been read."""

    def __init__(self, record: CoreRecord, first: bytes, receive_bytes: int) -> None:
        self.record = record
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.settimeout(WAIT_SECONDS)
        if receive_bytes:  # only before connecting does it bound what the peer may send ahead
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.connect(("127.0.0.1", record.target.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.info_line = self.line()
        self.info = json.loads(self.info_line[5:])
        self.cid = int(self.info["client_id"])
        if first:
            self.send(first)

    def send(self, data: bytes) -> None:
        # The server may have hung up already; what it said before is still there to be read.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def send_pieces(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            self.send(piece)

    def line(self) -> bytes:
        """One line with its end; b"" when the connection is over."""
        while b"\n" not in self.buffer:
            if not self._more():
                return b""
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line + b"\n"

    def exactly(self, size: int) -> bytes:
        while len(self.buffer) < size and self._more():
            pass
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def message(self) -> Message:
        """The next one; other frames before it are passed over."""
        line = b""
        while not line.startswith((b"MSG ", b"HMSG ")):
            line = self.line()
            assert line, "the server hung up"
        words = line.split()
        head = int(words[-2]) if words[0] == b"HMSG" else 0
        payload = self.exactly(int(words[-1]) + 2)[:-2]
        return Message(words[1].decode(), payload[:head], payload[head:])

    def _more(self) -> bool:
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionResetError:
            return False
        self.buffer += data
        return bool(data)

    def until_pong(self) -> tuple[list[bytes], bool]:
        """Frames up to the next PONG, which is left out, and whether the connection is still open."""
        frames: list[bytes] = []
        while line := self.line():
            if line == b"PONG\r\n":
                return frames, True
            size = line.split()[-1:]
            if line.startswith((b"MSG ", b"HMSG ")) and size[0].isdigit():
                line += self.exactly(int(size[0]) + 2)
            frames.append(line)
        return frames, False

    def until_pong_of(self, data: bytes) -> list[bytes]:
        """Frames up to the PONG of a PING behind `data`."""
        self.send(data + b"PING\r\n")
        return self.until_pong()[0]

    def until_closed(self) -> bytes:
        while self._more():
            pass
        data, self.buffer = self.buffer, b""
        return data

    def close(self) -> None:
        self.socket.close()


class CoreRecord:
    """One scenario's run on one server."""

    def __init__(self, target: CoreTarget) -> None:
        self.target = target
        self.lines: list[str] = []
        self._open: list[Raw] = []

    def note(self, text: str) -> None:
        self.lines.append(text)

    def result(self) -> list[str]:
        return self.lines

    def open(self, first: bytes = b"", *, receive_bytes: int = 0) -> Raw:
        raw = Raw(self, first, receive_bytes)
        self._open.append(raw)
        return raw

    def close(self) -> None:
        for raw in self._open:
            raw.close()

    # --- exchanges that are recorded ---

    def say(self, raw: Raw, data: bytes, *, label: str | None = None, ordered: bool = True) -> list[bytes]:
        """Sends `data` and PING in one piece; records what comes before the PONG, or before the end."""
        raw.send(data + b"PING\r\n")
        return self.heard(raw, label or short(data), ordered=ordered)

    def heard(self, raw: Raw, label: str, *, ordered: bool = True) -> list[bytes]:
        frames, is_open = raw.until_pong()
        shown = [show(frame) for frame in frames]
        self.note(f"{label} -> {shown if ordered else sorted(shown)} {'open' if is_open else 'closed'}")
        return frames

    def heard_so_far(self, raw: Raw) -> list[bytes]:
        """What this connection received from others: all that was published before this call."""
        return self.say(raw, b"", label="heard", ordered=False)

    def heard_end(self, raw: Raw) -> None:
        """Records all that comes until the server hangs up, and the reason it gives."""
        heard = raw.until_closed()
        self.note(f"{show(heard)} because {self.target.closed_reason(raw.cid)}")

    def fatal(self, raw: Raw, data: bytes, *, label: str | None = None) -> bytes:
        """Sends `data`; records all that comes until the server hangs up, and the reason it gives."""
        raw.send(data)
        heard = raw.until_closed()
        self.note(f"{label or short(data)} -> {show(heard)} because {self.target.closed_reason(raw.cid)}")
        return heard


def short(data: bytes) -> str:
    return repr(data) if len(data) < 120 else f"{data[:100]!r}... {len(data)} bytes"


def show(frame: bytes) -> str:
    """Bytes as they are; an INFO line, which has scenarios of its own, only by its kind."""
    return repr(re.sub(rb"INFO {.*}( ?)\r\n", lambda match: b"<INFO>" + match[1], frame))


def show_info(line: bytes) -> str:
    """An INFO line without what belongs to one run."""
    info = json.loads(line[5:])
    for name in HIDDEN_INFO & set(info):
        info[name] = f"<{type(info[name]).__name__} of {len(info[name]) if name == 'xkey' else 'any'}>"
    return f"{line[:5]!r} {show_payload(json.dumps(info).encode())} {line[-4:]!r}"
