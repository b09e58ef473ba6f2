"""What may happen to a stream next, chosen by a `random.Random`: the same choices for every server that is driven."""

from __future__ import annotations

from random import Random
from typing import Any

from stream_model import Stream
from stream_model_rules import SECOND_NS, Delete, Operation, Publish, Purge, Update

SUBJECTS = ["a", "b", "c.x", "c.y"]
"""Below the stream's own first token."""
PATTERNS = ["a", "*", "c.>", "none"]
BATCHES = ["B1", "B2", "B3"]
HEADER_CHANCE = 0.5


def configuration(rng: Random, storage: str) -> dict[str, Any]:
    """A STREAM.CREATE request that is valid."""
    config: dict[str, Any] = {"name": "S", "subjects": ["s.>"], "storage": storage, **limits(rng)}
    config["duplicate_window"] = min(rng.choice([1, 2, 120]) * SECOND_NS, config["max_age"] or 120 * SECOND_NS)
    config["allow_atomic"], config["allow_batched"] = rng.random() < 0.6, rng.random() < 0.5
    if rng.random() < 0.2:
        config["allow_msg_counter"] = True
        config["discard"], config["discard_new_per_subject"] = "old", False
        return config
    if rng.random() < 0.5:
        config["allow_msg_ttl"] = True
    if rng.random() < 0.4:
        config["subject_delete_marker_ttl"] = rng.choice([1, 3]) * SECOND_NS
        config["allow_msg_ttl"] = config["allow_rollup_hdrs"] = True
    elif rng.random() < 0.5:
        config["allow_rollup_hdrs"] = True
    elif rng.random() < 0.2:
        config["deny_purge"] = True
    config["deny_delete"] = rng.random() < 0.1
    if not config["allow_batched"]:
        config["no_ack"] = rng.random() < 0.05
    return config


def limits(rng: Random) -> dict[str, Any]:
    """What an update may change at any time (but for the counters, which do not discard new)."""
    config: dict[str, Any] = {
        "max_msgs": rng.choice([-1, -1, 5, 20]), "max_bytes": rng.choice([-1, -1, 1500, 4000]),
        "max_msgs_per_subject": rng.choice([-1, -1, 1, 3]), "max_msg_size": rng.choice([-1, -1, -1, 200]),
        "max_age": rng.choice([0, 0, 2, 10]) * SECOND_NS, "discard": rng.choice(["old", "new"]),
    }  # fmt: skip
    full = config["discard"] == "new" and config["max_msgs_per_subject"] > 0
    config["discard_new_per_subject"] = full and rng.random() < 0.7
    return config


class Chooser:
    """What the stream is asked for next; most of it can succeed. `ids`: how many message ids there are."""

    ids = 6
    ttls: tuple[str, ...] = ("1", "2s", "5", "never")

    def __init__(self, rng: Random, erases: bool = False) -> None:
        self.rng, self.erases = rng, erases

    def under(self, model: Stream, tails: list[str]) -> str:
        """One of these subjects or patterns of the stream."""
        return str(model.config["subjects"][0]).removesuffix(">") + self.rng.choice(tails)

    def next(self, model: Stream) -> list[Operation]:
        """One operation, or several that follow each other."""
        chance = self.rng.random()
        if chance < 0.12:
            return [self.delete(model)]
        if chance < 0.2:
            return [self.purge(model)]
        if chance < 0.24:
            return [self.update(model)]
        if chance < 0.34:
            return [self.atomic(model)]
        if chance < 0.42:
            return list(self.whole_batch(model))
        if chance < 0.5:
            return [self.fast(model)]
        return [self.publish(model)]

    # --- publishes ---

    def publish(self, model: Stream) -> Publish:
        rng, subject = self.rng, self.under(model, SUBJECTS)
        headers = self.headers(model, subject) if rng.random() < HEADER_CHANCE else []
        if model.allows("allow_msg_counter") and rng.random() < 0.95:
            written = rng.choice(["1", "+5", "-3", "0", "12345678901234567890", *(["x"] if rng.random() < 0.1 else [])])
            headers.append(("Nats-Incr", written))
            return Publish(subject, tuple(headers), b"" if rng.random() < 0.97 else b"1")
        if rng.random() < 0.02:
            headers.append(("Nats-Incr", "1"))
        return Publish(subject, tuple(headers), self.body())

    def body(self) -> bytes:
        size = self.rng.choice([0, 1, 10, 40, 300 if self.rng.random() < 0.1 else 5])
        return b"%08x" % self.rng.randrange(1 << 32) + b"x" * size

    def headers(self, model: Stream, subject: str) -> list[tuple[str, str]]:
        """A few that mean something, mostly what the stream allows."""
        rng = self.rng
        found: list[tuple[str, str]] = []
        kinds = ["id", "subject", "last", "stream", "last_id", "ttl", "rollup", "other", "kv"]
        for kind in rng.sample(kinds, rng.choice([1, 1, 1, 2, 3])):
            found += self._header(model, subject, kind)
        return found

    def _header(self, model: Stream, subject: str, kind: str) -> list[tuple[str, str]]:
        rng, off = self.rng, self.rng.choice([0, 0, 0, 1])
        match kind:
            case "id":
                return [("Nats-Msg-Id", f"id{rng.randrange(self.ids)}")]
            case "subject":
                return [("Nats-Expected-Last-Subject-Sequence", str(model.last_under(subject) + off))]
            case "last":
                return [("Nats-Expected-Last-Sequence", str(model.last_seq + off))]
            case "stream":
                return [("Nats-Expected-Stream", model.config["name"] if rng.random() < 0.7 else "OTHER")]
            case "last_id":
                return [("Nats-Expected-Last-Msg-Id", model.last_msg_id if not off else "never")]
            case "ttl" if model.allows("allow_msg_ttl") or rng.random() < 0.1:
                return [("Nats-TTL", rng.choice([*self.ttls, "500ms" if off else "100"]))]
            case "rollup" if model.rolls_up() or rng.random() < 0.1:
                return [("Nats-Rollup", rng.choice(["sub", "sub", "all", "none" if off else "SUB"]))]
            case "other":
                pattern = self.under(model, ["a", "c.>", "*"])
                wanted = ("Nats-Expected-Last-Subject-Sequence", str(model.last_under(pattern)))
                name = ("Nats-Expected-Last-Subject-Sequence-Subject", pattern)
                return [name] if off else [wanted, name]
            case "kv":
                return [("KV-Operation", rng.choice(["DEL", "PURGE"]))]
        return []

    # --- batches ---

    def atomic(self, model: Stream) -> Publish:
        """The next message of some batch, mostly."""
        rng, name = self.rng, self.rng.choice(BATCHES)
        batch = model.atomic.under_way.get(name)
        number = (len(batch.messages) if batch else 0) + 1 + (rng.random() < 0.05)
        commit = rng.choice(["", "", "1", "eob", "x" if rng.random() < 0.1 else "1"])
        return self.part(self.publish(model), name, number, commit)

    def whole_batch(self, model: Stream) -> list[Publish]:
        count, name = self.rng.randint(1, 5), f"W{self.rng.randrange(1 << 30)}"
        commits = ["", *[""] * (count - 1)]
        commits[count - 1] = "1" if count == 1 or self.rng.random() < 0.7 else "eob"
        return [self.part(self.publish(model), name, i + 1, commits[i]) for i in range(count)]

    @staticmethod
    def part(publish: Publish, name: str, number: int, commit: str) -> Publish:
        marks = [("Nats-Batch-Id", name), ("Nats-Batch-Sequence", str(number))]
        marks += [("Nats-Batch-Commit", commit)] if commit else []
        return Publish(publish.subject, (*publish.headers, *marks), publish.body)

    def fast(self, model: Stream) -> Publish:
        rng, name = self.rng, self.rng.choice(BATCHES)
        batch = model.fast.under_way.get(name)
        number = (batch.last if batch else 0) + 1
        number = max(1, number + rng.choice([0, 0, 0, 0, 0, 0, 1, -1]))
        operation = rng.choice([1, 1, 1, 1, 2, 3, 4]) if number > 1 else rng.choice([0, 0, 0, 2, 4])
        gap = rng.choice(["ok", "fail"]) if batch is None else "ok" if batch.gaps else "fail"
        plain = self.publish(model)
        place = f"{name}.{rng.choice([1, 2, 10])}.{gap}.{number}.{operation}"
        return Publish(plain.subject, plain.headers, b"" if operation in (3, 4) else plain.body, place)

    # --- the rest ---

    def delete(self, model: Stream) -> Delete:
        there = sorted(model.messages)
        if there and self.rng.random() < 0.85:
            return Delete(self.rng.choice(there), self.erases and self.rng.random() < 0.5)
        return Delete(self.rng.randint(max(0, model.first_seq - 2), model.last_seq + 2))

    def purge(self, model: Stream) -> Purge:
        rng = self.rng
        subject = self.under(model, PATTERNS) if rng.random() < 0.7 else rng.choice(["", ">"])
        kind = rng.random()
        if kind < 0.35:
            return Purge(subject, keep=rng.randint(1, 3))
        if kind < 0.7:
            return Purge(subject, seq=rng.randint(1, model.last_seq + 3))
        return Purge(subject if kind > 0.8 else self.under(model, PATTERNS))

    def update(self, model: Stream) -> Update:
        changes = limits(self.rng)
        if model.allows("allow_msg_counter"):
            changes["discard"], changes["discard_new_per_subject"] = "old", False
        if changes["max_age"]:
            changes["max_age"] = max(changes["max_age"], model.config["duplicate_window"])
        return Update(tuple(sorted(changes.items())))
