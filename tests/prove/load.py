"""The load of the comparison: one stream, publishes in flight, and which of them were acknowledged."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, Final

from tests.crash.wire import Message, Wire

STREAM: Final = {
    "name": "P", "subjects": ["p.*"], "storage": "file", "retention": "limits", "allow_direct": True, "num_replicas": 1,
}  # fmt: skip
WINDOW: Final = 256
READ_BATCH: Final = 500
ANSWER_S: Final = 30.0


def payload(number: int, most: int = 40) -> bytes:
    """Of publish `number`: it says which one it is, and every byte follows from that."""
    return b"%016d" % number * (1 + number % most)


@dataclass
class Acked:
    """What was acknowledged: publish by sequence. `refused`: how many were not taken."""

    by_seq: dict[int, int] = field(default_factory=dict)
    sent: int = 0
    refused: int = 0
    most: int = 40
    """How often a payload repeats itself at most."""


@dataclass
class Found:
    """What a server has, compared with what was acknowledged."""

    acked: int = 0
    lost: int = 0
    wrong: int = 0
    """Messages that are not what was stored."""
    again: int = 0
    """A sequence that had been acknowledged was given to another message."""
    gone: bool = False
    """The stream is not there."""
    untold: int = 0
    """Lost messages that nobody names."""


class Publisher:
    """Keeps publishes in flight until `stop` is set, or the server is gone."""

    def __init__(self, acked: Acked, window: int = WINDOW) -> None:
        self.acked, self._window, self._in_flight = acked, window, 0
        self.stop = asyncio.Event()
        self._room = asyncio.Event()

    async def run(self, port: int) -> None:
        wire = await Wire.open(port, "publish", self._answer)
        while not wire.gone.is_set() and not self.stop.is_set():
            while self._in_flight < self._window:
                number = self.acked.sent
                self.acked.sent += 1
                self._in_flight += 1
                wire.publish(f"p.{number % 7}", payload(number, self.acked.most), wire.inbox(f"o{number}"))
            self._room.clear()
            waiting = [asyncio.ensure_future(event.wait()) for event in (self._room, wire.gone, self.stop)]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for each in waiting:
                each.cancel()
        self.wire = wire

    def _answer(self, message: Message) -> None:
        self._in_flight -= 1
        self._room.set()
        answer = json.loads(message.payload) if message.payload else {"error": {}}
        if "error" in answer:
            self.acked.refused += 1
        else:
            self.acked.by_seq[answer["seq"]] = int(message.subject.rpartition(".o")[2])


async def create(port: int) -> None:
    wire = await Wire.open(port, "create")
    answer = await asked(wire, "STREAM.CREATE.P", STREAM)
    assert "error" not in answer, answer
    wire.close()


async def asked(wire: Wire, subject: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """The answer of the API; an error when there is none."""
    text = b"" if body is None else json.dumps(body).encode()
    try:
        answer = await asyncio.wait_for(wire.request(f"$JS.API.{subject}", text), ANSWER_S)
    except TimeoutError:
        return {"error": {"description": "no answer"}}
    found = json.loads(answer.payload) if answer.payload else {"error": {"description": answer.status}}
    return found if isinstance(found, dict) else {}


async def compare(port: int, acked: Acked) -> Found:
    """What is there of what was acknowledged."""
    found = Found(acked=len(acked.by_seq))
    wire = await Wire.open(port, "compare")
    info = await asked(wire, "STREAM.INFO.P")
    if "error" in info:
        found.gone, found.lost, found.untold = True, found.acked, found.acked
        wire.close()
        return found
    there = await _read(port)
    for seq, body in there.items():
        number = int(body[:16]) if body[:16].isdigit() else -1
        whole = 0 <= number < acked.sent and body == payload(number, acked.most)
        found.wrong += not whole or acked.by_seq.get(seq, number) != number
    missing = set(acked.by_seq) - set(there)
    found.lost = len(missing)
    lost = (await asked(wire, "STREAM.INFO.P")).get("state", {}).get("lost") or {}
    found.untold = len(missing - set(lost.get("msgs") or ()))
    ack = await _publish(wire)
    found.again = int(ack in acked.by_seq)
    wire.close()
    return found


async def _publish(wire: Wire) -> int:
    """The sequence of one more message; 0: it is not taken."""
    try:
        answer = json.loads((await asyncio.wait_for(wire.request("p.0", payload(0)), ANSWER_S)).payload or b"{}")
    except TimeoutError:
        return 0
    return int(answer.get("seq", 0))


async def _read(port: int) -> dict[int, bytes]:
    """Every message that the server gives, by direct gets."""
    arrived: list[Message] = []
    wire = await Wire.open(port, "read", arrived.append)
    found: dict[int, bytes] = {}
    next_seq = 1
    while True:
        body = json.dumps({"seq": next_seq, "batch": READ_BATCH}).encode()
        wire.publish("$JS.API.DIRECT.GET.P", body, wire.inbox("m"))
        try:
            async with asyncio.timeout(ANSWER_S):
                while not arrived or not arrived[-1].status[:3].isdigit():
                    await wire.flush()
        except TimeoutError:
            arrived.append(Message("", "", b"NATS/1.0 408\r\n", b""))
        last = next_seq
        for message in arrived[:-1]:
            lines = dict(line.split(": ", 1) for line in message.headers.decode().split("\r\n")[1:] if line)
            last = int(lines["Nats-Sequence"])
            found[last] = message.payload
        done = len(arrived) == 1
        arrived.clear()
        if done:
            wire.close()
            return found
        next_seq = last + 1
