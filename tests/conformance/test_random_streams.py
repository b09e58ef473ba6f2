"""The model of the property tests beside both servers: publishes with every header, batches, deletions, purges and
updates, random ones, answered as the model says. So the model is nats-server's, not ours.

Nothing here ends on its own: nats-server has no clock that tests could move. `MILLPOND_RANDOM_SEEDS=<n>` runs that many
seeds instead of a few; `make differential` does. A failure prints the seed and everything that was done before.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "property"))      # the model lives there, and that is no package

from stream_model import Stream
from stream_model_rules import (
    Answer,
    Delete,
    Operation,
    Publish,
    Update,
    agrees,
    api_request,
    block,
    understood,
    without,
)
from stream_model_steps import Chooser, configuration

from .compare import clean
from .target import REFERENCE, Target
from .wire_client import Client

SEEDS = int(os.environ.get("MILLPOND_RANDOM_SEEDS", "3"))
STEPS = 60
ASKED_MAX = 300
pytestmark = pytest.mark.reference


def alone(config: dict[str, Any]) -> dict[str, Any]:
    """The limit of each subject without the limits of all: with both, nats-server counts other subjects in a batch."""
    bounds = {"max_msgs": -1, "max_bytes": -1}
    return {**config, **bounds} if config["discard_new_per_subject"] else config


class Timeless(Chooser):
    """What has an end has it long after the test."""

    ttls = ("100", "1000s", "never")

    def fast(self, model: Stream) -> Publish:
        """nats-server may count messages of an earlier batch that it refused, when it compares this header."""
        made = super().fast(model)
        return replace(made, headers=without(made.headers, "Nats-Expected-Last-Sequence"))

    def update(self, model: Stream) -> Any:
        made = super().update(model)
        return type(made)(tuple(alone({**dict(made.changes), "max_age": 0}).items()))


class Side:
    """One server with stream S."""

    def __init__(self, target: Target, config: dict[str, Any]) -> None:
        clean(target)
        self.kind, self.requests, self.config = target.kind, 0, config
        self.client: Client = target.connect()
        self.client.subscribe("in.>")
        answer = self.api("STREAM.CREATE.S", config)
        assert "error" not in answer, f"{config}: {answer}"

    def api(self, verb: str, body: Any = None) -> Any:
        data = json.dumps(body).encode() if body is not None else b""
        return json.loads(self.client.request(f"$JS.API.{verb}", data).payload)

    def ask(self, operation: Operation, answers: int) -> list[Answer]:
        """As many answers as are expected, or more."""
        self.requests += 1
        reply = f"in.{self.requests}"
        if isinstance(operation, Publish):
            reply += f".{operation.place}.$FI" if operation.place else ""
            self.client.publish(operation.subject, operation.body, reply, block(operation.headers) or None)
        else:
            if isinstance(operation, Update):
                self.config = {**self.config, **dict(operation.changes)}
            if isinstance(operation, Delete):
                operation = replace(operation, erase=False)
            verb, body = api_request(operation, self.config)
            self.client.publish(f"$JS.API.{verb}", json.dumps(body).encode(), reply)
        found = [self.client.next_message(reply).payload for _ in range(answers)]
        found += [frame.payload for frame in self.client.flush() if frame.subject == reply]
        return [understood(payload) for payload in found]

    def state(self) -> dict[str, Any]:
        return dict(self.api("STREAM.INFO.S")["state"])


class Life:
    def __init__(self, pair: tuple[Target, Target], storage: str, seed: int) -> None:
        rng = Random(f"{storage} {seed}")
        config = {**alone(configuration(rng, storage)), "max_age": 0, "duplicate_window": 120 * 10**9}
        if config.get("subject_delete_marker_ttl"):
            config["subject_delete_marker_ttl"] = 300 * 10**9
        self.model, self.chooser = Stream(config), Timeless(rng)
        self.sides = [Side(target, config) for target in pair]
        self.log = [f"{storage} seed {seed}: {config}"]

    def run(self) -> None:
        for _ in range(STEPS):
            for operation in self.chooser.next(self.model):
                self.log.append(f"{operation}")
                expected = self.model.apply(operation)
                for side in self.sides:
                    found = side.ask(operation, len(expected))
                    assert agrees(expected, found), self.told(f"{side.kind}: expected {expected}, got {found}")
            for side in self.sides:
                self.check(side)

    def check(self, side: Side) -> None:
        """nats-server does some of its work a little after it has answered."""
        expected = self.model.shown()
        for _ in range(ASKED_MAX):
            state = side.state()
            shown = {name: state.get(name, 0) for name in expected}
            untouched = shown["last_seq"] == 0                       # it begins at 0 or 1
            if untouched or (not shown["messages"] and side.kind == REFERENCE):     # purged-empty
                shown["first_seq"] = expected["first_seq"]
            if shown == expected:
                return
        raise AssertionError(self.told(f"{side.kind}: expected {expected}, shown {shown}"))

    def told(self, what: str) -> str:
        return "\n".join([*self.log, what])


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("storage", ["memory", "file"])
def test_random_streams(pair: tuple[Target, Target], storage: str, seed: int) -> None:
    life = Life(pair, storage, seed)
    try:
        life.run()
    finally:
        for side in life.sides:
            side.client.close()
