"""A NATS client that hides nothing.

It owns one blocking socket. It promises to show frames exactly as they came: no retries, no parsing of
payloads, no answers sent on its own but PONG to the server's PING. Waiting is always for an event: `flush`
sends PING and returns all that arrived before its PONG; `next_message` waits for one message.
"""

from __future__ import annotations

import json
import socket
from collections import deque
from typing import Any, NamedTuple

WAIT_SECONDS = 5.0


class Frame(NamedTuple):
    """One frame of the server. `headers` is the raw block, `status` only its first line's tail."""

    op: str
    subject: str = ""
    sid: str = ""
    reply: str = ""
    headers: bytes = b""
    payload: bytes = b""

    @property
    def status(self) -> str:
        return self.headers.split(b"\r\n", 1)[0].removeprefix(b"NATS/1.0").strip().decode("latin-1")


class ConnectionGone(Exception):
    """The server closed the connection; the frames before that are in `frames`."""


class Connection:
    """Lines and payloads of one socket.

    at_once: a write does not wait until the one before was acknowledged. Scenarios of streams lean on that pause, in
    which nats-server's queues (of acknowledgements, of batches) become empty.
    """

    def __init__(self, port: int, *, at_once: bool = False) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, at_once)
        self.buffer = bytearray()

    def close(self) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def _line(self) -> bytes:
        while (end := self.buffer.find(b"\r\n")) < 0:
            self._more()
        line = bytes(self.buffer[:end])
        del self.buffer[: end + 2]
        return line

    def _more(self) -> None:
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if not data:
            raise ConnectionGone
        self.buffer += data

    def _exactly(self, size: int) -> bytes:
        while len(self.buffer) < size + 2:
            self._more()
        data = bytes(self.buffer[:size])
        assert self.buffer[size : size + 2] == b"\r\n", "payload not ended by CRLF"
        del self.buffer[: size + 2]
        return data


class Client(Connection):
    """One connection; every option of CONNECT may be overridden."""

    inbox = "_INBOX.me"

    def __init__(self, port: int, *, at_once: bool = False, **connect_options: Any) -> None:
        super().__init__(port, at_once=at_once)
        self.held: deque[Frame] = deque()
        self.replies = 0
        self.next_sid = 2
        self.info = json.loads(self.read_frame().payload)
        options = {
            "verbose": False, "pedantic": False, "headers": True, "no_responders": True,
            "lang": "conformance", "version": "1", "protocol": 1, **connect_options,
        }
        self.send(b"CONNECT " + json.dumps(options).encode() + f"\r\nSUB {self.inbox}.* 1\r\n".encode())
        # The second INFO, sent after CONNECT, may come before or after the first PONG: not part of any record.
        self.flush()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def subscribe(self, subject: str, queue: str = "") -> str:
        sid, self.next_sid = str(self.next_sid), self.next_sid + 1
        self.send(f"SUB {subject} {queue} {sid}\r\n".encode())
        return sid

    def unsubscribe(self, sid: str, after: int | None = None) -> None:
        self.send(f"UNSUB {sid} {'' if after is None else after}\r\n".encode())

    def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: dict[str, str] | bytes | None = None
    ) -> None:
        if headers is None:
            self.send(f"PUB {subject} {reply} {len(payload)}\r\n".encode() + payload + b"\r\n")
            return
        block = headers if isinstance(headers, bytes) else header_block(headers)
        sizes = f"{len(block)} {len(block) + len(payload)}"
        self.send(f"HPUB {subject} {reply} {sizes}\r\n".encode() + block + payload + b"\r\n")

    def new_reply(self) -> str:
        """A reply subject covered by the inbox; numbered, so that two runs agree."""
        self.replies += 1
        return f"{self.inbox}.{self.replies}"

    def request(
        self, subject: str, payload: bytes = b"", headers: dict[str, str] | bytes | None = None
    ) -> Frame:
        """The first answer; frames that arrive before it are kept for `next_message` and `flush`."""
        reply = self.new_reply()
        self.publish(subject, payload, reply, headers)
        return self.next_message(reply)

    def next_message(self, subject: str | None = None, sid: str | None = None) -> Frame:
        """The next message (of that subject, of that subscription); others stay in order."""
        for index, frame in enumerate(self.held):
            if _wanted(frame, subject, sid):
                del self.held[index]
                return frame
        while True:
            frame = self.read_frame()
            if frame.op == "PING":
                self.send(b"PONG\r\n")
            elif _wanted(frame, subject, sid):
                return frame
            elif frame.op != "INFO":
                self.held.append(frame)

    def flush(self) -> list[Frame]:
        """All frames but INFO up to the PONG for a PING sent now, and those held before."""
        self.send(b"PING\r\n")
        frames = list(self.held)
        self.held.clear()
        while (frame := self.read_frame()).op != "PONG":
            if frame.op == "PING":
                self.send(b"PONG\r\n")
            elif frame.op != "INFO":
                frames.append(frame)
        return frames

    def until_closed(self) -> list[Frame]:
        frames = list(self.held)
        self.held.clear()
        try:
            while True:
                frames.append(self.read_frame())
        except ConnectionGone:
            return frames

    def read_frame(self) -> Frame:
        """The next frame, whatever it is."""
        line = self._line()
        word, _, rest = line.partition(b" ")
        op = word.decode().upper()
        if op not in ("MSG", "HMSG"):
            return Frame(op, payload=rest)
        words = rest.decode("utf-8", "surrogateescape").split()
        sizes = 1 if op == "MSG" else 2
        total = int(words[-1])
        header_size = int(words[-2]) if op == "HMSG" else 0
        reply = words[2] if len(words) == 3 + sizes else ""
        data = self._exactly(total)
        return Frame(op, words[0], words[1], reply, data[:header_size], data[header_size:])


def _wanted(frame: Frame, subject: str | None, sid: str | None) -> bool:
    if frame.op not in ("MSG", "HMSG"):
        return False
    if sid is not None and frame.sid != sid:
        return False
    if subject is None:
        return True
    # A delivered message keeps its stored subject, so a pull's answer is known only by the inbox's sid.
    return frame.subject == subject


def header_block(headers: dict[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return b"NATS/1.0\r\n" + lines.encode() + b"\r\n"
