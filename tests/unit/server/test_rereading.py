"""A configuration file is read again in a thread; what it says is used on the loop, in the order of the requests."""

from __future__ import annotations

import asyncio
import threading

import msgspec

from millpond.config.options import Options
from millpond.server.lifecycle import Process
from millpond.server.server import Server

OPTIONS = Options(host="127.0.0.1", port=-1, max_payload=1000)


def test_the_loop_goes_on_while_a_file_is_read() -> None:
    may_end, begun, sizes = threading.Event(), threading.Event(), iter((2000, 3000))

    def reread() -> Options:
        begun.set()
        assert may_end.wait(30)
        return msgspec.structs.replace(OPTIONS, max_payload=next(sizes))

    async def main() -> None:
        server = Server.from_options(OPTIONS)
        process = Process(server, reread)
        await process.start(())
        try:
            first, second = (asyncio.ensure_future(server.reload_asked()) for _ in range(2))
            while not begun.is_set():
                await asyncio.sleep(0)             # the loop runs, or this would never end
            assert server.options.max_payload == 1000
            may_end.set()
            await first
            assert server.options.max_payload == 2000
            await second
            assert server.options.max_payload == 3000
        finally:
            await process.stop()
            process._collector.stop()

    asyncio.run(asyncio.wait_for(main(), 60))
