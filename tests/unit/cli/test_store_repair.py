"""`millpond store repair` on stores damaged in known places: losses are named, the rest is there, all is sound."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nats
import pytest
from millpond.store.packed import mended_blocks
from millpond.store.scan import scan_segment
from stores import made

import millpond
from millpond.base.errors import StoreError
from millpond.cli import store
from millpond.store import renewal

MESSAGES = 400


async def fill(url: str) -> None:
    client = await nats.connect(url)
    js = client.jetstream()
    await js.add_stream(name="ORDERS", subjects=["orders.*"], storage="file")
    await js.add_stream(name="OTHER", subjects=["other"], storage="file")
    rng = random.Random(3)
    for number in range(1, MESSAGES + 1):
        await js.publish(f"orders.{number % 3}", rng.randbytes(1000), headers={"Number": str(number)})
    await js.publish("other", b"x")
    consumer = await js.pull_subscribe("orders.*", "worker")
    for message in await consumer.fetch(30, timeout=5):
        await message.ack_sync()
    await client.close()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("data"), fill)


@pytest.fixture
def directory(original: Path, tmp_path: Path) -> Path:
    shutil.copytree(original, tmp_path / "data")
    return tmp_path / "data"


def slot_of(directory: Path, name: bytes = b"ORDERS") -> Path:
    catalogs = directory.glob("jetstream/*/streams/*/stream.0")
    return next(path.parent for path in catalogs if name in path.read_bytes())


def place_of(directory: Path, seq: int) -> tuple[Path, Any]:
    for path in sorted(slot_of(directory).glob("log.*")):
        for record in scan_segment(path).records:
            if record.kind == "message" and record.seq == seq:
                return path, record
    raise AssertionError(f"message {seq} is nowhere")


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x10
    path.write_bytes(data)


def damage(directory: Path, seq: int) -> None:
    path, record = place_of(directory, seq)
    flip(path, record.offset + record.length - 1)


def repair(directory: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, dict[str, Any]]:
    code = store.main(["repair", str(directory), "--json", *more])
    return code, json.loads(capsys.readouterr().out)


def files(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


async def contents(directory: Path) -> tuple[dict[int, bytes], dict[str, Any]]:
    """Messages of ORDERS by sequence, and the state of its consumer."""
    async with millpond.Server(store_dir=str(directory)) as server:
        client = await nats.connect(server.client_url)
        js = client.jetstream()
        state = (await js.stream_info("ORDERS")).state
        found = {}
        for seq in range(state.first_seq, state.last_seq + 1):
            try:
                message = await js.get_msg("ORDERS", seq)
            except nats.js.errors.NotFoundError:
                continue
            found[seq] = message.data or b""
        info = await js.consumer_info("ORDERS", "worker")
        ack = await js.publish("orders.1", b"after")
        assert ack.seq == MESSAGES + 1, "no sequence is issued again"
        await client.close()
        return found, {"floor": info.ack_floor.stream_seq, "pending": info.num_ack_pending}


def test_a_sound_store_is_left_as_it_is(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(directory)
    code, report = repair(directory, capsys)
    assert (code, report["streams"], report["keep"]) == (0, [], "")
    after = files(directory)
    assert {name: after[name] for name in before if not name.endswith("lock")} == {
        name: data for name, data in before.items() if not name.endswith("lock")
    }


def test_messages_that_do_not_verify(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = asyncio.run(contents_of_copy(directory))
    for seq in (7, 8, 200, MESSAGES):
        damage(directory, seq)
    originals = {path.name: path.read_bytes() for path in slot_of(directory).glob("log.*")}
    damaged = {place_of(directory, seq)[0].name for seq in (6, 199, MESSAGES - 1)}
    code, report = repair(directory, capsys)
    (stream,) = report["streams"]
    assert (code, report["sound"], stream["name"], stream["outcome"]) == (0, True, "ORDERS", "repaired")
    assert stream["lost"] == [[7, 8], [200, 200], [MESSAGES, MESSAGES]]
    assert (stream["messages"], stream["first_seq"], stream["last_seq"]) == (MESSAGES - 4, 1, MESSAGES)
    kept = Path(report["keep"])
    assert kept.parent == directory and json.loads((kept / "report.json").read_text())["streams"][0]["lost"]
    for name in damaged:
        assert (kept / slot_of(directory).relative_to(directory / "jetstream") / name).read_bytes() == originals[name]
    assert store.main(["verify", str(directory)]) == 0
    capsys.readouterr()
    assert repair(directory, capsys)[1]["streams"] == [], "there is nothing left to do"
    found, consumer = asyncio.run(contents(directory))
    assert found == {seq: data for seq, data in truth[0].items() if seq not in (7, 8, 200, MESSAGES)}
    assert consumer == truth[1]


async def contents_of_copy(directory: Path) -> tuple[dict[int, bytes], dict[str, Any]]:
    copy = directory.with_name("copy")
    shutil.copytree(directory, copy)
    return await contents(copy)


@pytest.mark.parametrize("which", ["oldest", "newest", "heads"])
def test_segments_that_are_gone(directory: Path, capsys: pytest.CaptureFixture[str], which: str) -> None:
    path, _ = place_of(directory, {"oldest": 1, "newest": MESSAGES, "heads": 150}[which])
    seqs = {record.seq for record in scan_segment(path).records if record.kind == "message"}
    if which == "heads":
        flip(path, 20)
        flip(path, 84)
    else:
        path.unlink()
    code, report = repair(directory, capsys)
    (stream,) = report["streams"]
    lost = {seq for first, last in stream["lost"] for seq in range(first, last + 1)}
    assert code == 0 and stream["outcome"] == "repaired"
    if which == "heads":
        assert lost <= {min(seqs)}, "its records are found by what its neighbours know"
    else:
        assert lost == seqs
    assert store.main(["verify", str(directory)]) == 0
    found, _ = asyncio.run(contents(directory))
    assert set(found) == set(range(1, MESSAGES + 1)) - lost


def test_configuration_journal_witness_and_strange_files(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place, other = slot_of(directory), slot_of(directory, b"OTHER")
    flip(place / "stream.1", 40)
    (place / "notes.txt").write_text("somebody else's")
    (place / "log.0077").write_bytes(next(other.glob("log.*")).read_bytes())
    newest = max((path for path in place.glob("consumers.*")), key=lambda path: path.stat().st_mtime_ns)
    newest.write_bytes(newest.read_bytes()[:-3])
    code, report = repair(directory, capsys)
    (stream,) = report["streams"]
    assert code == 0 and stream["lost"] == []
    assert {"notes.txt", "log.0077", "stream.1", newest.name} <= set(stream["kept"])
    assert not (place / "notes.txt").exists() and not (place / "log.0077").exists()
    assert store.main(["verify", str(directory), "--json"]) == 0
    (verified,) = [each for each in json.loads(capsys.readouterr().out)["streams"] if each["name"] == "ORDERS"]
    assert not verified["damage"] and not [note for note in verified["notes"] if note.get("mendable")]
    found, _ = asyncio.run(contents(directory))
    assert len(found) == MESSAGES


def test_a_flipped_bit_in_a_block_is_mended_on_the_disk_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.corruption.stores import made

    made(tmp_path)
    slot = slot_of(tmp_path / "late", b"PACKED")
    path = next(path for path in sorted(slot.glob("log.*")) if path.read_bytes()[4:6] == b"\2\0")
    flip(path, 300)
    assert mended_blocks(path.read_bytes()) == 1
    assert store.main(["verify", str(tmp_path / "late")]) == 0
    assert "flipped bit" in capsys.readouterr().out
    code, report = repair(tmp_path / "late", capsys)
    (stream,) = report["streams"]
    assert (code, stream["name"], stream["lost"], path.name in stream["kept"]) == (0, "PACKED", [], True)
    assert not any(mended_blocks(each.read_bytes()) for each in slot.glob("log.*"))
    assert repair(tmp_path / "late", capsys)[1]["streams"] == []


def test_a_stream_that_cannot_be_opened(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = slot_of(directory)
    flip(place / "stream.0", 40)
    flip(place / "stream.1", 40)
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    code, report = repair(directory, capsys)
    (stream,) = report["streams"]
    assert (code, report["sound"], stream["outcome"]) == (1, False, "left as it is")
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before
    code, report = repair(directory, capsys, "--set-aside", "--keep", str(directory.parent / "aside"))
    (stream,) = report["streams"]
    assert (code, report["sound"], stream["outcome"]) == (0, True, "set aside")
    kept = directory.parent / "aside" / place.relative_to(directory / "jetstream")
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == before
    assert store.main(["verify", str(directory)]) == 0


def test_a_dry_run_says_the_same_and_writes_nothing(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage(directory, 77)
    before = files(directory)
    code, dry = repair(directory, capsys, "--dry-run")
    assert files(directory) == before
    assert (code, dry["dry_run"], dry["sound"], dry["streams"][0]["lost"]) == (1, True, False, [[77, 77]])
    assert store.main(["repair", str(directory), "--dry-run"]) == 1
    assert "would be repaired, 1 messages lost: 77" in capsys.readouterr().out
    code, report = repair(directory, capsys)
    assert (code, report["streams"][0]["lost"]) == (0, dry["streams"][0]["lost"])
    assert store.main(["repair", str(directory), "--dry-run"]) == 0


def test_it_refuses_while_a_server_has_the_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        async with millpond.Server(store_dir=str(tmp_path)) as server:
            await fill(server.client_url)
            for more in ([], ["--dry-run"]):
                assert store.main(["repair", str(tmp_path), *more]) == 2
                assert "in use by" in capsys.readouterr().err

    asyncio.run(main())


def test_a_disk_that_refuses_leaves_a_store_that_starts(
    directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(directory, 77)

    def refuse(*_: object) -> None:
        raise StoreError("no room")

    monkeypatch.setattr("millpond.cli.store_repair.renew", refuse)
    code, report = repair(directory, capsys)
    assert (code, report["streams"][0]["outcome"], report["streams"][0]["lost"]) == (1, "left as it is", [[77, 77]])
    monkeypatch.undo()
    assert renewal.renew is not refuse
    assert repair(directory, capsys, "--keep", str(directory.parent / "again"))[0] == 0
    found, _ = asyncio.run(contents(directory))
    assert set(found) == set(range(1, MESSAGES + 1)) - {77}


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="kills it in the middle by strace")
def test_a_kill_in_the_middle(original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At some writes of a repair (each thread counts its own): the next one finishes, and nothing that could be read is
    lost."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    killed = 0
    for number in (1, 2, 3, 5, 8, 15):
        directory = tmp_path / f"data-{number}"
        shutil.copytree(original, directory)
        damage(directory, 300)
        inject = f"inject=pwrite64:signal=KILL:when={number}"
        command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=pwrite64", "-e", inject]
        command += [sys.executable, "-m", "millpond", "store", "repair", str(directory)]
        done = subprocess.run(command, check=False, capture_output=True)
        killed += done.returncode != 0
        code, _ = repair(directory, capsys, "--keep", str(tmp_path / f"keep-{number}"))
        assert code == 0
        found, _ = asyncio.run(contents(directory))
        assert set(found) == set(range(1, MESSAGES + 1)) - {300}
    assert killed >= 3
