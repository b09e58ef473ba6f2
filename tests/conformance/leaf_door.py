"""`millpond serve` with a port on which the relay of these tests may come in as a leaf node.

    python -m tests.conformance.leaf_door <flags of millpond serve>

The server has no leaf nodes. This door knows of their protocol what `relay.Leaf` does, and trusts whoever comes. Its
port is written into the file `leaf.port` beside the ports file.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from pathlib import Path

from millpond.broker.sink import CallableSink, Subscription
from millpond.testing.publishes import publish_as

from millpond.cli import serve
from millpond.server import lifecycle
from millpond.server.server import Server

PORT_FILE = "leaf.port"


class OpenServer(Server):
    """Opens the door before its ports file says that it is ready."""

    async def start(self) -> None:
        self.interest = self.broker.router.imports = Interest()
        await super().start()
        self.door = await asyncio.start_server(self._come_in, "127.0.0.1", 0)
        port = self.door.sockets[0].getsockname()[1]
        Path(self.options.ports_file_dir, PORT_FILE).write_text(str(port))

    async def stop(self) -> None:
        self.door.close()
        await super().stop()

    async def _come_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"headers":true}\r\n')
        link = Link(self, writer)
        try:
            while line := await reader.readline():
                await link.take(line.decode().split(), reader)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            link.close()
            writer.close()


class Interest:
    """What is listened to here; in the place of an account's imports, the router tells of it."""

    def __init__(self) -> None:
        self._subjects: Counter[bytes] = Counter()
        self._links: set[asyncio.StreamWriter] = set()

    def added(self, subscription: Subscription) -> None:
        self._subjects[subscription.subject] += 1
        for link in self._links:
            link.write(b"LS+ %s\r\n" % subscription.subject)

    def dropped(self, subscription: Subscription) -> None:
        self._subjects[subscription.subject] -= 1
        for link in self._links:
            link.write(b"LS- %s\r\n" % subscription.subject)

    def tell(self, link: asyncio.StreamWriter) -> None:
        self._links.add(link)
        for subject in self._subjects.elements():
            link.write(b"LS+ %s\r\n" % subject)

    def leave(self, link: asyncio.StreamWriter) -> None:
        self._links.remove(link)


class Link:
    """One leaf node: what it listens to, and what it publishes."""

    def __init__(self, server: OpenServer, writer: asyncio.StreamWriter) -> None:
        self._broker, self._interest, self._writer = server.broker, server.interest, writer
        self._subscriptions: list[Subscription] = []
        self._interest.tell(writer)

    async def take(self, words: list[str], reader: asyncio.StreamReader) -> None:
        match words[0]:
            case "PING":
                self._writer.write(b"PONG\r\n")
            case "LS+":
                sink = CallableSink(self._deliver)
                self._subscriptions.append(self._broker.router.subscribe(words[1].encode(), sink))
            case "LMSG" | "HMSG":
                sizes = 2 if words[0] == "HMSG" else 1
                header_bytes = int(words[-2]) if sizes == 2 else 0
                data = (await reader.readexactly(int(words[-1]) + 2))[:-2]
                reply, _, shown = (words[2] if len(words) == 3 + sizes else "").partition("@")
                parts = (data[header_bytes:], reply.encode(), data[:header_bytes])
                publish_as(self._broker.router, (shown or words[1]).encode(), words[1].encode(), *parts)
                self._broker.turn.wake()

    def _deliver(self, subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: object) -> None:
        sizes = b"%d %d" % (len(hdr), len(hdr) + len(body)) if hdr else b"%d" % len(body)
        self._writer.write(b"%s %s %s %s\r\n" % (b"HMSG" if hdr else b"LMSG", subject, reply, sizes))
        self._writer.write(hdr + body + b"\r\n")

    def close(self) -> None:
        self._interest.leave(self._writer)
        for subscription in self._subscriptions:
            self._broker.router.unsubscribe(subscription)


if __name__ == "__main__":
    lifecycle.Server = OpenServer
    sys.exit(serve.main(sys.argv[1:]))
