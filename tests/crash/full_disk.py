"""A small file system that fills up under a server, over and over; the load, and what must be true.

    fill the disk ──> publish into it ──> read, acknowledge, delete, purge ──> free it ──> publish again ──> compare

Every answer is explained by the operations before it that were not refused: a refused publish (10047) has done
nothing. After a kill on the full disk what was answered is there, nothing refused is, and no sequence is issued twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from .campaign import WAIT_S, Server
from .check import create, read
from .load import STREAMS, WINDOW, Worker, Writer, payload, read_answer
from .model import NO_SUCH_MESSAGE, Answer, Model, Operation, Publish, Purge, Recovered, Violation
from .wire import Message, Wire

NO_ROOM: Final = 10047
NO_ROOM_ANSWER: Final = {
    "code": 500, "err_code": NO_ROOM, "description": "insufficient storage resources available",
}  # fmt: skip
DISK_BYTES: Final = 32 << 20
REFUSALS: Final = 200
"""So many publishes of WORK are refused in a cycle. Other streams evict and purge, and go on in the files they have."""
SAID: Final = "No space left under"


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A tmpfs of DISK_BYTES. Raises PermissionError where this process may not mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(folder)]
    done = subprocess.run(mount, check=False, capture_output=True, text=True)
    if done.returncode:
        raise PermissionError(done.stderr.strip())
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


class Neighbour:
    """Somebody else's file on the same disk."""

    def __init__(self, disk: Path) -> None:
        self._path = disk / "neighbour"

    def fill(self, leave: int) -> None:
        """All that is free but `leave` bytes."""
        with self._path.open("ab") as file:
            step, size = 1 << 20, file.tell()
            while step >= 4096:
                try:
                    os.posix_fallocate(file.fileno(), size, step)
                    size += step
                except OSError as error:
                    assert error.errno == errno.ENOSPC
                    step //= 2
            file.truncate(max(0, size - leave))

    def leave(self) -> None:
        self._path.unlink(missing_ok=True)


class Filler(Writer):
    """Pipelines operations as a Writer does, and learns from each answer whether it counts."""

    def __init__(self, model: Model, rng: random.Random) -> None:
        super().__init__(model, rng)
        self.found: dict[int, Answer] = {}
        self.refusals = 0
        self.acks = 0

    def _answer(self, message: Message) -> None:
        number = int(message.subject.rpartition(".o")[2])
        if number in self.found:
            raise Violation(f"{self.before.name}: operation {number} was answered twice")
        operation = self.operations[number]
        found = read_answer(operation, message.payload)
        if found == ("error", NO_ROOM):
            said = json.loads(message.payload)
            if not isinstance(operation, Publish) or said["error"] != NO_ROOM_ANSWER or said["seq"] != 0:
                raise Violation(f"{self.before.name}: {str(operation)[:80]} was answered {message.payload!r}")
            self.refusals += 1
        self.acks += found[0] == "ack"
        self.found[number] = found
        self.answered.add(number)
        self._room.set()
        self.on_answer()

    def _choose(self) -> Operation:
        """The model that chooses believes that nothing is refused: what it says of last sequences is not so."""
        operation = super()._choose()
        while isinstance(operation, Purge) and operation.seq:
            operation = super()._choose()
        return operation

    @property
    def is_settled(self) -> bool:
        """Is everything answered?"""
        return len(self.operations) == len(self.answered)

    def hold(self) -> None:
        """Send nothing more until `go_on`."""
        self._window = 0

    def go_on(self) -> None:
        self._window = WINDOW
        self._room.set()

    def counted(self) -> list[int]:
        """What was answered, and not refused, in the order it was sent.

        A deletion of what is not there is answered at once, also when an operation before it, whose answer still waits
        for the disk, has just removed it: what a kill keeps from us says nothing about the stream.
        """
        unanswered = next((number for number in range(len(self.operations)) if number not in self.found), None)
        return sorted(
            number for number, found in self.found.items()
            if found != ("error", NO_ROOM)
            and not (found == ("error", NO_SUCH_MESSAGE) and unanswered is not None and unanswered < number)
        )  # fmt: skip

    def outcome(self) -> Model:
        """The stream that the answers describe. Raises Violation where one of them is not what it should be."""
        state = self.before.clone()
        for number in self.counted():
            expected, found = state.apply(self.operations[number]), self.found[number]
            if found != expected:
                operation = str(self.operations[number])[:120]
                raise Violation(f"{state.name}: {operation} was answered {found}, expected {expected}")
            if found[0] == "ack":
                self.acked_seqs[found[1]] = number
        return state

    def explain(self, after: Recovered) -> Model:
        """What a restarted server holds: everything answered, and of what was not answered any part."""
        state = self.outcome()
        waiting = [operation for number, operation in enumerate(self.operations) if number not in self.found]
        unsure = {(each.subject, each.payload) for each in waiting if isinstance(each, Publish)}
        removing = bool(waiting)
        refused = {
            self.operations[number].payload  # type: ignore[union-attr]
            for number, found in self.found.items() if found == ("error", NO_ROOM)
        }  # fmt: skip
        for seq, message in after.messages.items():
            if message[1] in refused:
                raise Violation(f"{state.name}: message {seq} was refused, and is there")
            if state.messages.get(seq) != message and not (seq > state.last_seq and message in unsure):
                raise Violation(f"{state.name}: message {seq} is not what was answered, nor what was under way")
        missing = [seq for seq in state.messages if seq not in after.messages]
        if missing and not removing:
            raise Violation(f"{state.name}: {missing[:20]} were answered and are lost")
        certain = state.clone()
        for each in waiting:
            certain.apply(each)
        lost = [seq for seq in missing if seq in certain.messages]
        if lost or after.last_seq < state.last_seq:
            raise Violation(f"{state.name}: {lost[:20]} are lost, {after.last_seq} comes after {state.last_seq}")
        kept = Model(self.before.configuration, dict(after.messages), after.last_seq, state.ids)
        return kept.restarted()


class FullDisk:
    """`run` cycles on one store directory. Raises Violation at the first broken promise."""

    def __init__(self, disk: Path, seed: int) -> None:
        self._rng = random.Random(seed)
        self._neighbour = Neighbour(disk)
        self._server = Server(disk, "always", expected=SAID)
        self._worker = Worker(self._rng)
        self._models: list[Model] = []
        self._issued: dict[str, dict[int, bytes]] = {}
        self.acks = self.refusals = 0
        self.resumed_s: list[float] = []
        """How long after the space was there again publishes were taken, by cycle."""

    def run(self, cycles: int, kill_every: int) -> None:
        """Each `kill_every`th cycle ends with a kill on the full disk."""
        self._server.start()
        self._models = asyncio.run(create(self._server.port))
        try:
            for number in range(1, cycles + 1):
                kill = number % kill_every == 0
                asyncio.run(asyncio.wait_for(self._cycle(kill), WAIT_S))
                if kill:
                    self._server.reap()
                    self._server.start()
                    asyncio.run(asyncio.wait_for(self._after_kill(), WAIT_S))
            self._server.stop()
            self._server.start()
            asyncio.run(asyncio.wait_for(self._compare(self._models), WAIT_S))
            self._server.stop()
        finally:
            self._server.reap()

    async def _cycle(self, kill: bool) -> None:
        port = self._server.port
        self._writers = [Filler(model, self._rng) for model in self._models]
        self._neighbour.fill(self._rng.choice((0, 0, 10_000, 300_000, 2_000_000)))
        running = asyncio.gather(*(writer.run(port) for writer in self._writers))
        work = next(writer for writer in self._writers if writer.before.name == "WORK")
        await self._until(lambda: work.refusals >= REFUSALS, running)
        for writer in self._writers:
            writer.hold()
        await self._until(lambda: all(writer.is_settled for writer in self._writers), running)
        self._neighbour.fill(0)
        await self._go_on_while_full()
        for writer in self._writers:
            writer.go_on()
        refusals = work.refusals
        await self._until(lambda: work.refusals > refusals, running)
        if kill:
            self._server.kill()
            await running
            self._note(self._writers)
            return
        self._neighbour.leave()
        freed, acks = time.monotonic(), work.acks
        await self._until(lambda: work.acks > acks, running)
        self.resumed_s.append(time.monotonic() - freed)
        for writer in self._writers:
            writer.stop()
        await running
        self._models = [writer.outcome() for writer in self._writers]
        self._note(self._writers)
        await self._compare(self._models)
        await self._empty("WORK")

    async def _until(self, done: Any, running: asyncio.Future[Any]) -> None:
        """Until `done()`, looked at after each answer; or what is `running` has failed."""
        changed = asyncio.Event()
        for writer in self._writers:
            writer.on_answer = changed.set
        while not done():
            changed.clear()
            waiting = asyncio.ensure_future(changed.wait())
            await asyncio.wait([waiting, running], return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if running.done():
                running.result()
                raise Violation("the server went away")

    async def _go_on_while_full(self) -> None:
        """Reads, acknowledgements and the API while nothing can be stored."""
        port = self._server.port
        wire = await Wire.open(port, "full")
        for verb, configuration in (
            ("CREATE.NEW", {**STREAMS[0], "name": "NEW", "subjects": ["n"]}),
            ("UPDATE.LAST", {**STREAMS[1], "max_msgs": 77}),
        ):
            answer = await wire.request(f"$JS.API.STREAM.{verb}", json.dumps(configuration).encode())
            said = json.loads(answer.payload)
            if said.get("error") != NO_ROOM_ANSWER:
                raise Violation(f"a stream was created or changed on a full disk: {said}")
        info = json.loads((await wire.request("$JS.API.STREAM.INFO.LAST")).payload)
        if info["config"]["max_msgs"] != -1:
            raise Violation("a refused update took effect")
        asked = json.dumps({"next_by_subj": "last.>", "seq": info["state"]["first_seq"]}).encode()
        got = await wire.request("$JS.API.DIRECT.GET.LAST", asked)
        if info["state"]["messages"] and b"Nats-Sequence" not in got.headers:
            raise Violation(f"a read on a full disk was answered {got.headers!r}")
        worker, pulls, confirmed = self._worker, self._worker.pulls, len(self._worker.confirmed)
        sent = worker.sent
        await worker.run(port, until=lambda: worker.pulls >= pulls + 3)
        if worker.sent > sent:  # it is told until somebody confirms; the cycle's deadline says when that is too late
            await worker.run(port, until=lambda: len(worker.confirmed) > confirmed)
        wire.close()

    async def _empty(self, name: str) -> None:
        """Everything in a stream is purged, so that the disk is as empty as at first."""
        wire = await Wire.open(self._server.port, "empty")
        said = json.loads((await wire.request(f"$JS.API.STREAM.PURGE.{name}")).payload)
        model = next(model for model in self._models if model.name == name)
        if said.get("purged") != len(model.messages):
            raise Violation(f"{name}: a purge of {len(model.messages)} messages was answered {said}")
        model.apply(Purge())
        self._worker.delivered.clear()
        wire.close()

    def _note(self, writers: list[Filler]) -> None:
        """What was answered in this cycle; every sequence stands for one message, for ever."""
        for writer in writers:
            writer.outcome()
            issued = self._issued.setdefault(writer.before.name, {})
            for seq, number in writer.acked_seqs.items():
                body = getattr(writer.operations[number], "payload", b"")
                if issued.setdefault(seq, body) != body:
                    raise Violation(f"{writer.before.name}: sequence {seq} was issued twice")
            self.acks += writer.acks
            self.refusals += writer.refusals

    async def _after_kill(self) -> None:
        """Started again on the full disk: everything answered is there, then there is room again."""
        port = self._server.port
        wire = await Wire.open(port, "killed")
        models = []
        for writer in self._writers:
            models.append(writer.explain(await read(port, wire, writer.before.name)))
        self._models = models
        wire.close()
        self._neighbour.leave()
        await self._taken_again(port)
        await self._empty("WORK")

    async def _taken_again(self, port: int) -> None:
        freed = time.monotonic()
        for model in self._models:
            wire = await Wire.open(port, "again")
            subject, body = f"{model.name.lower()}.again", payload(self._rng)
            while True:
                said = read_answer(Publish(subject, body), (await wire.request(subject, body)).payload)
                if said != ("error", NO_ROOM):
                    break
                await wire.flush()
            expected = model.apply(Publish(subject, body))
            if said != expected:
                raise Violation(f"{model.name}: a publish after the kill was answered {said}, expected {expected}")
            wire.close()
        self.resumed_s.append(time.monotonic() - freed)

    async def _compare(self, models: list[Model]) -> None:
        wire = await Wire.open(self._server.port, "compare")
        for model in models:
            found = await read(self._server.port, wire, model.name)
            if found.messages != model.messages or found.last_seq != model.last_seq:
                missing = sorted(set(model.messages) - set(found.messages))[:20]
                strange = sorted(set(found.messages) - set(model.messages))[:20]
                raise Violation(
                    f"{model.name}: last {found.last_seq}, expected {model.last_seq}; missing {missing}, "
                    f"strange {strange}"
                )
        wire.close()
