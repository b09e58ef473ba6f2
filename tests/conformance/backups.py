"""A client of snapshots and restores, and what an archive holds, told without its compression."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from millpond.store.backup.archive import ArchiveReader
from millpond.store.backup.s2_stream import S2Reader

from .wire_client import Client, Frame


class Taken(NamedTuple):
    """One snapshot: the answer to the request, the archive, and the frames that brought it."""

    answer: dict[str, Any]
    archive: bytes
    frames: list[Frame]


def take(client: Client, stream: str, **asked: Any) -> Taken:
    """A whole snapshot; every chunk that asks for it is acknowledged at once."""
    deliver = client.new_reply().replace("me", "archive")
    sid = client.subscribe(deliver)                # the server waits for a subscription to exactly this subject
    answer = json.loads(client.request(
        f"$JS.API.STREAM.SNAPSHOT.{stream}", json.dumps({"deliver_subject": deliver, **asked}).encode()
    ).payload)
    frames: list[Frame] = []
    while "error" not in answer:
        frame = client.next_message(deliver)
        frames.append(frame)
        if frame.reply:
            client.publish(frame.reply)
        if not frame.payload:
            break
    client.unsubscribe(sid)
    return Taken(answer, b"".join(frame.payload for frame in frames), frames)


def begin(client: Client, stream: str, config: dict[str, Any], state: dict[str, Any] | None = None) -> dict[str, Any]:
    """The answer to a request for a restore."""
    body = json.dumps({"config": config, **({"state": state} if state else {})}).encode()
    return dict(json.loads(client.request(f"$JS.API.STREAM.RESTORE.{stream}", body).payload))


def give(
    client: Client, stream: str, config: dict[str, Any], archive: bytes, *, chunk_bytes: int = 64 * 1024,
    state: dict[str, Any] | None = None,
) -> Any:
    """A whole restore: the answer to its last, empty chunk, or to the request when that was refused."""
    answer = begin(client, stream, config, state)
    if "error" in answer:
        return answer
    for at in range(0, len(archive), chunk_bytes):
        frame = client.request(answer["deliver_subject"], archive[at : at + chunk_bytes])
        assert not frame.payload and not frame.headers, frame
    return json.loads(client.request(answer["deliver_subject"]).payload)


def messages(archive: bytes) -> list[tuple[str, int, int, bytes]]:
    """The archive's entries: name, time, sequence, content."""
    reader = ArchiveReader()
    reader.feed(archive)
    reader.end()
    found = []
    assert reader.begins(), reader.failure
    while (head := reader.next_name()) is not None:
        name, ts_ns, content = reader.next_document()
        found.append((name.decode(), ts_ns, head[1], content))
    assert reader.failure == "EOF", reader.failure
    return found


def plain(archive: bytes) -> bytes:
    """The archive without its compression."""
    reader = S2Reader()
    decoded = bytes(reader.decode_all(archive))
    assert not reader.failure and not reader.is_cut_off()
    return decoded
