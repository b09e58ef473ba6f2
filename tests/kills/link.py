"""One connection to a server under test, without an event loop: a socket, frames made beforehand, one handler.

Everything is sent without waiting and handed out by its reply as it comes. When the server dies, everything that had
arrived is handed out first; then `Gone` is raised.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Callable
from typing import Any, Final

CONNECT: Final = b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"protocol":1}\r\n'
INBOX: Final = b"_INBOX.k."
READ_BYTES: Final = 1 << 18
WAIT_S: Final = 60.0
"""A server that says nothing for so long hangs."""

SCARCE: Final = b'"err_code":10023,'
"""What publishes, and some requests, are answered while memory is scarce: they have done nothing."""

Handler = Callable[[bytes, bytes, bytes, bytes], None]
"""(what follows INBOX in the subject, reply, header block, payload)."""


class Gone(Exception):
    """The server has died."""


class Hangs(AssertionError):
    """The server does not answer."""


class Link:
    """`handler` gets every message that nobody waits for in `ask`."""

    def __init__(self, port: int, handler: Handler) -> None:
        self.handler = handler
        self._in = b""
        self._out: list[bytes] = []
        self._asked = 0
        self._answers: dict[bytes, bytes | None] = {}
        try:
            self._socket = socket.create_connection(("127.0.0.1", port), WAIT_S)
        except OSError:
            raise Gone from None
        self._socket.setblocking(False)
        self.send(CONNECT + b"SUB " + INBOX + b"> 1\r\n")

    def send(self, data: bytes) -> None:
        self._out.append(data)

    def publish(self, subject: bytes, payload: bytes, tail: bytes = b"", headers: bytes = b"") -> None:
        """`tail`: where the answer goes, behind INBOX; `headers`: lines, each with its CRLF."""
        self._out.append(frame(subject, payload, tail, headers))

    def close(self) -> None:
        self._socket.close()

    def ask(self, subject: bytes, body: bytes = b"") -> bytes:
        """The first answer; others are handed out meanwhile. Raises Gone, Hangs."""
        self._asked += 1
        tail = b"ask.%d" % self._asked
        self._answers[tail] = None
        self.publish(subject, body, tail)
        while self._answers[tail] is None:
            self.turn()
        answer = self._answers.pop(tail)
        assert answer is not None
        return answer

    def api(self, subject: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """A request of the JetStream API; its answer may have an "error"."""
        asked = b"" if body is None else json.dumps(body).encode()
        answer: dict[str, Any] = json.loads(self.ask(b"$JS.API." + subject.encode(), asked))
        return answer

    def turn(self, wait_s: float = WAIT_S) -> None:
        """Sends what waits, takes what has come; waits for it, at most so long. Raises Gone; Hangs after WAIT_S."""
        if self._out:
            self._send()
        readable, writable, _ = select.select([self._socket], [self._socket] if self._out else [], [], wait_s)
        if readable:
            self._receive()
        elif not writable and wait_s == WAIT_S:
            raise Hangs(f"no answer for {WAIT_S:g} s")

    def _send(self) -> None:
        data = b"".join(self._out)
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = len(data)                       # it is dead: what it had sent comes first
        self._out = [data[sent:]] if sent < len(data) else []

    def _receive(self) -> None:
        try:
            data = self._socket.recv(READ_BYTES)
        except OSError:
            data = b""
        if not data:
            raise Gone
        self._take(data)

    def until(self, done: Callable[[], bool]) -> None:
        while not done():
            self.turn()

    def until_quiet(self, seconds: float) -> None:
        """Takes what comes for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.turn(left)

    def _take(self, data: bytes) -> None:
        buffer, at = self._in + data if self._in else data, 0
        self._in = b""
        try:
            while (end := buffer.find(b"\r\n", at)) >= 0:
                line = buffer[at:end]
                begin = end + 2
                if line.startswith((b"MSG ", b"HMSG ")):
                    words = line.split(b" ")
                    begin += int(words[-1])
                    if len(buffer) < begin + 2:
                        return
                    at = begin + 2
                    self._message(words, buffer[end + 2 : begin])
                    continue
                at = begin
                if line == b"PING":
                    self.send(b"PONG\r\n")
                else:
                    assert line.startswith((b"INFO ", b"PONG")), line
        finally:
            self._in = buffer[at:]

    def _message(self, words: list[bytes], body: bytes) -> None:
        plain = words[0] == b"MSG"
        headers = b""
        if not plain:
            size = int(words[-2])
            headers, body = body[:size], body[size:]
        reply = words[3] if len(words) == (5 if plain else 6) else b""
        tail = words[1].removeprefix(INBOX)
        if tail in self._answers:
            self._answers[tail] = body
        else:
            self.handler(tail, reply, headers, body)


def frame(subject: bytes, payload: bytes, tail: bytes = b"", headers: bytes = b"") -> bytes:
    """A publish, as it is sent."""
    reply = INBOX + tail if tail else b""
    if not headers:
        return b"PUB %b %b %d\r\n%b\r\n" % (subject, reply, len(payload), payload)
    block = b"NATS/1.0\r\n" + headers + b"\r\n"
    return b"HPUB %b %b %d %d\r\n%b%b\r\n" % (subject, reply, len(block), len(block) + len(payload), block, payload)
