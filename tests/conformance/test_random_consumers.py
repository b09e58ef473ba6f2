"""Work queues and interest under random operations: both servers are asked the same and must agree after each.

`MILLPOND_RANDOM_SEEDS=<n>` runs that many seeds of each kind instead of a few; `make differential` does. A failure
prints the seed and everything that was done before.

nats-server does much of its work a little after it has answered, so states are asked for until they agree, a bounded
number of times. What is known to differ (docs/differences.md) is not done here: no max_deliver, no NAK and no deletion
of what is pending under ack policy all, no purge of a part while something is pending, no reset further than behind the
last message. After a purge all consumers begin again. Where an empty stream begins is not compared. Nor are filters
changed: nats-server does not count every new message then.
"""

from __future__ import annotations

import json
import os
import random
from typing import Any

import pytest

from .compare import clean
from .target import Target
from .wire_client import Client, Frame

SEEDS = int(os.environ.get("MILLPOND_RANDOM_SEEDS", "3"))
STEPS = 50
ASKED_MAX = 3000
SUBJECTS = ["q.a", "q.b", "q.c.d", "q.none"]
NAMES = ["A", "B", "C"]
PARTS = {"A": ["q.a"], "B": ["q.b"], "C": ["q.c.>"]}
FILTERS: list[list[str]] = [[], ["q.a"], ["q.*"], ["q.b", "q.c.>"]]
HOUR_NS = 3600 * 10**9
pytestmark = pytest.mark.reference

Got = tuple[str, bytes, list[str]]


class Side:
    """One server: its client, and the ack subjects of what it delivered."""

    def __init__(self, target: Target) -> None:
        clean(target)
        self.client: Client = target.connect()
        self.kind = target.kind
        self.acks: dict[tuple[str, int], str] = {}

    def api(self, verb: str, body: Any = None) -> Any:
        data = json.dumps(body).encode() if body is not None else b""
        return json.loads(self.client.request(f"$JS.API.{verb}", data).payload)

    def error(self, verb: str, body: Any = None) -> int:
        return int(self.api(verb, body).get("error", {}).get("err_code", 0))

    def pull(self, name: str, batch: int) -> list[Got | str]:
        request = json.dumps({"batch": batch, "no_wait": True}).encode()
        reply = self.client.new_reply()
        self.client.publish(f"$JS.API.CONSUMER.MSG.NEXT.Q.{name}", request, reply)
        got: list[Got | str] = []
        while len(got) < batch:
            frame = self.client.next_message(sid="1")
            if not frame.reply:
                got.append(frame.status)
                break
            got.append(self._keep(name, frame))
        return got

    def _keep(self, name: str, frame: Frame) -> Got:
        tokens = frame.reply.split(".")
        self.acks[name, int(tokens[5])] = frame.reply
        return frame.subject, frame.payload, [*tokens[4:7], tokens[8]]

    def say(self, name: str, seq: int, body: bytes) -> str:
        return self.client.request(self.acks[name, seq], body).status

    def state(self, names: list[str]) -> dict[str, Any]:
        stream = self.api("STREAM.INFO.Q")["state"]
        shown: dict[str, Any] = {key: stream.get(key) for key in ("messages", "first_seq", "last_seq", "num_deleted")}
        if not stream["messages"] and stream["last_seq"]:
            shown["first_seq"] = shown["num_deleted"] = None
        for name in names:
            info = self.api(f"CONSUMER.INFO.Q.{name}")
            counts = [info[key] for key in ("num_ack_pending", "num_redelivered", "num_pending", "num_waiting")]
            shown[name] = (info["delivered"]["consumer_seq"], counts)
        return shown


class Life:
    """The same steps on both sides; `seed` decides which."""

    def __init__(self, pair: tuple[Target, Target], retention: str, storage: str, seed: int) -> None:
        self.random, self.retention = random.Random(f"{retention} {storage} {seed}"), retention
        self.sides = [Side(target) for target in pair]
        self.consumers: dict[str, bool] = {}
        self.pending: dict[tuple[str, int], bool] = {}
        self.log: list[str] = [f"{retention} {storage} seed {seed}"]
        self.last_seq = 0
        config = {"name": "Q", "subjects": ["q.>"], "retention": retention, "storage": storage}
        self.both("create", lambda side: side.error("STREAM.CREATE.Q", config))

    def both(self, what: str, act: Any) -> Any:
        self.log.append(what)
        theirs, ours = (act(side) for side in self.sides)
        assert ours == theirs, "\n".join([*self.log, f"theirs {theirs}", f"ours   {ours}"])
        return ours

    def agree(self) -> None:
        """Until both show the same."""
        names = sorted(self.consumers)
        for _ in range(ASKED_MAX):
            theirs, ours = (side.state(names) for side in self.sides)
            if theirs == ours:
                self.last_seq = ours["last_seq"]
                return
        raise AssertionError("\n".join([*self.log, f"theirs {theirs}", f"ours   {ours}"]))

    # --- steps ---

    def publish(self) -> None:
        for _ in range(self.random.randint(1, 4)):
            subject, body = self.random.choice(SUBJECTS), b"%d" % self.random.randrange(1000)
            self.both(f"publish {subject}", lambda side, s=subject, b=body: side.client.request(s, b).payload)

    def _config(self, name: str, ack_all: bool) -> dict[str, Any]:
        filters = self.random.choice(FILTERS) if self.retention == "interest" else PARTS[name]
        config = {
            "durable_name": name, "ack_policy": "all" if ack_all else "explicit", "ack_wait": HOUR_NS,
            "filter_subjects": filters,
        }  # fmt: skip
        return {"stream_name": "Q", "config": config}

    def add(self) -> None:
        name = self.random.choice(NAMES)
        ack_all = self.consumers.get(name, self.retention == "interest" and self.random.random() < 0.3)
        if name in self.consumers and self.retention == "interest":
            return                               # that would change its filters
        body = self._config(name, ack_all)
        self.both(f"add {body}", lambda side: side.error(f"CONSUMER.DURABLE.CREATE.Q.{name}", body))
        self.consumers[name] = ack_all

    def drop(self) -> None:
        name = self._one()
        if name and self.random.random() < 0.4:
            self.both(f"drop {name}", lambda side: side.error(f"CONSUMER.DELETE.Q.{name}"))
            del self.consumers[name]
            self.pending = {key: again for key, again in self.pending.items() if key[0] != name}

    def _one(self) -> str:
        return self.random.choice(sorted(self.consumers)) if self.consumers else ""

    def pull(self) -> None:
        name, batch = self._one(), self.random.randint(1, 5)
        if name:
            got = self.both(f"pull {name} {batch}", lambda side: side.pull(name, batch))
            self.pending.update({(name, int(one[2][1])): False for one in got if not isinstance(one, str)})

    def say(self) -> None:
        if not self.pending:
            return
        name, seq = self.random.choice(sorted(self.pending))
        ack_all = self.consumers[name]
        body = self.random.choice([b"", b"+ACK", b"+ACK", b"+TERM", b"+WPI", *([] if ack_all else [b"-NAK", b"-NAK"])])
        self.both(f"say {name} {seq} {body!r}", lambda side: side.say(name, seq, body))
        if body not in (b"-NAK", b"+WPI"):
            self.pending = {
                key: again for key, again in self.pending.items()
                if not (key[0] == name and (key[1] == seq or (ack_all and key[1] < seq)))
            }  # fmt: skip

    def delete(self) -> None:
        seq = self.random.randint(1, self.last_seq + 1)
        if any(self.consumers[name] for name, _ in self.pending):
            return                               # ack-all-deleted
        # How nats-server refuses to delete what is not there depends on its blocks of messages.
        self.both(f"delete {seq}", lambda side: side.error("STREAM.MSG.DELETE.Q", {"seq": seq}) != 0)
        self.pending = {key: again for key, again in self.pending.items() if key[1] != seq}

    def purge(self) -> None:
        body: dict[str, Any] = self.random.choice([{}, {"keep": 2}, {"seq": self.random.randint(1, self.last_seq + 1)}])
        if not self.pending and self.random.random() < 0.5:
            body = {"filter": self.random.choice(SUBJECTS)}
        if self.random.random() < 0.3:
            self.both(f"purge {body}", lambda side: side.api("STREAM.PURGE.Q", body))
            self.pending.clear()
            self.begin_again()

    def reset(self) -> None:
        name, seq = self._one(), self.random.randint(1, self.last_seq + 1)
        if name and self.random.random() < 0.3:
            self.both(f"reset {name} {seq}", lambda side: side.error(f"CONSUMER.RESET.Q.{name}", {"seq": seq}))
            self.pending = {key: again for key, again in self.pending.items() if key[0] != name}

    def begin_again(self) -> None:
        """After a purge: nothing is pending, and ack floors are where both say."""
        for name in sorted(self.consumers):
            self.both(f"reset {name} 1", lambda side, n=name: side.error(f"CONSUMER.RESET.Q.{n}", {"seq": 1}))

    def run(self) -> None:
        steps = [self.publish] * 4 + [self.pull] * 5 + [self.say] * 7 + [self.add] * 2
        steps += [self.delete, self.purge, self.reset, self.drop]
        for _ in range(2):
            self.add()
        for _ in range(STEPS):
            self.random.choice(steps)()
            self.agree()

    def close(self) -> None:
        for side in self.sides:
            side.client.close()


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("storage", ["memory", "file"])
@pytest.mark.parametrize("retention", ["workqueue", "interest"])
def test_random_lives(pair: tuple[Target, Target], retention: str, storage: str, seed: int) -> None:
    life = Life(pair, retention, storage, seed)
    try:
        life.run()
    finally:
        life.close()
