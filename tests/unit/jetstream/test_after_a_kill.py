"""What a killed server has left in the kernel's memory: the next one makes it durable before it relies on it."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

from millpond.base.clock import ManualClock
from millpond.broker.broker import Broker
from millpond.broker.sink import CallableSink
from millpond.testing.disk_image import DiskImage
from millpond.testing.simulated_disk import GONE, NAME, SYNCED, WRITE, SimulatedDisk

from millpond.config.options import JetStreamOptions, Options
from millpond.jetstream.api.registry import Api
from millpond.jetstream.engine import Engine
from millpond.jetstream.storage import Storage
from millpond.jetstream.stream_config import StreamConfig


class Account:
    """On a disk whose syncs end when `settle` lets them. killed: whose disk it goes on with, and the files of that."""

    def __init__(self, directory: Path, killed: tuple[Account, Any] | None = None) -> None:
        before, known = killed or (None, None)
        self.disk = SimulatedDisk(str(directory), known, before.disk.trace if before else ())
        self.certain: Any = before.certain if before else certain(directory, self.disk)
        self.disk.next_job = lambda: 0 if self._patient else -1
        self._patient = True
        options = Options(jetstream=JetStreamOptions(store_dir=str(directory)))
        self.broker = Broker(options, ManualClock())
        self.storage = Storage(options.jetstream, directory, disk=self.disk)
        self.engine = Engine(options.jetstream, self.storage, self.broker.router, self.broker.turn, "here")
        self.engine.recover()
        self.api = Api(self.engine, self.broker.router, self.engine.advisories, server_name="", domain="")
        self.answers: list[bytes] = []
        self.broker.router.subscribe(b"answer", CallableSink(self._answered))
        self._patient = False

    def _answered(self, subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: object) -> None:
        self.answers.append(body)

    def publish(self, subject: bytes, body: bytes) -> None:
        """Written, and the sync of it does not end."""
        self.broker.router.publish(subject, body, b"answer", b"")
        while self.broker.turn.finish_now():
            pass
        self.storage.committer.run_now()

    def request(self, verb: str, body: dict[str, object]) -> None:
        self.publish(b"$JS.API." + verb.encode(), json.dumps(body).encode())

    def settle(self, last_first: bool = False) -> None:
        """last_first: of several syncs the one that was asked for last ends first."""
        self._patient = True
        if last_first:
            self.disk.next_job = lambda: 1
        for _ in range(3):
            self.storage.committer.drain()
            while self.broker.turn.finish_now():
                pass
        self._patient = False

    def kill(self, directory: Path) -> Account:
        """The next one, which finds what was in memory."""
        files, known = self._image(None).memory()
        put(directory, files)
        return Account(directory, (self, known))

    def stop(self) -> None:
        """In order."""
        self._patient = True
        self.api.close()
        self.engine.stop()

    def rest(self, directory: Path) -> Account:
        """The next one, after a stop, when all that was written is on disk."""
        put(directory, self._image(None).memory()[0])
        return Account(directory)

    def cut(self, directory: Path, at: int | None = None) -> Account:
        """The next one, which finds only what is certain, after so many steps."""
        put(directory, self._image(at).image(Random(0), "nothing"))
        return Account(directory)

    def _image(self, at: int | None) -> DiskImage:
        image = DiskImage(*self.certain, Random(0))
        for step in self.disk.trace[:at]:
            image.feed(step)
        return image


def certain(directory: Path, disk: SimulatedDisk) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What is there at first: (files by path, their content by path)."""
    files = disk.files()
    return files, {path: Path(f"{directory}{path}").read_bytes() for path, file in files.items() if file is not None}


def put(directory: Path, files: dict[str, bytes | None]) -> None:
    for path, data in sorted(files.items()):
        if data is None:
            Path(f"{directory}{path}").mkdir()
        else:
            Path(f"{directory}{path}").write_bytes(data)


def made(tmp_path: Path) -> Account:
    (tmp_path / "first").mkdir()
    account = Account(tmp_path / "first")
    account.request("STREAM.CREATE.S", {"name": "S", "subjects": ["s"], "storage": "file"})
    account.settle()
    return account


def test_a_new_segments_name_is_on_disk_before_a_message_in_it_is_acknowledged(tmp_path: Path) -> None:
    account = made(tmp_path)
    account.publish(b"s", b"written")
    again = account.kill(tmp_path / "killed")
    assert again.cut(tmp_path / "early").engine.streams["S"].state()["messages"] == 1, "it was there to be delivered"
    again.publish(b"s", b"acknowledged")
    again.settle()
    assert [json.loads(answer) for answer in again.answers] == [{"stream": "S", "seq": 2}]
    store = again.cut(tmp_path / "cut").engine.streams["S"].store
    assert [store.load_message(seq)["body"] for seq in (1, 2)] == [b"written", b"acknowledged"]


def test_a_consumer_that_was_found_is_on_disk(tmp_path: Path) -> None:
    account = made(tmp_path)
    config = {"durable_name": "C", "name": "C", "ack_policy": "explicit"}
    account.request("CONSUMER.CREATE.S.C", {"stream_name": "S", "config": config})
    assert "C" not in account.cut(tmp_path / "before").engine.streams["S"].consumers
    again = account.kill(tmp_path / "killed")
    assert "C" in again.engine.streams["S"].consumers
    assert "C" in again.cut(tmp_path / "after").engine.streams["S"].consumers


def test_a_journal_that_is_known_to_be_on_disk_is_not_written_again(tmp_path: Path) -> None:
    account = made(tmp_path)
    config = {"durable_name": "C", "name": "C", "ack_policy": "explicit"}
    account.request("CONSUMER.CREATE.S.C", {"stream_name": "S", "config": config})
    account.settle()
    account.stop()
    again = account.kill(tmp_path / "stopped")
    journals = {step[2] for step in account.disk.trace if step[0] == NAME and "/consumers." in step[1]}
    assert journals and not [step for step in again.disk.trace[len(account.disk.trace) :] if step[1] in journals]


def test_a_journal_that_a_start_has_written_again_is_not_written_again_by_the_next(tmp_path: Path) -> None:
    account = made(tmp_path)
    config = {"durable_name": "C", "name": "C", "ack_policy": "explicit"}
    account.request("CONSUMER.CREATE.S.C", {"stream_name": "S", "config": config})
    journals = {step[2] for step in account.disk.trace if step[0] == NAME and "/consumers." in step[1]}
    first = account.kill(tmp_path / "killed")
    assert [step for step in first.disk.trace[len(account.disk.trace) :] if step[1] in journals]
    first.storage.committer.testify()
    first.storage.committer.run_now()
    second = first.kill(tmp_path / "again")
    assert "C" in second.engine.streams["S"].consumers
    assert not [step for step in second.disk.trace[len(first.disk.trace) :] if step[1] in journals]


def test_a_consumer_is_not_ahead_of_a_stream_that_was_stopped_in_order_before(tmp_path: Path) -> None:
    """Nothing in the log says that somebody has gone on: what a power cut takes has its sequences issued again."""
    first = made(tmp_path)
    first.publish(b"s", b"kept")
    first.settle()
    first.stop()
    account = first.rest(tmp_path / "again")
    account.publish(b"s", b"on its way")
    config = {"durable_name": "C", "name": "C", "ack_policy": "explicit", "deliver_policy": "new"}
    account.request("CONSUMER.CREATE.S.C", {"stream_name": "S", "config": config})
    account.settle(last_first=True)
    ends = []
    for number in range(len(account.disk.trace) + 1):
        stream = account.cut(tmp_path / f"cut {number}", number).engine.streams["S"]
        if "C" in stream.consumers:
            ends.append(stream.state()["last_seq"])
            assert stream.consumers["C"].info()["delivered"]["stream_seq"] <= ends[-1]
    assert ends and set(ends) == {2}


def test_a_mark_that_was_found_is_on_disk_before_what_it_condemns_goes(tmp_path: Path) -> None:
    account = made(tmp_path)
    account.publish(b"s", b"kept")
    account.settle()
    account.request("STREAM.DELETE.S", {})
    before, slot = len(account.disk.trace), "/jetstream/$G/streams/0000"
    again = account.kill(tmp_path / "killed")
    steps = [(step[0], step[1]) for step in again.disk.trace[before:]]
    gone = [number for number, (kind, path) in enumerate(steps) if kind == GONE and path.startswith(slot)]
    assert "S" not in again.engine.streams and gone and steps.index((SYNCED, slot)) < gone[0]


def test_a_hidden_place_is_written_to_when_its_mark_is_on_disk(tmp_path: Path) -> None:
    account = made(tmp_path)
    config = StreamConfig(name="R", subjects=("r",), storage="file")
    shelf: Any = account.storage.create(config, hidden=True)
    shelf.journal.open_consumer("C", b"{}")
    while account.broker.turn.finish_now():
        pass
    slot = f"/jetstream/$G/streams/{shelf.slot.name}"
    names = [step[1] for step in account.disk.trace if step[0] == NAME and step[1].startswith(slot)]
    assert f"{slot}/released" in names and f"{slot}/consumers.0" not in names
    account.settle()
    steps = [(step[0], step[1]) for step in account.disk.trace]
    assert steps.index((SYNCED, slot)) < steps.index((NAME, f"{slot}/consumers.0"))
    assert account.cut(tmp_path / "cut").storage.unrecovered == []
    assert any(step[0] == WRITE for step in account.disk.trace[steps.index((NAME, f"{slot}/consumers.0")) :])
