"""Whoever asks is told what damage took: the log, stream info, an advisory, /varz and /jsz."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from pathlib import Path
from typing import Any

from millpond.store.scan import scan_segment

import millpond

from .rooms import Rooms


def damaged(directory: Path, stream: str, seq: int) -> None:
    """The message's record does not verify any more."""
    for path in directory.glob("jetstream/$G/streams/*/log.*"):
        for record in scan_segment(path).records:
            if record.seq == seq and record.subject.startswith(stream.lower().encode()):
                data = bytearray(path.read_bytes())
                data[record.offset + record.length - 1] ^= 4
                path.write_bytes(data)
                return
    raise AssertionError(f"message {seq} is in no file")


def filled(directory: Path) -> None:
    rooms = Rooms(directory)
    for name in ("ONE", "HEARS"):
        subjects = ["one.>"] if name == "ONE" else ["$JS.EVENT.ADVISORY.STREAM.DAMAGED.>"]
        config = {"name": name, "subjects": subjects, "storage": "file", **({} if name == "ONE" else {"no_ack": True})}
        rooms.request(f"STREAM.CREATE.{name}", config)
    for number in range(200):
        rooms.publish(b"one.a", b"%03d" % number * 100)
        rooms.turns()
    rooms.seal()
    rooms.close()


def advisories(rooms: Rooms) -> list[dict[str, object]]:
    return [json.loads(body) for subject, body in rooms.advisories if b".STREAM.DAMAGED." in subject]


def test_what_a_start_finds(tmp_path: Path) -> None:
    filled(tmp_path)
    damaged(tmp_path, "ONE", 199)                  # in the newest segment, of which every record is read
    rooms = Rooms(tmp_path)
    assert any("messages 199 to 199 are lost" in line for line in rooms.told.lines)
    (told,) = advisories(rooms)
    assert told["type"] == "io.nats.jetstream.advisory.v1.stream_damaged" and told["stream"] == "ONE"
    assert told["lost"] == {"messages": 1, "ranges": [{"first_seq": 199, "last_seq": 199}]}
    state = rooms.request("STREAM.INFO.ONE")["state"]
    assert state["lost"] == {"msgs": [199], "bytes": 0} and state["messages"] == 199
    assert list(state).index("lost") == list(state).index("consumer_count") - 1
    rooms.turns()
    assert rooms.request("STREAM.INFO.HEARS")["state"]["messages"] == 1        # a stream can keep them
    assert "lost" not in rooms.request("STREAM.INFO.HEARS")["state"]
    rooms.close()


def test_what_a_reader_finds_behind_a_summary(tmp_path: Path) -> None:
    filled(tmp_path)
    damaged(tmp_path, "ONE", 3)
    rooms = Rooms(tmp_path)
    assert rooms.told.lines == [] and advisories(rooms) == []
    rooms.engine.streams["ONE"].store.load_message(3)
    (told,) = advisories(rooms)
    assert told["lost"] == {"messages": 1, "ranges": [{"first_seq": 3, "last_seq": 3}]}
    assert told["damage"] == ["its bytes do not verify"]
    lost = rooms.request("STREAM.INFO.ONE")["state"]["lost"]
    assert lost["msgs"] == [3] and lost["bytes"] > 300
    rooms.close()


async def _shown(directory: Path) -> tuple[dict[str, Any], dict[str, Any], int]:
    async with millpond.Server(http_port=-1, store_dir=str(directory)) as server:
        def page(name: str) -> tuple[int, dict[str, Any]]:
            with urllib.request.urlopen(f"{server.monitor_url}/{name}", timeout=10) as answer:
                return answer.status, json.loads(answer.read())

        _, varz = await asyncio.to_thread(page, "varz")
        _, jsz = await asyncio.to_thread(page, "jsz?streams=true")
        health, _ = await asyncio.to_thread(page, "healthz")
        return varz["jetstream"]["stats"], jsz, health


def test_pages_show_it(tmp_path: Path) -> None:
    filled(tmp_path)
    damaged(tmp_path, "ONE", 199)
    stats, jsz, health = asyncio.run(_shown(tmp_path))
    assert stats["store_damage"] == jsz["store_damage"] == {"streams": 1, "messages": 1}
    (account,) = jsz["account_details"]
    (row,) = [row for row in account["stream_detail"] if row["name"] == "ONE"]
    assert row["state"]["lost"]["msgs"] == [199]
    assert health == 200, "what is there is served"


def test_what_is_there_is_not_said_to_be_lost(tmp_path: Path) -> None:
    """The record of the stop, whose sequence seems to end what is missing, stands at the file's beginning as well."""
    rooms = Rooms(tmp_path)
    rooms.request("STREAM.CREATE.ONE", {"name": "ONE", "subjects": ["one.>"], "storage": "file"})
    for number in range(60):
        rooms.publish(b"one.a", b"%03d" % number * 50)
        rooms.turns()
    rooms.close()
    (path,) = [path for path in tmp_path.glob("jetstream/$G/streams/*/log.*") if scan_segment(path).records]
    records = scan_segment(path).records
    (clean,) = [record for record in records if record.kind == "clean"]
    data = bytearray(path.read_bytes())
    data[:4096] = bytes(136) + data[clean.offset : clean.offset + 32] + bytes(4096 - 168)
    path.write_bytes(data)
    rooms = Rooms(tmp_path)
    there = {record.seq for record in records if record.kind == "message" and record.offset >= 4096}
    store = rooms.engine.streams["ONE"].store
    assert there <= {seq for seq in range(1, 61) if store.has(seq)}
    lost = store.losses.sequences(100)
    assert lost and not [seq for seq in lost if store.has(seq)]
    assert set(lost) | {seq for seq in range(1, 61) if store.has(seq)} == set(range(1, 61))
    rooms.close()
