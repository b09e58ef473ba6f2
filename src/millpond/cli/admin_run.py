"""`millpond admin run`: a command that knows only of addresses, such as the nats CLI, reaches an admin socket.

    command  --loopback, a token in NATS_URL-->  guard in this process  --admin socket-->  server

The token is made for this run and is nowhere but in the command's environment, which only its user can read. Who does
not show it does not get through; the guard ends with the command.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import secrets
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from millpond.cli.admin_peer import AdminError, connected

HELLO_BYTES_MAX: Final = 64 * 1024
"""Of the line with which a client begins."""
HELLO_S: Final = 5.0
READ_BYTES: Final = 64 * 1024
NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
"""What shells answer for a command that is not there, or that cannot be run."""


def main(path: str, command: Sequence[str]) -> int:
    """Returns the command's exit code. Raises AdminError."""
    connected(path).close()  # what is wrong there is said before anything runs
    return asyncio.run(_run(path, command))


async def _run(path: str, command: Sequence[str]) -> int:
    guard = Guard(path)
    listener = await asyncio.start_server(guard.take, "127.0.0.1", 0, limit=HELLO_BYTES_MAX)
    port = listener.sockets[0].getsockname()[1]
    environment = {**os.environ, "NATS_URL": f"nats://{guard.token}@127.0.0.1:{port}"}
    try:
        process = await asyncio.create_subprocess_exec(*command, env=environment)
        with _left_to_the_command():
            code = await process.wait()
    except OSError as error:
        print(f"millpond: cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
    finally:
        listener.close()
        guard.close()
    return code if code >= 0 else 128 - code


class _left_to_the_command:
    """Ctrl-C is for the command, which has the same terminal; it says when it is over."""

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGINT, signal.SIG_IGN)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)


class Guard:
    """Lets clients that show the token through to the socket at `path`."""

    def __init__(self, path: str) -> None:
        self.token = secrets.token_hex(32)
        self._path = path
        self._tasks: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """Whoever is connected is so no longer."""
        for task in self._tasks:
            task.cancel()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, for as long as it stays."""
        task = asyncio.current_task()
        assert task is not None, "a server calls this in a task"
        self._tasks.add(task)
        try:
            with suppress(OSError, AdminError, asyncio.CancelledError, asyncio.IncompleteReadError, ValueError):
                await self._let_through(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _let_through(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inward, outward = await asyncio.open_unix_connection(self._path, limit=HELLO_BYTES_MAX)
        try:
            writer.write(await inward.readuntil(b"\n"))  # INFO
            hello = await asyncio.wait_for(reader.readuntil(b"\n"), HELLO_S)
            if not self._shows_token(hello):
                writer.write(b"-ERR 'Authorization Violation'\r\n")
                await writer.drain()
                return
            outward.write(hello)
            both = [asyncio.create_task(_pass_on(*way)) for way in ((reader, outward), (inward, writer))]
            try:
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in both:
                    each.cancel()
                await asyncio.gather(*both, return_exceptions=True)
        finally:
            outward.close()

    def _shows_token(self, hello: bytes) -> bool:
        verb, _, body = hello.partition(b" ")
        if verb.upper() != b"CONNECT":
            return False
        shown = json.loads(body)
        token = shown.get("auth_token") if isinstance(shown, dict) else None
        return isinstance(token, str) and hmac.compare_digest(token.encode(), self.token.encode())


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until one of them has ended."""
    while data := await reader.read(READ_BYTES):
        writer.write(data)
        await writer.drain()
