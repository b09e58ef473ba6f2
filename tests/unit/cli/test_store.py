"""`millpond store verify|dump` on a store that a server made, sound and damaged in known places."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
from pathlib import Path
from typing import Any

import nats
import pytest
from millpond.store.scan import scan_segment
from stores import made

import millpond
from millpond.cli import store

MESSAGES = 200


async def fill(url: str) -> None:
    client = await nats.connect(url)
    js = client.jetstream()
    await js.add_stream(name="ORDERS", subjects=["orders.*"], storage="file")
    await js.add_stream(name="EMPTY", subjects=["empty"], storage="file")
    for number in range(1, MESSAGES + 1):
        headers = {"Number": str(number)} if number == 7 else None
        await js.publish(f"orders.{number % 3}", b"body %d" % number, headers=headers)
    await js.delete_msg("ORDERS", 5)
    consumer = await js.pull_subscribe("orders.*", "worker")
    for message in await consumer.fetch(3, timeout=5):
        await message.ack_sync()
    await client.close()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("data"), fill)


@pytest.fixture
def directory(original: Path, tmp_path: Path) -> Path:
    shutil.copytree(original, tmp_path / "data")
    return tmp_path / "data"


def slot(directory: Path) -> Path:
    """The one with messages."""
    catalogs = directory.glob("jetstream/*/streams/*/stream.0")
    return next(path.parent for path in catalogs if b"ORDERS" in path.read_bytes())


def verify(directory: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    code = store.main(["verify", str(directory), "--json"])
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before
    return code, json.loads(capsys.readouterr().out)


def orders(report: dict[str, Any]) -> dict[str, Any]:
    return next(stream for stream in report["streams"] if stream["name"] in ("ORDERS", "") and stream["segments"])


def segment(directory: Path) -> tuple[Path, list[Any]]:
    """The file with the messages, and its records."""
    for path in sorted(slot(directory).glob("log.*")):
        records = [record for record in scan_segment(path).records if record.kind == "message"]
        if records:
            return path, records
    raise AssertionError("no messages on disk")


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0xFF
    path.write_bytes(data)


def test_a_sound_store(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, report = verify(directory, capsys)
    assert (code, report["sound"], report["in_use_by"]) == (0, True, 0)
    assert {stream["name"] for stream in report["streams"]} == {"ORDERS", "EMPTY"}
    found = orders(report)
    assert (found["messages"], found["first_seq"], found["last_seq"]) == (MESSAGES - 1, 1, MESSAGES)
    assert (found["orderly"], found["damage"]) == (True, [])
    assert store.main(["verify", str(directory)]) == 0
    assert "2 streams, all sound" in capsys.readouterr().out


def test_a_damaged_message_is_named_by_place_and_sequence(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, records = segment(directory)
    broken = next(record for record in records if record.seq == 100)
    flip(path, broken.offset + broken.length - 1)
    code, report = verify(directory, capsys)
    assert (code, report["sound"]) == (1, False)
    (finding,) = orders(report)["damage"]
    assert (finding["file"], finding["offset"], finding["lost"]) == (path.name, broken.offset, [100, 100])
    assert orders(report)["messages"] == MESSAGES - 2
    assert store.main(["verify", str(directory)]) == 1
    out = capsys.readouterr().out
    assert "sequences 100..100 may be lost" in out
    assert "1 of 2 streams damaged" in out


def test_several_places_and_a_cut_file(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, records = segment(directory)
    by_seq = {record.seq: record for record in records}
    flip(path, by_seq[20].offset + 20)
    flip(path, by_seq[21].offset + 20)
    flip(path, by_seq[50].offset + 20)
    code, report = verify(directory, capsys)
    assert code == 1
    assert [finding["lost"] for finding in orders(report)["damage"]] == [[20, 21], [50, 50]]
    os.truncate(path, by_seq[150].offset)
    code, report = verify(directory, capsys)
    assert orders(report)["last_seq"] == MESSAGES
    assert not orders(report)["orderly"]
    assert [finding["lost"] for finding in orders(report)["damage"] if "lost" in finding][-1] == [150, MESSAGES]


def test_files_that_are_gone_or_of_another_stream(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, _ = segment(directory)
    image = path.read_bytes()
    path.unlink()
    code, report = verify(directory, capsys)
    (found,) = [stream for stream in report["streams"] if stream["name"] == "ORDERS"]
    assert code == 1 and found["last_seq"] == MESSAGES
    assert [finding["lost"] for finding in found["damage"]] == [[1, MESSAGES]]
    path.write_bytes(image)
    names = ["witness", *(name for name in ("consumers.0", "consumers.1") if (path.parent / name).exists())]
    for name in names:
        kept = (path.parent / name).read_bytes()
        (path.parent / name).unlink()
        code, report = verify(directory, capsys)
        assert code == (name != "witness"), name
        (path.parent / name).write_bytes(kept)


def test_what_is_left_of_a_creation_is_no_damage(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / "jetstream" / "$G" / "streams" / "0002").mkdir()
    (directory / "jetstream" / "$G" / "streams" / "0002" / "stream.0").write_bytes(b"torn")
    code, report = verify(directory, capsys)
    assert code == 0
    assert ["never created" in note["what"] for note in report["streams"][2]["notes"]] == [True]


def test_heads_configuration_and_strange_files(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = slot(directory)
    flip(place / "stream.0", 40)
    (place / "notes.txt").write_text("somebody else's")
    code, report = verify(directory, capsys)
    assert code == 0, "one whole copy is enough"
    assert {note["file"] for note in orders(report)["notes"]} >= {"stream.0", "notes.txt"}
    if (place / "stream.1").exists():
        flip(place / "stream.1", 40)
    path, _ = segment(directory)
    flip(path, 20)
    flip(path, 84)
    for name in ("consumers.0", "consumers.1"):
        if (place / name).exists() and (place / name).stat().st_size:
            flip(place / name, 5)
    code, report = verify(directory, capsys)
    assert code == 1
    damage = [finding for stream in report["streams"] for finding in stream["damage"]]
    words = " ".join(finding["what"] for finding in damage)
    for expected in ("neither copy of the configuration", "no copy of the segment's head", "no", "checkpoint"):
        assert expected in words


def test_a_store_in_use_is_read_and_said_to_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        async with millpond.Server(store_dir=str(tmp_path)) as server:
            await fill(server.client_url)
            code, report = verify(tmp_path, capsys)
            assert (code, report["in_use_by"]) == (0, os.getpid())
            assert orders(report)["messages"] == MESSAGES - 1
            assert store.main(["dump", str(tmp_path), "--stream", "ORDERS"]) == 0
            assert f"in use by process {os.getpid()}" in capsys.readouterr().err

    asyncio.run(main())


def test_a_dump_shows_every_record(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert store.main(["dump", str(directory), "--stream", "ORDERS", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    messages = {row["seq"]: row for row in rows if row["kind"] == "message"}
    assert sorted(messages) == [seq for seq in range(1, MESSAGES + 1) if seq != 5]
    assert [row["seq"] for row in rows if row["kind"] == "erased"] == [5], "a secure delete overwrites its message"
    assert all(base64.b64decode(row["data"]) == b"body %d" % seq for seq, row in messages.items())
    assert messages[4]["subject"] == "orders.1"
    assert b"Number: 7" in base64.b64decode(messages[7]["headers"])
    assert [row["removed"] for row in rows if row["kind"] == "remove"] == [[5]]
    assert store.main(["dump", str(directory)]) == 0
    text = capsys.readouterr().out
    assert "orders.1 b'body 4'" in text


def test_a_dump_shows_damaged_places_too(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, records = segment(directory)
    flip(path, records[9].offset + 20)
    assert store.main(["dump", str(directory), "--json"]) == 1
    captured = capsys.readouterr()
    (row,) = [row for row in map(json.loads, captured.out.splitlines()) if row["kind"] == "damaged"]
    assert (row["file"], row["offset"]) == (path.name, records[9].offset)
    assert f"sequences {records[9].seq}..{records[9].seq} may be lost" in captured.err


def test_wrong_usage(tmp_path: Path, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert store.main(["verify", str(tmp_path)]) == 2
    assert "is not a store directory" in capsys.readouterr().err
    assert store.main(["dump", str(directory), "--stream", "NOPE"]) == 2
    assert "there is no stream 'NOPE'" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        store.main(["mend", str(tmp_path)])
    assert caught.value.code == 2


def test_a_sequence_that_was_passed_over_takes_no_message_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Interest retention issues a sequence for what nobody wants, and stores nothing."""

    async def main() -> None:
        async with millpond.Server(store_dir=str(tmp_path)) as server:
            client = await nats.connect(server.client_url)
            js = client.jetstream()
            await js.add_stream(name="I", subjects=["i.*"], storage="file", retention="interest")
            await js.pull_subscribe("i.wanted", "worker", stream="I")
            for subject in ("i.wanted", "i.other", "i.wanted"):
                await js.publish(subject, b"x")
            await client.close()

    asyncio.run(main())
    code, report = verify(tmp_path, capsys)
    (stream,) = report["streams"]
    assert (code, stream["damage"]) == (0, [])
    assert (stream["messages"], stream["first_seq"], stream["last_seq"]) == (2, 1, 3)


def test_segments_that_left_the_log_are_not_missed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The newest segment says that they left; no head has been written since."""

    async def main() -> None:
        async with millpond.Server(store_dir=str(tmp_path)) as server:
            client = await nats.connect(server.client_url)
            js = client.jetstream()
            await js.add_stream(name="P", subjects=["p"], storage="file")
            for _ in range(2000):
                await js.publish("p", bytes(1000))
            await js.purge_stream("P", keep=1)
            await js.publish("p", b"x")
            await client.close()

    asyncio.run(main())
    path = next(tmp_path.glob("jetstream/*/streams/*/log.*"))
    newest = max((scan_segment(each) for each in path.parent.glob("log.*")), key=lambda scan: scan.head["generation"])
    assert newest.head["before"] and any(record.kind == "trim" for record in newest.records)
    code, report = verify(tmp_path, capsys)
    (stream,) = report["streams"]
    assert (code, stream["damage"], stream["messages"]) == (0, [], 2)


def test_what_left_the_log_before_its_first_record_is_not_missed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The oldest segment begins with a floor, and the message there lives in a copy behind it."""

    async def main() -> None:
        for number in range(2):
            async with millpond.Server(store_dir=str(tmp_path)) as server:
                client = await nats.connect(server.client_url)
                js = client.jetstream()
                if number == 0:
                    await js.add_stream(name="P", subjects=["p", "stays"], storage="file")
                    for message in range(1, 2001):
                        await js.publish("stays" if message == 1000 else "p", bytes(1000))
                else:                              # the first record after a start begins a segment
                    await js.purge_stream("P", seq=1000)
                    await js.purge_stream("P", subject="p")
                    for _ in range(10):
                        await js.publish("p", b"x")
                await client.close()

    asyncio.run(main())
    path = next(tmp_path.glob("jetstream/*/streams/*/log.*"))
    newest = max((scan_segment(each) for each in path.parent.glob("log.*")), key=lambda scan: scan.head["generation"])
    assert newest.records[0].kind == "floor" and newest.head["last_seq"] == 2000
    assert any("copy" in record.flags and record.seq == 1000 for record in newest.records)
    code, report = verify(tmp_path, capsys)
    (stream,) = report["streams"]
    assert (code, stream["damage"], stream["messages"]) == (0, [], 11)
