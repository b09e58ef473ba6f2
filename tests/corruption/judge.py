"""What must hold when a damaged store is opened, and what was lost."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from millpond.store.disk import REAL, Disk

from .rooms import Rooms
from .stores import Truth, consumers, contents

RANGES = re.compile(r"messages ((?:\d+ to \d+(?:, )?)+) are lost")
ONE = re.compile(r"message (\d+) in .* is lost")


@dataclass
class Verdict:
    """`wrong`: what must never be. The rest is what damage cost, all of it told."""

    wrong: list[str] = field(default_factory=list)
    lost: int = 0
    back: int = 0
    """Messages that had been removed and are there again."""
    unavailable: int = 0
    consumers: int = 0
    """That stand elsewhere than they stood."""
    told: bool = False


def named(lines: list[str]) -> set[int]:
    """The sequences that the log says are lost."""
    found: set[int] = set()
    for line in lines:
        for ranges in RANGES.findall(line):
            for part in ranges.split(", "):
                first, last = part.split(" to ")
                if int(last) - int(first) < 1 << 20:
                    found.update(range(int(first), int(last) + 1))
        found.update(int(seq) for seq in ONE.findall(line))
    return found


def judge(directory: Path, truths: dict[str, Truth], disk: Disk = REAL) -> Verdict:
    """Opens the store; `truths` of the streams that are in it."""
    verdict = Verdict()
    try:
        rooms = Rooms(directory, disk=disk)
    except Exception as error:
        verdict.wrong.append(f"it does not start: {error!r}")
        return verdict
    try:
        for name, truth in truths.items():
            _judge_stream(rooms, name, truth, verdict)
        for name in set(rooms.engine.streams) - set(truths):
            verdict.wrong.append(f"there is a stream {name}")
        verdict.told = bool(rooms.told.lines)
    except Exception as error:
        verdict.wrong.append(f"it fails: {error!r}")
    finally:
        try:
            rooms.close()
        except Exception as error:
            verdict.wrong.append(f"it does not stop: {error!r}")
    return verdict


def _judge_stream(rooms: Rooms, name: str, truth: Truth, verdict: Verdict) -> None:
    stream = rooms.engine.streams.get(name)
    if stream is None:
        verdict.unavailable += 1
        if not rooms.storage.unrecovered:
            verdict.wrong.append(f"stream {name} is gone, and nobody says so")
        return
    found = contents(stream.store)
    slot = f"/{rooms.slot_of(name)}"
    lines = [line for line in rooms.told.lines if slot + "/" in line or slot + ":" in line or slot + " " in line]
    if stream.config.subjects != truth.config["subjects"]:
        verdict.wrong.append(f"{name} has the configuration of another stream")
    _messages(found, truth, lines, verdict)
    wrong = stream.store.check()                   # reads every message: damage behind a summary is found now
    if wrong:
        verdict.wrong.append(f"{name}: {wrong[0]}")
    before = consumers(stream)
    if before != truth.consumers:
        _consumers(before, truth, set(found) & truth.live, lines, verdict)
    rooms.publish(f"{name.lower()}.new".encode(), b"new", b"re.new")
    rooms.turns()
    last = stream.store.state_dict()["last_seq"]
    if last <= truth.last_seq and not stream.failure:
        verdict.wrong.append(f"{name}: sequence {last} was issued again, {truth.last_seq} were")


def _messages(found: dict[int, Any], truth: Truth, lines: list[str], verdict: Verdict) -> None:
    for seq, message in found.items():
        if truth.ever.get(seq) != message:
            verdict.wrong.append(f"message {seq} is {message!r:.100}, was {truth.ever.get(seq)!r:.100}")
    missing, told = truth.live - set(found), named(lines)
    verdict.lost += len(missing)
    verdict.back += len(set(found) - truth.live)
    if not missing <= told and not any("write is torn" in line for line in lines):
        verdict.wrong.append(f"{sorted(missing - told)} are lost, and nobody says so")
    if told & set(found):
        verdict.wrong.append(f"{sorted(told & set(found))} are said to be lost, and are there")
    if set(found) != truth.live and not lines:
        verdict.wrong.append(f"{sorted(set(found) - truth.live)} are there again, and nobody says so")


def settled(state: dict[str, Any], live: set[int]) -> set[int]:
    """What a consumer will never deliver again."""
    pending = {row[0] for row in state["pending"]}
    floor, delivered = state["ack_floor"]["stream_seq"], state["delivered"]["stream_seq"]
    return {seq for seq in live if seq <= floor or (seq <= delivered and seq not in pending)}


def _consumers(found: dict[str, Any], truth: Truth, live: set[int], lines: list[str], verdict: Verdict) -> None:
    verdict.consumers += sum(found.get(name) != state for name, state in truth.consumers.items())
    for name, state in found.items():
        was = truth.consumers.get(name)
        if was is None:
            verdict.wrong.append(f"consumer {name} was never there")
            continue
        passed = settled(state, live) - settled(was, live)
        if passed:
            verdict.wrong.append(f"consumer {name} takes {sorted(passed)} for acknowledged")
    if not lines:
        verdict.wrong.append(f"consumers are {found}, were {truth.consumers}, and nobody says so")
