"""A small HTTP/1 server for monitoring pages, on the asyncio loop that runs the server.

It serves documents, not applications: one request, one whole answer, no uploads, no streaming. h11 reads
the requests, one reader for each; what is bounded here is everything a peer could make us hold or wait for:

    waiting for a request ────> answering ────> written ────> waiting again (keep-alive), or closed
    HTTP_IDLE_S; READ_HEAD_S    reading is      HTTP_WRITE_S
    once it began, or at first  paused

Connections above HTTP_CONNECTIONS_MAX get 503. A request that breaks a bound gets the status that says so and
the connection is closed. Errors of the protocol are answered in the words of Go's HTTP server.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import h11
import msgspec

from millpond.base import limits
from millpond.base.http_date import http_date
from millpond.transport.binding import EVERY_ADDRESS, bound

log = logging.getLogger("millpond")

REASONS: Final = {
    200: "OK",
    307: "Temporary Redirect",
    400: "Bad Request",
    404: "Not Found",
    413: "Request Entity Too Large",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}
PLAIN: Final = "text/plain; charset=utf-8"
PART_BYTES: Final = 256 * 1024
"""Of a body, at a time: nothing more is given to the transport, which copies it, before these have left."""
ESCAPED_PATH: Final = re.compile(r"(?:[^%]|%[0-9a-fA-F]{2})*")


class Request(msgspec.Struct, frozen=True):
    """What was asked for. `path` has its percent escapes resolved, `query` has not."""

    method: str
    path: str
    query: str


class Answer(msgspec.Struct, frozen=True):
    """A whole answer. The type of the content, the date and the framing are written for it."""

    body: bytes | list[bytes]
    """A list is one of parts, and is emptied."""
    status: int = 200
    content_type: str = PLAIN
    headers: tuple[tuple[str, str], ...] = ()


Handler = Callable[[Request], Awaitable[Answer]]
Wrap = Callable[[asyncio.Protocol, set[Any]], asyncio.Protocol]


class HttpServer:
    """Listens, and owns its connections until `close`."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.connections: set[HttpConnection] = set()
        self.fronts: set[Any] = set()
        """Of those in `wrap`."""
        self.wrap: Wrap | None = None
        """Puts something (TLS) between a connection and its socket."""
        self._listener: asyncio.Server | None = None

    async def listen(self, host: str, port: int) -> int:
        """Bind; -1 or 0 is any free port. Returns the port. Raises OSError."""
        loop = asyncio.get_running_loop()
        if host in EVERY_ADDRESS:
            self._listener = await loop.create_server(self._connection, sock=bound(host, port))
        else:
            self._listener = await loop.create_server(self._connection, host, max(port, 0))
        return int(self._listener.sockets[0].getsockname()[1])

    def _connection(self) -> asyncio.Protocol:
        made = HttpConnection(self)
        return made if self.wrap is None else self.wrap(made, self.fronts)

    def close(self) -> None:
        """Stop listening and cut what is open."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for connection in [*self.connections, *self.fronts]:
            connection.abort()


class HttpConnection(asyncio.Protocol):
    """One peer. One request is answered at a time; what follows it waits in the kernel."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.HTTP_HEAD_BYTES_MAX)
        self._request: h11.Request | None = None
        self._body_bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._blocked = False
        self._rest: deque[bytes] = deque()
        self._began = False
        self._ending = False

    # --- asyncio's side ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(0)
        if len(self._server.connections) >= limits.HTTP_CONNECTIONS_MAX:
            log.warning("monitoring: %d connections are open, another one is refused", limits.HTTP_CONNECTIONS_MAX)
            self._refuse(503)
            return
        self._server.connections.add(self)
        self._deadline(limits.HTTP_READ_HEAD_S)

    def connection_lost(self, error: Exception | None) -> None:
        self._server.connections.discard(self)
        self._ending = True
        self._deadline(None)
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        if not self._ending:
            self._parser.receive_data(data)
            self._advance()

    def eof_received(self) -> bool:
        """The peer has nothing more to ask; an answer that is under way still goes out."""
        if not self._ending:
            self._parser.receive_data(b"")
            self._advance()
        return True

    def pause_writing(self) -> None:
        self._blocked = True

    def resume_writing(self) -> None:
        """Goes on in the next round: a transport of asyncio's that is closed in this call ends twice."""
        self._blocked = False
        asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        if self._blocked:
            return
        if not self._ending:
            self._write_rest()
            if self._blocked or self._rest:
                return
        if self._ending:
            self._end()
        elif self._task is None:
            self._next()

    def abort(self) -> None:
        """Cut the connection now."""
        self._ending = True
        self._transport.abort()

    # --- the states ---

    def _advance(self) -> None:
        """Take events until a request is whole, or more bytes are needed."""
        while self._task is None and not self._ending:
            try:
                event = self._parser.next_event()
            except h11.RemoteProtocolError as error:
                self._refuse(*_judged(error))
                return
            if event is h11.NEED_DATA:
                if self._parser.trailing_data[0] and not self._began:
                    self._began = True
                    self._deadline(limits.HTTP_READ_HEAD_S)
                return
            if isinstance(event, h11.Request):
                self._head(event)
            elif isinstance(event, h11.Data):
                self._body_bytes += len(event.data)
                if self._body_bytes > limits.HTTP_BODY_BYTES_MAX:
                    self._refuse(413)
            elif isinstance(event, h11.EndOfMessage):
                self._answer()
            else:
                self._end()

    def _head(self, request: h11.Request) -> None:
        if request.http_version not in (b"1.0", b"1.1"):
            self._refuse(505, f"{REASONS[505]}: unsupported protocol version")
        elif len(request.headers) > limits.HTTP_HEADERS_MAX:
            self._refuse(431)
        else:
            self._request, self._body_bytes = request, 0

    def _answer(self) -> None:
        assert self._request is not None
        self._deadline(None)
        self._transport.pause_reading()
        self._task = asyncio.get_running_loop().create_task(self._handle(self._request))

    async def _handle(self, asked: h11.Request) -> None:
        method, target = asked.method.decode("latin-1"), asked.target.decode("latin-1")
        request = parse_target(method, target)
        try:
            answer = await self._server.handler(request) if request else None
        except Exception:
            log.exception("monitoring: %s %s failed", method, target)
            answer = Answer(b"internal error: the server's log says more\n", 500)
        self._task = None
        if self._ending:
            return
        if answer is None:
            self._refuse(400)
            return
        head = answer_head(asked, answer)
        parts = answer.body if isinstance(answer.body, list) else _cut(answer.body)
        if asked.method == b"HEAD":
            parts.clear()
        if parts and len(parts[0]) < PART_BYTES:
            head += parts.pop(0)                # one packet
        self._rest = deque(parts)
        parts.clear()
        self._transport.write(head)
        self._write_rest()
        if self._blocked or self._rest:
            self._deadline(limits.HTTP_WRITE_S)
        else:
            self._next()

    def _write_rest(self) -> None:
        """A part; the next one when that has left, not before the next round."""
        if self._rest and not self._blocked:
            self._transport.write(self._rest.popleft())
        if self._rest and not self._blocked:
            asyncio.get_running_loop().call_soon(self._go_on)

    def _next(self) -> None:
        """The answer is out: another request, or the end."""
        rest, at_end = self._parser.trailing_data
        if self._request is None or at_end or not _stays(self._request):
            self._end()
            return
        self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.HTTP_HEAD_BYTES_MAX)
        self._request, self._began = None, False
        self._deadline(limits.HTTP_IDLE_S)
        self._transport.resume_reading()
        if rest:
            self._parser.receive_data(rest)
            self._advance()

    def _refuse(self, status: int, words: str = "") -> None:
        """An answer to what is no request; then the end."""
        said = f"{status} {words or REASONS[status]}"
        head = f"HTTP/1.1 {said}\r\nContent-Type: {PLAIN}\r\nConnection: close\r\n\r\n"
        self._transport.write((head + said).encode())
        self._end()

    def _end(self) -> None:
        """Close when what was written has left."""
        self._ending = True
        self._deadline(limits.HTTP_WRITE_S if self._blocked else None)
        if not self._blocked:
            self._transport.close()

    def _deadline(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self.abort)


def _judged(error: h11.RemoteProtocolError) -> tuple[int, str]:
    """Status and words for what h11 could not read."""
    if error.error_status_hint == 431:
        return 431, ""
    if "Host" in str(error):
        return 400, f"{REASONS[400]}: missing required Host header"
    return 400, ""


def _stays(asked: h11.Request) -> bool:
    """Whether the peer wants the connection kept: in HTTP/1.0 only when it says so."""
    words = b",".join(value for name, value in asked.headers if name == b"connection").lower()
    return b"keep-alive" in words if asked.http_version == b"1.0" else b"close" not in words


def parse_target(method: str, target: str) -> Request | None:
    """A request line's target, absolute or not. None: a percent escape in the path is none."""
    if "://" in target:
        target = "/" + target.split("://", 1)[1].partition("/")[2]
    path, _, query = target.partition("#")[0].partition("?")
    if not ESCAPED_PATH.fullmatch(path):
        return None
    return Request(method, unquote_to_bytes(path).decode("utf-8", "replace"), query)


def _cut(body: bytes) -> list[bytes]:
    return [body[at : at + PART_BYTES] for at in range(0, len(body), PART_BYTES)]


def _size(body: bytes | list[bytes]) -> int:
    return sum(map(len, body)) if isinstance(body, list) else len(body)


def answer_head(asked: h11.Request, answer: Answer) -> bytes:
    """What goes out before the body."""
    version = asked.http_version.decode()
    headers = [
        *answer.headers,
        ("Content-Type", answer.content_type),
        ("Date", http_date(time.gmtime())),
        ("Content-Length", str(_size(answer.body))),
    ]
    if not _stays(asked) and version == "1.1":
        headers.append(("Connection", "close"))
    elif _stays(asked) and version == "1.0":
        headers.append(("Connection", "keep-alive"))
    lines = [f"HTTP/{version} {answer.status} {REASONS[answer.status]}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"

