"""Who plays the script: asks a server, hears the answers, takes a refusal where the disk has given a reason for one.

A refusal is excused when the call that the plan refuses was made for what was asked, while it lasts, while the disk is
known to be full, and, where a disk has failed a stream, until the next start. Anything else that is not answered as the
model says is a violation.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from stream_model import Stream
from stream_model_rules import Delete, Operation, Publish, Update, api_request, block, understood

from millpond.base.errors import StoreError

from ..simulator.history import History, Sent, Violation, same
from .faults import Plan
from .judge import ACK_WAIT_S, LATE, SECOND_NS, Books, Confirmation, Life, Reader, error_of, found_in
from .server import Server, Taken

LIMITED: dict[str, Any] = {
    "storage": "file", "max_msgs": -1, "max_bytes": -1, "max_msgs_per_subject": -1, "max_msg_size": -1, "max_age": 0,
    "discard": "old", "discard_new_per_subject": False, "duplicate_window": 120 * SECOND_NS, "retention": "limits",
}  # fmt: skip
"""What a configuration says that does not say otherwise."""
CODES = {
    "PUBLISH": {10047}, "STREAM.CREATE": {10047, 10077}, "STREAM.UPDATE": {10047, 10069}, "STREAM.DELETE": {10050},
    "STREAM.MSG.DELETE": {10057}, "STREAM.PURGE": {10110}, "STREAM.RESTORE": {10047, 10062, 10077},
    "CONSUMER.CREATE": {10012}, "CONSUMER.DELETE": {10051}, "CONSUMER.PAUSE": {10104}, "CONSUMER.RESET": {10104},
}  # fmt: skip
"""With which errors a request may be refused for the disk's sake."""
VERBS = {"Publish": "PUBLISH", "Delete": "STREAM.MSG.DELETE", "Purge": "STREAM.PURGE", "Update": "STREAM.UPDATE"}


@dataclass
class Unit:
    """Operations of one stream that succeed or fail together, in flight. Without any: time passes, `ns`."""

    operations: list[Operation]
    at: int
    calls: int
    """Of the disk, before it was sent."""
    failed: bool
    """Had the stream failed before?"""
    amid: bool
    """Was it sent while the disk was full, or the fault lasted?"""
    numbers: list[int] = field(default_factory=list)
    ns: int = 0


class Play:
    def __init__(self, server: Server, plan: Plan) -> None:
        self.server, self.plan = server, plan
        self.books = Books()
        self.epochs = [self.books]
        self.outcomes: Counter[str] = Counter()
        """Of what was refused, or not answered."""
        self._clocks = [(0, server.clock.wall_ns)]
        self._open: dict[int, tuple[str, Callable[[Taken], None]]] = {}
        self._units: dict[int, list[Unit]] = {}
        self._lives = 0

    def clock_at(self, cut: int) -> int:
        """What the clock said when the trace was that long."""
        return [wall_ns for at, wall_ns in self._clocks if at <= cut][-1]

    # --- what is excused ---

    def excused(self, calls: int, slot: str) -> bool:
        """May what was asked after so many calls be refused?"""
        plan = self.plan
        if plan.fired is None:
            return False
        return plan.fired.number > calls or bool(slot and plan.spoils(slot)) or self._amid()

    def _amid(self) -> bool:
        return self.plan.fired is not None and (self.plan.active or bool(self.server.storage.committer.space.full))

    def _step(self) -> None:
        was_active = self.plan.active
        self.plan.step()
        if not self.plan.active and (was_active or self.server.storage.committer.space.full):
            self.server.make_room()
            self.listen()

    def _refused(self, what: str, answer: Taken | None) -> None:
        if answer is None:
            self.outcomes[f"{what} not answered"] += 1
            return
        code = error_of(answer.body)
        if code not in CODES.get(what, {code}):
            raise Violation(f"{what} is refused with {answer.body!r}")
        self.outcomes[f"{what} refused, {code}"] += 1

    def ask(self, what: str, number: int, slot: str, calls: int, done: Callable[[Taken], None]) -> None:
        """`done` when it is answered without an error."""
        self._open[number] = what, done
        self.settle()
        if number in self._open and not self.excused(calls, slot):
            raise Violation(f"{what} is not answered")

    def request(self, verb: str, body: dict[str, Any] | None, slot: str, done: Callable[[Taken], None]) -> None:
        calls = self.server.calls
        what = ".".join(part for part in verb.split(".") if part.isupper() and len(part) > 2)
        number = self.server.request(verb, body)

        def judged(taken: Taken) -> None:
            if error_of(taken.body):
                if not self.excused(calls, slot):
                    raise Violation(f"{verb} is answered {taken.body!r}")
                self._refused(what, taken)
            else:
                done(taken)

        self.ask(what, number, slot, calls, judged)

    def settle(self) -> None:
        self.server.settle()
        self.listen()

    def listen(self) -> None:
        taken = self.server.taken
        for number in [number for number in self._open if number in taken]:
            self._open.pop(number)[1](taken.pop(number)[0])
        for life in self.books.lives:
            self._resolve(life, self._units.get(id(life), []))

    # --- streams ---

    def create(self, name: str, **changes: Any) -> None:
        """Unless it is there."""
        self._step()
        if self.books.present(name) is not None:
            return
        if self.books.of(name):
            self.advance(SECOND_NS // 2)           # of two with one name the later one counts
        life = self._new_life(name, {**LIMITED, "subjects": [f"{name.lower()}.>"], **changes})
        self.request(f"STREAM.CREATE.{name}", life.history.model.config, "", lambda taken: self._created(life, taken))

    def _new_life(self, name: str, config: dict[str, Any]) -> Life:
        self._lives += 1
        config = {**config, "name": name, "description": str(self._lives)}
        life = Life(name, self._lives, History(Stream(config, self.server.clock.wall_ns)), self.server.now)
        life.history.states[0].config = life.history.model.config
        self.books.lives.append(life)
        return life

    def _created(self, life: Life, taken: Taken) -> None:
        life.created = taken.at
        if life.deletion_sent == LATE:
            life.slot = str(self.server.engine._shelves[life.name].slot)[len(str(self.server.folder)) :]

    def delete(self, name: str) -> None:
        self._step()
        life = self.books.present(name)
        if life is None:
            return
        life.deletion_sent = self.server.now

        def done(taken: Taken) -> None:
            life.deleted = taken.at

        self.request(f"STREAM.DELETE.{name}", None, life.slot, done)
        if life.deleted == LATE and name in self.server.engine.streams:
            life.deletion_sent = LATE              # refused before anything was done

    def _stream(self, life: Life) -> Any:
        return self.server.engine.streams.get(life.name)

    # --- what a stream is asked for ---

    def send(self, name: str, *operations: Operation) -> None:
        """Each by itself; nobody waits for the answers."""
        for operation in operations:
            self._send(name, [operation])

    def batch(self, name: str, *publishes: Publish) -> None:
        """All or none of them."""
        marked: list[Operation] = []
        for i, publish in enumerate(publishes):
            last = (("Nats-Batch-Commit", "1"),) if i == len(publishes) - 1 else ()
            marks = (("Nats-Batch-Id", f"B{self.server.requests}"), ("Nats-Batch-Sequence", str(i + 1)), *last)
            marked.append(Publish(publish.subject, (*publish.headers, *marks), publish.body))
        self._send(name, marked)

    def _send(self, name: str, operations: list[Operation]) -> None:
        self._step()
        life = self.books.present(name)
        stream = self._stream(life) if life is not None else None
        if life is None or stream is None:
            return
        failed = bool(stream.failure or stream.store.failure)
        unit = Unit(operations, self.server.now, self.server.calls, failed, self._amid())
        for operation in operations:
            if isinstance(operation, Publish):
                number = self.server.publish(operation.subject.encode(), operation.body, block(operation.headers))
            else:
                config = life.history.model.config
                if isinstance(operation, Update):
                    config = {**config, **dict(operation.changes)}
                number = self.server.request(*api_request(operation, config))
            unit.numbers.append(number)
        self._units.setdefault(id(life), []).append(unit)

    def do(self, name: str, *operations: Operation) -> None:
        """The same, and their answers are there."""
        self.send(name, *operations)
        self.settle()

    def _resolve(self, life: Life, units: list[Unit]) -> None:
        """In their order: what was answered has taken effect."""
        while units:
            unit = units[0]
            if unit.ns:
                life.history.advance(unit.ns, unit.at)
            elif not self._resolve_one(life, unit):
                return
            units.pop(0)

    def _resolve_one(self, life: Life, unit: Unit) -> bool:
        """False: it is not answered yet."""
        taken = self.server.taken
        if unit.numbers[-1] not in taken:
            return False
        answers = [taken.pop(number, []) for number in unit.numbers]
        code = error_of(answers[-1][0].body)
        what = type(unit.operations[0]).__name__
        excused = unit.amid or self.excused(unit.calls, life.slot)
        if code and excused and (code in CODES[VERBS[what]] or len(unit.operations) > 1):
            self.outcomes[f"{what} refused, {code}"] += 1
            stream = self._stream(life)
            if not unit.failed and (stream is None or stream.failure or stream.store.failure):
                self._apply(life, unit, None)      # it may be there, or not
            return True
        self._apply(life, unit, answers)
        return True

    def _apply(self, life: Life, unit: Unit, answers: list[list[Taken]] | None) -> None:
        for i, operation in enumerate(unit.operations):
            sent = life.history.apply(operation, unit.at)
            if answers is not None:
                found = answers[i]
                at = found[-1].at if found else self.server.now
                try:
                    life.history.answer(sent, [understood(one.body) for one in found], at, False)
                except Violation as violation:
                    raise Violation(f"{life.name}: {violation}") from None

    def expect_answers(self) -> None:
        """Everybody has heard what became of what he asked for."""
        self.settle()
        for life in self.books.lives:
            for unit in self._units.get(id(life), []):
                if not unit.amid and not self.excused(unit.calls, life.slot):
                    raise Violation(f"{life.name}: {unit.operations} is not answered")
                return

    def advance(self, ns: int) -> None:
        """Time passes."""
        self._step()
        self.expect_answers()
        for life in self.books.lives:
            unit = Unit([], self.server.now, self.server.calls, False, False, [], ns)
            self._units.setdefault(id(life), []).append(unit)
        self.listen()
        self._clocks.append((self.server.now + 1, self.server.clock.wall_ns + ns))
        self.server.advance(ns)
        self.listen()

    def look(self) -> None:
        """What is there is what the model has."""
        self.expect_answers()
        for life in self.books.lives:
            stream = self._stream(life)
            if life is not self.books.present(life.name) or stream is None or self._units.get(id(life)):
                continue
            failure = stream.failure or stream.store.failure or stream.journal.failure
            if failure:
                if not self.plan.spoils(life.slot):
                    raise Violation(f"{life.name} has failed: {failure}")
                continue
            with self.plan.blind():
                found = found_in(self.server, life.name)
            model = life.history.model
            wrong = [seq for seq, message in found.messages.items()
                     if seq not in model.messages or not same(message, model.messages[seq])]  # fmt: skip
            if wrong or found.messages.keys() != model.messages.keys() or found.last_seq != model.last_seq:
                raise Violation(f"{life.name} holds {sorted(found.messages)} up to {found.last_seq}, expected "
                                f"{sorted(model.messages)} up to {model.last_seq}; {wrong} are others")  # fmt: skip

    # --- consumers ---

    def consumer(self, name: str, consumer: str, **changes: Any) -> None:
        """Unless it is there."""
        self._step()
        life = self.books.present(name)
        if life is None or (life.reader(consumer) is not None and life.reader(consumer).created != LATE):  # type: ignore[union-attr]
            return
        reader = Reader(consumer, self.server.now)
        life.readers.append(reader)
        config = {"durable_name": consumer, "name": consumer, "ack_policy": "explicit", "max_ack_pending": -1,
                  "ack_wait": ACK_WAIT_S * SECOND_NS, **changes}  # fmt: skip

        def done(taken: Taken) -> None:
            reader.created = taken.at

        self.request(f"CONSUMER.CREATE.{name}.{consumer}", {"stream_name": name, "config": config}, life.slot, done)

    def _reader(self, name: str, consumer: str) -> tuple[Life, Reader] | None:
        life = self.books.present(name)
        reader = life.reader(consumer) if life is not None else None
        stream = self._stream(life) if life is not None else None
        if life is None or reader is None or stream is None:
            return None
        return (life, reader) if reader.created != LATE and consumer in stream.consumers else None

    def drop_consumer(self, name: str, consumer: str) -> None:
        self._step()
        there = self._reader(name, consumer)
        if there is None:
            return
        life, reader = there
        reader.deletion_sent = self.server.now

        def done(taken: Taken) -> None:
            reader.deleted = taken.at

        self.request(f"CONSUMER.DELETE.{name}.{consumer}", None, life.slot, done)

    def pause(self, name: str, consumer: str, until_ns: int) -> None:
        """0: no longer."""
        self._step()
        there = self._reader(name, consumer)
        if there is None:
            return
        life, reader = there
        place = len(reader.pauses)
        reader.pauses.append((self.server.now, LATE, until_ns))
        text = f"{until_ns // SECOND_NS}" if until_ns else ""

        def done(taken: Taken) -> None:
            reader.pauses[place] = reader.pauses[place][0], taken.at, until_ns

        body = {"pause_until": time_text(int(text))} if text else {}
        self.request(f"CONSUMER.PAUSE.{name}.{consumer}", body, life.slot, done)

    def reset(self, name: str, consumer: str, seq: int) -> None:
        self._step()
        there = self._reader(name, consumer)
        if there is None:
            return
        life, reader = there
        reader.reset_sent = min(reader.reset_sent, self.server.now)
        reader.settled.clear()
        self.request(f"CONSUMER.RESET.{name}.{consumer}", {"seq": seq}, life.slot, lambda taken: None)

    def pull(self, name: str, consumer: str, batch: int) -> None:
        self._step()
        there = self._reader(name, consumer)
        if there is None:
            return
        life, reader = there
        self.expect_answers()
        number = self.server.pull(name, consumer, batch)
        self.settle()
        confirmed = {one.seq for one in reader.confirmations if one.at != LATE}
        for message in self.server.taken.pop(number, ()):
            if message.reply:
                seq = int(message.reply.split(b".")[5])
                if seq in confirmed and reader.reset_sent == LATE:
                    raise Violation(f"{name}: {seq} comes to {consumer} again, though its acknowledgement is confirmed")
                reader.delivered[seq] = message.reply
                life.history.delivered(seq, message.at)

    def ack(self, name: str, consumer: str, body: bytes = b"", confirm: bool = True) -> None:
        """The oldest message that it has."""
        self._step()
        there = self._reader(name, consumer)
        if there is None or not there[1].delivered:
            return
        life, reader = there
        if self._units.get(id(life)):
            return
        seq = min(reader.delivered)
        reply, at, calls = reader.delivered.pop(seq), self.server.now, self.server.calls
        if body in (b"-NAK", b"+WPI"):
            self.server.router.publish(reply, body)
            return
        sent = self._removed(life, seq)
        reader.settled.setdefault(seq, at)
        if not confirm or body:
            self.server.router.publish(reply, body)
            return
        number = self.server.publish(reply, body)
        info = self._stream(life).consumers[consumer].state.info()
        one = Confirmation(seq, info["ack_floor"]["stream_seq"], info["delivered"]["stream_seq"])
        reader.confirmations.append(one)

        def done(taken: Taken) -> None:
            if error_of(taken.body):
                raise Violation(f"{name}: an acknowledgement is answered {taken.body!r}")
            one.at = taken.at
            if sent is not None:
                sent.answered_at = taken.at

        self.ask("ACK", number, life.slot, calls, done)

    def _removed(self, life: Life, seq: int) -> Sent | None:
        """A work queue has done with it."""
        if life.history.model.config["retention"] != "workqueue" or seq not in life.history.model.messages:
            return None
        return life.history.apply(Delete(seq), self.server.now)

    # --- backups ---

    def snapshot(self, name: str) -> tuple[Life, list[bytes]] | None:
        """Whose it is, and its chunks; None when there is none."""
        self._step()
        life = self.books.present(name)
        stream = self._stream(life) if life is not None else None
        if life is None or stream is None or stream.failure or stream.store.failure:
            return None
        self.expect_answers()
        calls, subject = self.server.calls, b"snapshots.%d" % self.server.requests
        number, answered = self.server.collect_at(subject), list[Taken]()
        self.request(f"STREAM.SNAPSHOT.{name}", {"deliver_subject": subject.decode(), "chunk_size": 1024}, life.slot,
                     answered.append)  # fmt: skip
        chunks: list[bytes] = []
        while answered:
            self.settle()
            for part in self.server.taken.pop(number, []):
                if not part.body:
                    if b"500" in part.hdr and self.excused(calls, life.slot):
                        self.outcomes["SNAPSHOT failed"] += 1
                        return None
                    if b"408" in part.hdr or b"500" in part.hdr:
                        raise Violation(f"{name}: a snapshot ends with {part.hdr!r}")
                    return life, chunks
                chunks.append(part.body)
                if part.reply:
                    self.server.router.publish(part.reply, b"")
        return None

    def restore(self, name: str, backup: tuple[Life, list[bytes]] | None) -> None:
        """Unless it is there."""
        self._step()
        if backup is None or self.books.present(name) is not None:
            return
        of, calls = backup[0].history.model, self.server.calls
        life = self._new_life(name, of.config)
        model = life.history.model
        model.messages, model.last_seq, model.last_ts_ns = dict(of.messages), of.last_seq, of.last_ts_ns
        model.restart()
        life.history.states[0] = type(life.history.states[0]).of(model)
        answered: list[dict[str, Any]] = []
        there = [one for one in backup[0].readers if one.created != LATE and one.deletion_sent == LATE]
        readers = [one.goes_on(LATE - 1) for one in there]
        shown = model.shown()
        state = {name: shown[name] for name in ("messages", "bytes", "first_seq", "last_seq")}
        self.request(f"STREAM.RESTORE.{name}", {"config": model.config, "state": state}, "",
                     lambda taken: answered.append(json.loads(taken.body)))  # fmt: skip
        if not answered:
            return
        subject = answered[0]["deliver_subject"].encode()
        for chunk in (*backup[1], b""):
            fed = partial(self._fed, life, readers, calls, not chunk)
            self.ask("STREAM.RESTORE", self.server.publish(subject, chunk), "", calls, fed)

    def _fed(self, life: Life, readers: list[Reader], calls: int, last: bool, taken: Taken) -> None:
        if error_of(taken.body):
            if not self.excused(calls, ""):
                raise Violation(f"the restore of {life.name} is answered {taken.body!r}")
            self._refused("STREAM.RESTORE", taken)
        elif last:
            self._created(life, taken)
            life.readers = [replace(reader, created=taken.at) for reader in readers]

    # --- what the server does by itself ---

    def pack(self) -> None:
        self._step()
        self.server.pack()
        self.settle()

    def scrub(self, name: str) -> None:
        self._step()
        if name in self.server.engine.streams:
            self.server.scrub(name)
        self.settle()

    def testify(self) -> None:
        self._step()
        self.server.storage.committer.testify()

    # --- ends and beginnings ---

    def stop(self) -> None:
        """An orderly stop, and a start."""
        self._step()
        self.settle()
        try:
            self.server.stop()
        except OSError as error:
            if self.plan.fired is None:
                raise
            self.outcomes[f"stop failed, {error.strerror}"] += 1
        self.start()

    def kill(self, *, settled: bool = False) -> None:
        """What waits for a sync may be there; then a start."""
        self._step()
        if settled:
            self.settle()
        else:
            self.server.turns()
            self.listen()
        self.server.kill()
        self.start()

    def start(self) -> None:
        """It always starts; where the disk refused something then, the next time."""
        self._give_up()
        calls = self.server.calls
        try:
            self.server.start()
        except (OSError, StoreError) as error:
            if not self._fired_since(calls):
                raise
            self.outcomes[f"start fails, {type(error).__name__}"] += 1
            self._start_again()
        else:
            self._judge_start(calls)
        with self.plan.blind():
            self.books = self.books.go_on(self.server, any(call.kind == "sync" for call in self.plan.refused))
        self.epochs.append(self.books)

    def _fired_since(self, calls: int) -> bool:
        return self.plan.active or (self.plan.fired is not None and self.plan.fired.number > calls)

    def _judge_start(self, calls: int) -> None:
        """What the disk refused was told, and has done no lasting harm."""
        try:
            self._check()
        except Violation as violation:
            if not self._fired_since(calls):
                raise
            if self.server.storage.unrecovered:
                self.outcomes["start leaves a stream alone"] += 1
            elif self._told():
                self.outcomes["start tells of damage"] += 1
            else:
                raise Violation(f"a start says nothing of it: {violation}") from violation
            self.server.kill()
            self._start_again()

    def _told(self) -> bool:
        streams: list[Any] = list(self.server.engine.streams.values())
        return any(stream.store.damage or stream.store.lost or stream.journal.damage for stream in streams)

    def _start_again(self) -> None:
        self.plan.heal()
        self.server.start()
        self._check()

    def _check(self) -> None:
        with self.plan.blind():
            self.books.check(self.server, self.server.now, kill=True)

    def _give_up(self) -> None:
        """What is in flight is never answered; it may be there."""
        self._open.clear()
        for life in self.books.lives:
            for unit in self._units.pop(id(life), []):
                if unit.ns:
                    life.history.advance(unit.ns, unit.at)
                else:
                    for operation in unit.operations:
                        life.history.apply(operation, unit.at)
        self.server.taken.clear()


def time_text(seconds: int) -> str:
    """As the API has it."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def plain(subject: str, size: int = 10, **headers: str) -> Publish:
    """A publish whose body says what it is."""
    found = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Publish(subject, found, (subject.encode() + b"-") * (size // (len(subject) + 1) + 1))

