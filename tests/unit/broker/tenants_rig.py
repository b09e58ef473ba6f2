"""A server out of a configuration file, with little memory, and clients that read nothing."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from session_rig import Wire

import millpond
from millpond.base.limits import MIB
from millpond.config.build import build
from millpond.config.file import read
from millpond.config.options import Options

HASH = "$2b$04$IFJkPdE8mp0GuT7uqL./BeLdyN2I1xucdJqXUqhWeo077UgWZY5Na"
"""bcrypt of `s3cr3t`."""


def options(directory: Path, text: str, memory_bytes: int = 16 * MIB) -> Options:
    path = directory / "server.conf"
    path.write_text(text.replace("STORE", str(directory / "store")))
    return build({**read(path).settings, "host": "127.0.0.1", "port": -1, "memory_bytes": memory_bytes})


def run(
    directory: Path, text: str, scenario: Callable[[millpond.Server], Awaitable[None]], memory_bytes: int = 16 * MIB
) -> None:
    async def main() -> None:
        async with millpond.Server.from_options(options(directory, text, memory_bytes)) as server:
            if server.memory.watched is not None:  # this process is the tests' as well: its size says nothing
                server.memory.watched.refuse(False)
                server.memory.watch(None)
            await asyncio.wait_for(scenario(server), 30)

    asyncio.run(main())


def connect(user: str, password: str = "x", **fields: object) -> bytes:
    quiet = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True}
    return b"CONNECT " + json.dumps({**quiet, "user": user, "pass": password, **fields}).encode() + b"\r\n"


class Unpinged(Wire):
    """Does not tell of the server's PINGs."""

    async def say(self, data: bytes) -> bytes:
        return (await super().say(data)).replace(b"PING\r\n", b"")


async def client(server: millpond.Server, user: str, data: bytes = b"") -> Wire:
    """Connected, and `data` took effect."""
    wire = await Unpinged.open(server, connect(user))
    await wire.say(data)
    return wire


async def deaf(server: millpond.Server, user: str, data: bytes) -> socket.socket:
    """A client that has said `data` and reads nothing."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", server.port))
    await loop.sock_sendall(sock, connect(user) + data + b"PING\r\n")
    got = b""
    while not got.endswith(b"PONG\r\n"):
        got = (got + await loop.sock_recv(sock, 1))[-6:]
    return sock


def pub(subject: bytes, body: bytes = b"", reply: bytes = b"") -> bytes:
    return b"PUB %s %s %d\r\n%s\r\n" % (subject, reply, len(body), body)


def session(server: millpond.Server, wire: Wire) -> Any:
    return server.broker.sessions[wire.info["client_id"]]


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def turns(server: millpond.Server, count: int = 20) -> None:
    """So many turns, of which this client's own packets are the reason."""
    wire = await Wire.open(server, b"")
    seen = server.broker.turn.turns
    while server.broker.turn.turns < seen + count:
        wire.writer.write(b"\r")
        await asyncio.sleep(0.001)
    wire.writer.close()


class Later:
    """Stands for the verifier: answers when it is told to."""

    class Job:
        begun = True

    def __init__(self, server: millpond.Server) -> None:
        server.broker.verifier.close()
        server.broker.verifier = self
        self.waiting: list[Callable[[bool | None], None]] = []

    def verify(self, attempt: Any, ip: str, done: Callable[[bool | None], None]) -> Job:
        self.waiting.append(done)
        return self.Job()

    def give_up(self, job: Job) -> None: ...

    def close(self) -> None: ...
