"""Consumers with several filters, overlapping ones among them, on a stream with everything that a stream does: they
get what is under their filters once, in order, and count what is to come, over restarts and crashes."""

from __future__ import annotations

import json
import os

from hypothesis import note, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from millpond.broker.sink import CallableSink
from reader_model import Reader, overlapping
from test_stream_model import StreamMachine

NAMES = st.sampled_from(["A", "B", "C"])
FILTERS = st.lists(
    st.sampled_from(["s.a", "s.b", "s.*", "s.c.*", "s.c.>", "s.*.x", "s.c.x", "s.c.y", "s.>", "s.none"]),
    max_size=3, unique=True,
)  # fmt: skip
POLICIES = st.sampled_from(["all", "all", "new", "last", "last_per_subject", "by_start_sequence"])
CHOICE = st.integers(0, 1000)
HOUR_NS = 3600 * 10**9
OVERLAP = 10138


class ReaderMachine(StreamMachine):
    """One stream and its consumers."""

    @property
    def readers(self) -> dict[str, Reader]:
        return self.__dict__.setdefault("_readers", {})

    def request(self, reader: Reader, name: str, **start: object) -> object:
        config = {
            "name": name, "durable_name": name, "ack_policy": "explicit", "ack_wait": HOUR_NS, "max_ack_pending": -1,
            "filter_subjects": reader.filters, **start,
        }  # fmt: skip
        return self.rig.ask(f"CONSUMER.CREATE.S.{name}", {"stream_name": "S", "config": config})

    @rule(name=NAMES, filters=FILTERS, policy=POLICIES, choice=CHOICE)
    def add(self, name: str, filters: list[str], policy: str, choice: int) -> None:
        if name in self.readers:
            return
        filters = filters or (["s.>"] if policy == "last_per_subject" else [])       # which needs one
        start: dict[str, object] = {"deliver_policy": policy}
        if policy == "by_start_sequence":
            start["opt_start_seq"] = 1 + choice % (self.model.last_seq + 3)
        note(f"consumer {name} {filters} {start}")
        reader = Reader.started(self.model, filters, policy, int(str(start.get("opt_start_seq", 0))))
        answer = self.request(reader, name, **start)
        if overlapping(filters):
            assert isinstance(answer, dict)
            assert answer["refused"] == OVERLAP, f"{filters}: {answer}"
            return
        assert answer == {"success": True}, answer
        self.readers[name], self.starts = reader, {**self.__dict__.get("starts", {}), name: start}

    @precondition(lambda self: self.readers)
    @rule(choice=CHOICE, filters=FILTERS)
    def change(self, choice: int, filters: list[str]) -> None:
        """From its position on; what it passed over stays behind."""
        name = sorted(self.readers)[choice % len(self.readers)]
        before = self.readers[name]
        if overlapping(filters) or self.starts[name]["deliver_policy"] == "last_per_subject":
            return
        note(f"consumer {name} now {filters}")
        at = self.rig.stream.consumers[name].cursor.position
        skipped = [seq for seq in before.to_come(self.model) if seq <= at]
        assert not skipped, f"{name} passes over {skipped}"
        before.filters, before.position = filters, max(before.position, at)
        assert self.request(before, name, **self.starts[name]) == {"success": True}

    @precondition(lambda self: self.readers)
    @rule(choice=CHOICE)
    def drop(self, choice: int) -> None:
        name = sorted(self.readers)[choice % len(self.readers)]
        note(f"consumer {name} is deleted")
        del self.readers[name]
        assert self.rig.ask(f"CONSUMER.DELETE.S.{name}", {}) == {"success": True}

    @precondition(lambda self: self.readers)
    @rule(choice=CHOICE, batch=st.integers(1, 8))
    def pull(self, choice: int, batch: int) -> None:
        name = sorted(self.readers)[choice % len(self.readers)]
        reader = self.readers[name]
        expected = reader.take(self.model, batch)
        note(f"consumer {name} takes {batch}: {expected}")
        got: list[int] = []

        def take(subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: object) -> None:
            if not reply:
                return                                # the status that ends the request
            seq = int(reply.split(b".")[5])
            got.append(seq)
            reader.pending[seq] = reply
            assert body == self.model.messages[seq].body

        inbox = f"pull.{name}.{self.rig.requests}".encode()
        subscription = self.rig.router.subscribe(inbox, CallableSink(take))
        asked = json.dumps({"batch": batch, "no_wait": True}).encode()
        self.rig.router.publish(b"$JS.API.CONSUMER.MSG.NEXT.S." + name.encode(), asked, inbox)
        self.rig.turns()
        self.rig.router.unsubscribe(subscription)
        assert got == expected, f"{name} {reader.filters} got {got}, expected {expected}"

    @precondition(lambda self: any(reader.pending for reader in self.readers.values()))
    @rule(choice=CHOICE, body=st.sampled_from([b"", b"+ACK", b"+TERM"]))
    def acknowledge(self, choice: int, body: bytes) -> None:
        name = sorted(name for name, reader in self.readers.items() if reader.pending)[0]
        pending = self.readers[name].pending
        seq = sorted(pending)[choice % len(pending)]
        note(f"consumer {name} acknowledges {seq}")
        self.readers[name].acknowledged.add(seq)
        self.rig.router.publish(pending.pop(seq), body)
        self.rig.turns()

    def recovered(self) -> None:
        """Deliveries are written with whatever is written next, so those before a crash may come again."""
        for name, reader in self.readers.items():
            state = self.rig.stream.consumers[name].state
            reader.restart(self.model, state.delivered_consumer_seq, state.delivered_stream_seq)
        super().recovered()

    @invariant()
    def readers_agree(self) -> None:
        for name, reader in self.readers.items():
            reader.forget_gone(self.model)
            consumer = self.rig.stream.consumers[name]
            assert consumer.state.check() == []
            pending = [row[0] for row in consumer.state.pending()]
            assert pending == sorted(reader.pending), f"{name}: pending {pending}, expected {sorted(reader.pending)}"
            to_come = reader.to_come(self.model)
            assert consumer.num_pending == len(to_come), f"{name}: {consumer.num_pending} to come, expected {to_come}"
            assert consumer.state.delivered_consumer_seq == len(reader.got)


ReaderMachine.TestCase.settings = settings(
    deadline=None, max_examples=int(os.environ.get("MILLPOND_MODEL_EXAMPLES", "15")), stateful_step_count=40,
    derandomize="MILLPOND_MODEL_EXAMPLES" not in os.environ,
)
TestReaders = ReaderMachine.TestCase
