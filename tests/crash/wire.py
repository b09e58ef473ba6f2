"""A pipelining client for the crash tests: sends without waiting, and hands out whatever comes back by its reply.

It owns one connection and promises nothing about delivery: when the server dies, `gone` is set once everything
that had arrived was handed out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"protocol":1}\r\n'


class Message(NamedTuple):
    """One MSG or HMSG."""

    subject: str
    reply: str
    headers: bytes
    payload: bytes

    @property
    def status(self) -> str:
        """The tail of the status line: "404 No Messages", or "" for a message."""
        return self.headers.split(b"\r\n", 1)[0].removeprefix(b"NATS/1.0").strip().decode()


class Wire(asyncio.Protocol):
    """`handler(message)` gets every message that no `request` waits for."""

    def __init__(self, name: str, handler: Callable[[Message], None] | None = None) -> None:
        self.name = name
        self.gone = asyncio.Event()
        self.failure: AssertionError | None = None
        """What the handler raised; the connection ended because of it."""
        self._handler = handler
        self._buffer = b""
        self._waiting: dict[str, asyncio.Future[Message]] = {}
        self._pong: asyncio.Future[None] | None = None
        self._requests = 0
        self._held: list[bytes] | None = None
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, port: int, name: str, handler: Callable[[Message], None] | None = None) -> Wire:
        """Connected, with everything under `_INBOX.<name>.` subscribed."""
        loop = asyncio.get_running_loop()
        _, wire = await loop.create_connection(lambda: cls(name, handler), "127.0.0.1", port)
        wire.send(CONNECT + f"SUB {wire.inbox('>')} 1\r\n".encode())
        await wire.flush()
        return wire

    def inbox(self, tail: str) -> str:
        return f"_INBOX.{self.name}.{tail}"

    # --- out ---

    def hold(self) -> None:
        """Keep what is sent from here, so that it arrives in one piece."""
        self._held = []

    def release(self) -> None:
        held, self._held = self._held or [], None
        self.send(b"".join(held))

    def send(self, data: bytes) -> None:
        if self._held is not None:
            self._held.append(data)
        elif self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def publish(self, subject: str, payload: bytes, reply: str = "", headers: bytes = b"") -> None:
        """`headers`: lines, each with its CRLF."""
        if headers:
            block = b"NATS/1.0\r\n" + headers + b"\r\n"
            sizes = f"{len(block)} {len(block) + len(payload)}"
            self.send(f"HPUB {subject} {reply} {sizes}\r\n".encode() + block + payload + b"\r\n")
        else:
            self.send(f"PUB {subject} {reply} {len(payload)}\r\n".encode() + payload + b"\r\n")

    async def flush(self) -> None:
        self._pong = asyncio.get_running_loop().create_future()
        self.send(b"PING\r\n")
        await self._pong

    async def request(self, subject: str, payload: bytes = b"") -> Message:
        """The first answer. Raises ConnectionError when the server is gone before."""
        self._requests += 1
        reply = self.inbox(f"r{self._requests}")
        self._waiting[reply] = asyncio.get_running_loop().create_future()
        self.publish(subject, payload, reply)
        return await self._waiting[reply]

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # --- in ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self.gone.set()
        lost = ConnectionError(f"{self.name}: the server is gone")
        for future in (*self._waiting.values(), *([self._pong] if self._pong else [])):
            if not future.done():
                future.set_exception(lost)
                future.exception()  # whoever waits gets it; nobody needs to

    def data_received(self, data: bytes) -> None:
        buffer, at = self._buffer + data, 0
        while (end := buffer.find(b"\r\n", at)) >= 0:
            words = buffer[at:end].split(b" ")
            if words[0] in (b"MSG", b"HMSG"):
                total = int(words[-1])
                if len(buffer) < end + 4 + total:
                    break
                self._message(words, buffer[end + 2 : end + 2 + total])
                at = end + 4 + total
                continue
            if words[0] == b"PING":
                self.send(b"PONG\r\n")
            elif words[0] == b"PONG" and self._pong is not None and not self._pong.done():
                self._pong.set_result(None)
            else:
                assert words[0] in (b"INFO", b"PONG"), buffer[at:end]
            at = end + 2
        self._buffer = buffer[at:]

    def _message(self, words: list[bytes], body: bytes) -> None:
        header_size = int(words[-2]) if words[0] == b"HMSG" else 0
        has_reply = len(words) == (5 if words[0] == b"MSG" else 6)
        reply = words[3].decode() if has_reply else ""
        message = Message(words[1].decode(), reply, body[:header_size], body[header_size:])
        future = self._waiting.pop(message.subject, None)
        if future is not None and not future.done():
            future.set_result(message)
        elif self._handler is not None and self.failure is None:
            try:
                self._handler(message)
            except AssertionError as error:
                self.failure = error
                self.close()

    def check(self) -> None:
        """Raises what the handler raised."""
        if self.failure is not None:
            raise self.failure
