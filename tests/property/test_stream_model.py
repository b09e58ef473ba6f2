"""A stream beside the obvious one: publishes with every header, limits, ends, batches, counters, deletions, updates,
with time, restarts and crashes between them. `make model` runs many more lives than the tests do."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from random import Random

from account_rig import AccountRig
from hypothesis import note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from stream_model import Stream
from stream_model_rules import Operation, Purge, agrees, block
from stream_model_steps import Chooser, configuration, limits

STEP_NS = 1_000_000
"""Steps are short and no two of a life begin at the same part of half a second, so nothing ends just as a step begins:
the store knows when a message ends to the millisecond only, and may be late by one."""
HALF_NS = 500_000_000
LIMITS = limits(Random(0)).keys()
RANDOM = st.integers(0, 2**32 - 1).map(Random)
"""A seed for each step: a life that fails loses the steps that do not matter, and what is left says what was done."""


class StreamMachine(RuleBasedStateMachine):
    """One stream's life."""

    @initialize(rng=RANDOM, storage=st.sampled_from(["file", "file", "memory"]), erases=st.booleans())
    def begin(self, *, rng: Random, storage: str, erases: bool) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="stream-"))
        config = configuration(rng, storage)
        note(f"{config}")
        self.model = Stream(config)
        self.rig = AccountRig(self.folder, config)
        self.seen: set[int] = set()
        self.erases = erases

    def teardown(self) -> None:
        if hasattr(self, "rig"):
            self.rig.close()
            shutil.rmtree(self.folder)

    @property
    def on_disk(self) -> bool:
        return hasattr(self, "model") and self.model.config["storage"] == "file"

    def pass_time(self, ns: int) -> None:
        self.rig.advance(ns)
        self.model.advance(self.rig.clock.wall_ns - self.model.now_ns)

    def choose(self, rng: Random, state: Stream) -> list[Operation]:
        return Chooser(rng, self.erases).next(state)

    # --- steps ---

    @rule(rng=RANDOM, steps=st.integers(1, 5))
    def work(self, rng: Random, steps: int) -> None:
        for _ in range(steps):
            self.pass_time(STEP_NS)
            for operation in self.choose(rng, self.model):
                note(f"{operation}")
                expected = self.model.apply(operation)
                number = self.rig.send(operation)
                self.rig.turns()
                found = self.rig.taken.pop(number, [])
                assert agrees(expected, found), f"{operation}: expected {expected}, got {found}"
            self.pass_time(STEP_NS)

    @rule(halves=st.integers(1, 25))
    def wait(self, halves: int) -> None:
        note(f"  {halves / 2} s later")
        self.pass_time(halves * HALF_NS + 2 * STEP_NS)

    @precondition(lambda self: self.on_disk)
    @rule()
    def restart(self) -> None:
        self.rig.restart()
        self.model.restart()
        self.recovered()

    @precondition(lambda self: self.on_disk)
    @rule(rng=RANDOM, steps=st.integers(1, 4))
    def crash(self, rng: Random, steps: int) -> None:
        """Before anything of it was written."""
        self.pass_time(STEP_NS)
        ahead = self.model.clone()
        for _ in range(steps):
            for operation in self.choose(rng, ahead):
                note(f"  lost: {operation}")
                ahead.apply(operation)
                self.rig.send(operation)
        self.rig.crash()
        self.model.restart()
        self.recovered()

    @precondition(lambda self: self.on_disk and not self.erases)
    @rule(rng=RANDOM, steps=st.integers(1, 4), share=st.floats(0, 1))
    def crash_in_write(self, rng: Random, steps: int, share: float) -> None:
        """A first part of what was asked for is there. (Erasing writes elsewhere, later: that is no first part.)"""
        self.pass_time(STEP_NS)
        states: list[tuple[Stream, Operation | None]] = []
        for _ in range(steps):
            for operation in self.choose(rng, self.model):
                states.append((self.model.clone(), operation))
                note(f"  perhaps: {operation}")
                self.model.apply(operation)
                self.rig.send(operation)
        states.append((self.model.clone(), None))
        self.rig.crash_in_write(share)
        self.model = self.explained(states)
        self.model.restart()
        self.recovered()

    def explained(self, states: list[tuple[Stream, Operation | None]]) -> Stream:
        """The state that was found. Sequences of a batch that was taken back are not issued again; who crashes
        within a purge has purged the oldest of it."""
        live, last_seq = self.rig.live(), self.rig.state()["last_seq"]
        stored = self.rig.stream.config
        config = {name: getattr(stored, name) for name in LIMITS}
        for number, (state, operation) in enumerate(states):
            after = states[min(number + 1, len(states) - 1)][0]
            there = set(state.messages)
            if isinstance(operation, Purge) and there > set(live) >= set(after.messages):
                gone = sorted(there - set(after.messages))
                there -= set(gone[: len(there) - len(live)])
            in_between = state.last_seq <= last_seq <= max(state.last_seq, after.last_seq)
            if there == set(live) and in_between and config == {name: state.config[name] for name in LIMITS}:
                state.messages = {seq: state.messages[seq] for seq in live}
                state.last_seq = last_seq
                return state
        told = [f"{state.first_seq}..{state.last_seq} {sorted(state.messages)}, then {what}" for state, what in states]
        raise AssertionError(f"found up to {last_seq}: {live}, expected one of:\n" + "\n".join(told))

    def recovered(self) -> None:
        """Everything is what it was, to the byte."""
        self.seen.clear()
        self.rig.config = self.model.config
        self.agrees()
        self.pass_time(2 * STEP_NS)

    # --- always ---

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "rig"):
            return
        model, state = self.model, self.rig.state()
        live = self.rig.live()
        assert live == sorted(model.messages), f"there are {live}, expected {sorted(model.messages)}"
        expected = model.shown()
        shown = {name: state[name] for name in expected}
        assert shown == expected, f"shown {shown}, expected {expected}"
        for seq in model.messages.keys() - self.seen:
            self.check_message(seq)
        self.seen = set(model.messages)

    def check_message(self, seq: int) -> None:
        found, message = self.rig.message(seq), self.model.messages[seq]
        assert found["subject"] == message.subject.encode()
        assert found["hdr"] == block(message.headers)
        assert found["body"] == message.body
        assert found["ts_ns"] == message.ts_ns


StreamMachine.TestCase.settings = settings(
    deadline=None, max_examples=int(os.environ.get("MILLPOND_MODEL_EXAMPLES", "25")), stateful_step_count=40,
    derandomize="MILLPOND_MODEL_EXAMPLES" not in os.environ,
)
TestStream = StreamMachine.TestCase
