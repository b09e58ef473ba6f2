"""What a restarted server holds, compared with the oracle."""

from __future__ import annotations

import json
from typing import Any, Final

from .load import CONSUMER, STREAMS
from .model import Model, Recovered, Violation
from .wire import Message, Wire

READ_BATCH: Final = 1000


async def create(port: int) -> list[Model]:
    """The streams and the consumer, new and empty."""
    wire = await Wire.open(port, "create")
    for configuration in STREAMS:
        await _asked(wire, f"STREAM.CREATE.{configuration['name']}", configuration)
    await _asked(wire, "CONSUMER.CREATE.WORK.C", CONSUMER)
    wire.close()
    return [Model(configuration) for configuration in STREAMS]


async def read(port: int, wire: Wire, name: str, still: bool = True) -> Recovered:
    """Every message of a stream, by direct gets. Not `still`: some may end meanwhile."""
    state = (await _asked(wire, f"STREAM.INFO.{name}"))["state"]
    messages: dict[int, tuple[str, bytes]] = {}
    arrived: list[Message] = []
    reader = await Wire.open(port, f"read-{name}", arrived.append)
    next_seq = 1
    while state["messages"]:
        body = json.dumps({"seq": next_seq, "batch": READ_BATCH}).encode()
        reader.publish(f"$JS.API.DIRECT.GET.{name}", body, reader.inbox("m"))
        while not arrived or arrived[-1].status.split(" ")[0] not in ("204", "404"):
            await reader.flush()
        for message in arrived[:-1]:
            headers = dict(line.split(": ", 1) for line in message.headers.decode().split("\r\n")[1:] if line)
            next_seq = int(headers["Nats-Sequence"])
            if next_seq in messages:
                raise Violation(f"{name}: sequence {next_seq} is there twice")
            messages[next_seq] = (headers["Nats-Subject"], message.payload)
        done = len(arrived) == 1 or len(messages) >= state["messages"]
        arrived.clear()
        if done:
            break
        next_seq += 1
    reader.close()
    if still and len(messages) != state["messages"]:
        raise Violation(f"{name}: says it holds {state['messages']} messages, {len(messages)} can be read")
    return Recovered(messages, state["first_seq"], state["last_seq"])


async def _asked(wire: Wire, subject: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    answer = await wire.request(f"$JS.API.{subject}", b"" if body is None else json.dumps(body).encode())
    found: dict[str, Any] = json.loads(answer.payload)
    if "error" in found:
        raise Violation(f"{subject}: {found['error']}")
    return found
