"""Power cuts: at any moment, with any part of what was not synced lost, everything answered is there.

The real executable runs once under load with its writes, syncs and answers traced (disk_trace.c). Then the trace is
cut at many places; each time the files that may be left are written out and a server is started on them. What
counts as answered is what the trace shows to have been sent before the cut.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest
from millpond.store.scan import scan_segment

import millpond

from . import churn
from .campaign import Server
from .check import create, read
from .churn import Churn
from .disk_trace import RENAME, SEND, Disk, Event, Outbox
from .disk_trace import read as read_trace
from .load import DELETE_REFUSALS, STREAMS, Worker, Writer
from .model import Violation, settle_torn
from .wire import Wire

SEED = int(os.environ.get("MILLPOND_CRASH_SEED", "1"))
CUTS = int(os.environ.get("MILLPOND_CUTS", "400"))
ANSWERS = 4000
NO_SUCH_STREAM = b'"err_code":10059,'
REFUSED_DELETE = tuple(b'"err_code":%d,' % code for code in DELETE_REFUSALS)
"""Changes nothing, so it is answered at once: it says nothing about what was sent before."""
SURVIVE = ("nothing", "something", "something", "everything")


SMALL_SUMMARIES = "from millpond.base import limits\nlimits.SUMMARY_SEGMENT_BYTES_LEAST = 1\n"
"""What the server's interpreter runs first: segments get summaries that are too small for them otherwise."""


class Recording:
    """One run of the server, and what its clients did. summaries: however small, full segments get theirs."""

    def __init__(
        self, folder: Path, seed: int, answers: int, *, deletes: bool = False, summaries: bool = False
    ) -> None:
        self.root = folder / "run" / "store"
        self.root.mkdir(parents=True)
        self._rng = random.Random(seed)
        self.writers: list[Writer] = []
        self.worker = Worker(self._rng)
        self.churn = Churn(self._rng)
        self._deletes = deletes
        trace = folder / "trace"
        environment = {"LD_PRELOAD": str(library(folder)), "TRACE_ROOT": str(self.root), "TRACE_FILE": str(trace)}
        if summaries:
            (folder / "sitecustomize.py").write_text(SMALL_SUMMARIES)
            environment["PYTHONPATH"] = str(folder)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            server = Server(folder / "run", "always")
            server.start()
        try:
            asyncio.run(asyncio.wait_for(self._load(server, answers), 120))
        finally:
            server.kill()
            server.reap()
        self.events = list(read_trace(trace))
        self.packed = sum(event.kind == RENAME and b"/log." in event.data for event in self.events)
        """How often a compressed segment took the place of a plain one, or back."""
        logs = self.root.glob("jetstream/*/streams/*/log.*")
        self.summaries = sum(path.read_bytes()[-64:-60] == b"MPSU" for path in logs)
        """How many files end with a summary."""

    async def _load(self, server: Server, answers: int) -> None:
        models = await create(server.port)
        self.writers = [Writer(model, self._rng, deletes=self._deletes) for model in models]
        left = answers

        def count() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                for writer in self.writers:
                    writer.stop()

        for writer in self.writers:
            writer.on_answer = count
        writing = asyncio.gather(*(writer.run(server.port) for writer in self.writers))
        others = (self.worker.run(server.port, until=writing.done), self.churn.run(server.port, until=writing.done))
        await asyncio.gather(writing, *others)
        while not self._is_packed():               # a thread that takes what the others leave is at it
            await asyncio.sleep(0.05)

    def _is_packed(self) -> bool:
        """Has a compressed segment taken the place of a plain one?"""
        logs = self.root.glob("jetstream/*/streams/*/log.*")
        return any(path.read_bytes()[4:6] == b"\x02\x00" for path in logs)


def library(folder: Path, name: str = "disk_trace.c") -> Path:
    """A library to be preloaded, compiled."""
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    source = Path(__file__).with_name(name)
    target = (folder / name).with_suffix(".so")
    command = [*compiler.split(), "-shared", "-fPIC", "-O1", "-o", target, source, "-ldl", "-lpthread"]
    subprocess.run(command, check=True)
    return target


class Answered:
    """What clients had been told before a cut: (number of the event, subject), in order."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self.outbox = Outbox()

    def feed(self, event: Event) -> None:
        if event.kind == SEND:
            self.outbox.feed(event)

    def operations(self, name: str) -> int:
        """How many operations of a stream must have survived."""
        return max((number + 1 for number in self._numbers(name, "o")), default=0)

    def streams(self) -> int:
        """How many streams were created."""
        return min(len(STREAMS), len(self._numbers("create", "r")))

    def acknowledgements(self) -> set[int]:
        """Sequences of WORK whose acknowledgement was confirmed."""
        return {self._recording.worker.sequence_of(number) for number in self._numbers("worker", "a")}

    def churned(self) -> list[int]:
        """Which creations, deletions and what is between them were answered."""
        return self._numbers(churn.CLIENT, churn.KIND)

    def _numbers(self, client: str, kind: str) -> list[int]:
        head = f"_INBOX.{client}.{kind}"
        return [
            int(subject[len(head) :])
            for _, subject, payload in self.outbox.messages
            if subject.startswith(head) and not any(code in payload for code in REFUSED_DELETE)
        ]


async def check(folder: Path, recording: Recording, answered: Answered) -> None:
    """Start a server on what is left and compare. Raises Violation.

    Of what was in flight any part may be there: a power cut tears any sectors out of a write.
    """
    async with millpond.Server(store_dir=str(folder)) as server:
        wire = await Wire.open(server.port, "verify")
        for number, writer in enumerate(recording.writers):
            name = writer.before.name
            info = await wire.request(f"$JS.API.STREAM.INFO.{name}")
            if NO_SUCH_STREAM in info.payload:
                if number < answered.streams():
                    raise Violation(f"{name}: its creation was answered, and it is gone")
                continue
            upto = answered.operations(name)
            found = await read(server.port, wire, name)
            settle_torn(writer.before, writer.operations, upto, found)
            ack = await wire.request(f"{name.lower()}.new", b"after")
            if b'"seq":%d' % (found.last_seq + 1) not in ack.payload:
                raise Violation(f"{name}: goes on with {ack.payload!r} after {found.last_seq}")
        _check_consumer(server, answered.acknowledgements())
        recording.churn.verify(await churn.find(server.port), answered.churned())
        assert server._jetstream is not None
        broken = server._jetstream.accounts["$G"].unrecovered
        if broken:
            raise Violation(f"{broken} could not be recovered")
        wire.close()


def _check_consumer(server: millpond.Server, confirmed: set[int]) -> None:
    jetstream = server._jetstream
    assert jetstream is not None
    stream = jetstream.accounts["$G"].engine.streams.get("WORK")
    consumer = None if stream is None else stream.consumers.get("C")
    if consumer is None:
        if confirmed:
            raise Violation("WORK: the consumer is gone although acknowledgements were confirmed")
        return
    again = confirmed & {row[0] for row in consumer.state.pending()}
    delivered = consumer.state.info()["delivered"]["stream_seq"]
    again |= {seq for seq in confirmed if seq > delivered}
    if again:
        raise Violation(f"WORK: {sorted(again)[:20]} would be delivered again although they were confirmed")


def play(folder: Path, recording: Recording, cuts: int, seed: int) -> None:
    """Cut the trace at `cuts` places. Raises Violation with the place and the seed."""
    rng = random.Random(seed)
    places = sorted(rng.randrange(len(recording.events)) for _ in range(cuts))
    disk, answered, number = Disk(recording.root), Answered(recording), 0
    for cut in places:
        while number <= cut:
            event = recording.events[number]
            if event.kind == SEND:
                answered.feed(event)
            else:
                disk.feed(event)
            number += 1
        target = folder / f"cut-{cut}"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        survive = rng.choice(SURVIVE)
        disk.write_out(target, rng, survive)
        try:
            asyncio.run(asyncio.wait_for(check(target, recording, answered), 60))
        except Violation as violation:
            raise Violation(f"cut at event {cut} of {len(recording.events)}, seed {seed}, {survive} of what was not "
                            f"synced survived:\n{violation}") from None  # fmt: skip
        shutil.rmtree(target)


LINUX = pytest.mark.skipif(os.uname().sysname != "Linux", reason="traces the server by LD_PRELOAD")


@LINUX
@pytest.mark.parametrize("summaries", [False, True])
def test_some_power_cuts(tmp_path: Path, summaries: bool) -> None:
    recording = Recording(tmp_path, SEED, 1500, summaries=summaries)
    assert recording.packed and bool(recording.summaries) == summaries
    play(tmp_path, recording, 24, SEED)


@LINUX
@pytest.mark.slow
def test_many_power_cuts(tmp_path: Path) -> None:
    recording = Recording(tmp_path, SEED, ANSWERS)
    play(tmp_path, recording, CUTS, SEED)
    print(f"{CUTS} power cuts in a trace of {len(recording.events)} events, seed {SEED}, {recording.packed} packed")


@LINUX
@pytest.mark.slow
def test_many_power_cuts_with_deletes(tmp_path: Path) -> None:
    play(tmp_path, Recording(tmp_path, SEED, ANSWERS, deletes=True, summaries=True), CUTS, SEED)


def test_a_torn_erasure_brings_nothing_back(tmp_path: Path) -> None:
    """One write: ten messages, an answered purge of "last.a", an answered delete of message 9, whose erasure tears."""
    asyncio.run(_torn_erasure(tmp_path))


async def _torn_erasure(folder: Path) -> None:
    async with millpond.Server(store_dir=str(folder / "run")) as server:
        wire = await Wire.open(server.port, "torn")
        body = json.dumps({**STREAMS[0], "subjects": ["last.*"]}).encode()
        await wire.request("$JS.API.STREAM.CREATE.LOG", body)
        wire.hold()
        for number in range(10):
            wire.publish("last.a" if number < 5 else "last.b", b"%d" % number)
        purged = asyncio.ensure_future(wire.request("$JS.API.STREAM.PURGE.LOG", b'{"filter":"last.a"}'))
        deleted = asyncio.ensure_future(wire.request("$JS.API.STREAM.MSG.DELETE.LOG", b'{"seq":9}'))
        await asyncio.sleep(0)  # both are written down now
        wire.release()
        assert all(b'"success":true' in answer.payload for answer in await asyncio.gather(purged, deleted))
        shutil.copytree(folder / "run", folder / "cut")  # as a kill would leave it: no orderly stop
        wire.close()
    log = next((folder / "cut").glob("jetstream/*/streams/0000/log.0000"))
    record = next(record for record in scan_segment(log).records if record.seq == 9)
    torn = bytearray(log.read_bytes())
    torn[record.offset + record.length - 1] ^= 0xFF
    log.write_bytes(torn)
    async with millpond.Server(store_dir=str(folder / "cut")) as server:
        wire = await Wire.open(server.port, "torn")
        back = [seq for seq in (await read(server.port, wire, "LOG")).messages if seq <= 5 or seq == 9]
        wire.close()
    if back:
        raise Violation(f"LOG: {back} were removed, that was answered, and they are back")
