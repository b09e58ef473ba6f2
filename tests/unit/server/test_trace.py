"""The protocol trace is turned on and off while clients are connected; without it nothing is written."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

import millpond
from millpond.broker.trace_lines import TRACE
from millpond.config.options import Options
from millpond.server import reload

CONNECT = b'CONNECT {"verbose":false,"name":"n","lang":"l","version":"1","user":"u"}\r\nPING\r\n'


async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data + b"PING\r\n")
    await asyncio.wait_for(reader.readuntil(b"PONG\r\n"), 5)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was traced since the last time, without the address."""
    found = [record.getMessage().partition(" - ")[2] for record in caplog.records if record.levelno == TRACE]
    caplog.clear()
    return found


def test_on_and_off_with_a_reload(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(TRACE, "millpond")
    quiet = Options(host="127.0.0.1", port=-1)
    loud = msgspec.structs.replace(quiet, trace=True, max_traced_msg_len=2)

    async def main() -> None:
        async with millpond.Server.from_options(quiet) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            await say(reader, writer, CONNECT + b"SUB a 1\r\nPUB a 3\r\nabc\r\n")
            assert lines(caplog) == []
            reload.apply(server, loud)
            await say(reader, writer, b"PUB a 3\r\nabc\r\n")
            assert lines(caplog) == [
                'cid:1 - "v1:l:n" - "$G/user:u" - ' + text
                for text in (
                    "<<- [PUB a 3]", '<<- MSG_PAYLOAD: ["ab..."]', "->> [MSG a 1 3]", '->> MSG_PAYLOAD: ["ab..."]',
                    "<<- [PING]", "->> [PONG]",
                )
            ]  # fmt: skip
            reload.apply(server, msgspec.structs.replace(loud, max_traced_msg_len=0))
            await say(reader, writer, b"PUB b 3\r\nabc\r\n")
            assert '<<- MSG_PAYLOAD: ["abc"]' in lines(caplog)[1]
            reload.apply(server, quiet)
            await say(reader, writer, b"PUB a 3\r\nabc\r\n")
            assert lines(caplog) == []
            writer.close()

    asyncio.run(main())


def test_what_a_large_answer_sends_early_is_traced_once(caplog: pytest.LogCaptureFixture) -> None:
    """More than an outbox waits with leaves at once; each message is one line all the same."""
    caplog.set_level(TRACE, "millpond")
    count, body = 40, b"x" * 10_000

    async def main() -> None:
        options = Options(host="127.0.0.1", port=-1, trace=True, max_traced_msg_len=1)
        async with millpond.Server.from_options(options) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=2**22)
            await say(reader, writer, b'CONNECT {"verbose":false}\r\nSUB a 1\r\n')
            lines(caplog)
            await say(reader, writer, b"PUB a 10000\r\n" + body + b"\r\n")
            for _ in range(count - 1):
                writer.write(b"PUB a 10000\r\n" + body + b"\r\n")
            await say(reader, writer, b"")
            found = lines(caplog)
            assert sum("->> [MSG a 1 10000]" in line for line in found) == count
            assert sum("<<- [PUB a 10000]" in line for line in found) == count
            writer.close()

    asyncio.run(main())
