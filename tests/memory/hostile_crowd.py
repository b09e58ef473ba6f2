"""A crowd of hostile clients: `hostile_crowd.py PORT COUNT`, until its input ends; prints how many there were."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import sys
from collections.abc import Awaitable, Callable

BAD = b'CONNECT {"user":"bad","pass":"right","verbose":false}\r\n'
Attack = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for byte in b'CONNECT {"user":"' + b"a" * 4000:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.05)


async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b'CONNECT {"name":"' + b"a" * 4000)
    await reader.read()


async def endless_blanks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"CONNECT")
    while True:
        writer.write(b" " * 16_384)
        await writer.drain()
        await asyncio.sleep(0.02)


async def too_long(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"CONNECT " + b"a" * 1_000_000)
    await reader.read()


async def guessing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b'CONNECT {"user":"hashed","pass":"%d"}\r\n' % random.randrange(10**9) + b"PUB a 1\r\n" * 5000)
    await reader.read()


async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(random.randbytes(5000))
    await reader.read()


async def nested(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b'CONNECT {"a":' + b"[" * 4000 + b"\r\n")
    await reader.read()


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    linger = (1).to_bytes(4, sys.byteorder) + (0).to_bytes(4, sys.byteorder)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.write(b"CONNECT {")
    await writer.drain()
    writer.transport.abort()
    await asyncio.sleep(0.1)


async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Of a tenant: takes a byte now and then of what others of it send."""
    writer.transport.pause_reading()
    sock = writer.get_extra_info("socket")
    writer.write(BAD + b"SUB flood 1\r\n")
    while not writer.transport.is_closing():
        await asyncio.sleep(1)
        with contextlib.suppress(BlockingIOError):
            if not os.read(sock.fileno(), 1):
                return


async def never_finished(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Of a tenant: begins a large message, and says no more."""
    writer.write(BAD + b"PUB a 1000000\r\n" + b"x" * 900_000)
    await reader.read()


async def flooding(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(BAD)
    while True:
        writer.write(b"PUB flood 20000\r\n" + b"x" * 20_000 + b"\r\n")
        await writer.drain()


ATTACKS: tuple[Attack, ...] = (
    silent, dripping, half, endless_blanks, too_long, guessing, garbage, nested, reset, deaf, never_finished,
)  # fmt: skip

FLOODS = 4
made = 0


async def attacker(port: int, attack: Attack) -> None:
    global made
    while True:
        with contextlib.suppress(ConnectionError, OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            made += 1
            try:
                await attack(reader, writer)
            finally:
                writer.transport.abort()
        await asyncio.sleep(0.2)


async def main(port: int, count: int) -> None:
    tasks = [asyncio.ensure_future(attacker(port, ATTACKS[n % len(ATTACKS)])) for n in range(count)]
    tasks += [asyncio.ensure_future(attacker(port, flooding)) for _ in range(FLOODS)]
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    print(made)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
