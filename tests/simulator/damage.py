"""Writes that were certain and are wrong: lost, at another place, or changed since. What must hold then.

The rules are those of tests/corruption, of whatever a power cut has left besides:

- what is there has the subject, headers, body and time that were sent;
- what is lost is named, by the log and by the stream's state, and nothing is named that is there;
- no consumer takes for acknowledged what was not;
- all other streams are as after any power cut.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from random import Random
from typing import Any, NamedTuple

from millpond.testing.simulated_disk import GONE, MOVED, NAME, SYNCED, WRITE

from ..corruption.judge import named
from ..corruption.rooms import Told
from .history import LIMITS, Found, Violation, same
from .life import Life, messages_of
from .world import World

SECTOR = 512
PAGE = 4096
LATER_WRITES = 3
"""A write of the log of which so many later ones are certain is no torn end. (An erasure, which is no whole page, says
nothing of what was written before.)"""


class Spoiled(NamedTuple):
    """A trace, one of whose writes is another one."""

    trace: list[Any]
    what: str


def spoil(trace: list[Any], slot: str, rng: Random) -> Spoiled | None:
    """One certain write into a file of this stream, with what is certain behind it. None: there is none."""
    paths, writes = _certain(trace, slot)
    logs = [number for number in writes if "/log." in paths[trace[number][1]]]
    pages = [number for number in logs if trace[number][2] % PAGE == len(trace[number][3]) % PAGE == 0]
    last = pages[-LATER_WRITES] if len(pages) >= LATER_WRITES else 0
    if len({trace[number][1] for number in logs}) == 1:                # without its head nobody knows which log it is
        logs = [number for number in logs if trace[number][2]]
    others = [number for number in writes if "/log." not in paths[trace[number][1]]]
    possible = [*(number for number in logs if number < last), *others]
    if not possible:
        return None
    number = rng.choice(possible)
    _, file, offset, data = trace[number]
    kind = rng.choice(("lost", "misdirected", "bit", "zeros", "garbage"))
    if kind == "lost":
        step = WRITE, file, 0, b""
    elif kind == "misdirected":
        there = {step[2] for step in trace[:number] if step[0] == NAME}
        places = [each for each in there & paths.keys() if "/log." not in paths[each]]     # a log's end may be torn
        other = rng.choice(sorted(places, key=lambda each: paths[each]))
        step = WRITE, other, rng.choice((0, SECTOR, 4096, offset + SECTOR, offset % 4096)), data
    else:
        step = WRITE, file, offset, _changed(data, offset, kind, rng)
    return Spoiled([*trace[:number], step, *trace[number + 1 :]],
                   f"write {number} into {paths[file]} at {offset}, {len(data)} bytes: {kind}")  # fmt: skip


def _changed(data: bytes, offset: int, kind: str, rng: Random) -> bytes:
    if not data:
        return data
    if kind == "bit":
        at = rng.randrange(len(data))
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    at = rng.randrange(len(data))
    begin = max(0, at - (offset + at) % SECTOR)
    end = min(len(data), at - (offset + at) % SECTOR + SECTOR)
    return data[:begin] + (bytes(end - begin) if kind == "zeros" else rng.randbytes(end - begin)) + data[end:]


def _certain(trace: list[Any], slot: str) -> tuple[dict[Any, str], list[int]]:
    """(path of each file that is in the slot, numbers of the writes to them that are on disk)."""
    names: dict[str, Any] = {}
    synced: dict[Any, int] = {}
    for step in trace:
        if step[0] == NAME:
            names[step[1]] = step[2]
        elif step[0] == GONE:
            names.pop(step[1], None)
        elif step[0] == MOVED and step[1] in names:
            names[step[2]] = names.pop(step[1])
        elif step[0] == SYNCED:
            synced[step[1]] = max(step[2], synced.get(step[1], 0))
    paths = {file: path for path, file in names.items() if file is not None and path.startswith(slot + "/")}
    return paths, [number for number, step in enumerate(trace)
                   if step[0] == WRITE and step[1] in paths and number < synced.get(step[1], 0)]  # fmt: skip


@contextmanager
def heard() -> Iterator[Told]:
    """What the log says meanwhile."""
    told, log = Told(), logging.getLogger("millpond")
    before = log.propagate, logging.root.manager.disable
    log.propagate = False
    logging.disable(logging.NOTSET)
    log.addHandler(told)
    try:
        yield told
    finally:
        log.removeHandler(told)
        log.propagate = before[0]
        logging.disable(before[1])


def judge(life: Life, start: Callable[[], World], cut: int) -> None:
    """`start` recovers the damaged image. Raises Violation."""
    with heard() as told:
        world = start()
        try:
            if life.coming is not None:
                life.coming.check(world, cut)
            if life.backups is not None:
                life.backups.check(world, cut)
            if life.queue is not None:
                life.queue.check(world, cut, False)
            _judge_stream(life, world, told, cut)
        finally:
            world.stop()


def _judge_stream(life: Life, world: World, told: Told, cut: int) -> None:
    stream = world.engine.streams.get("S")
    if stream is None:
        promised = life.history.answered(cut, True)    # an empty directory looks like one of no stream
        if promised and not world.storage.unrecovered:
            raise Violation("the stream is gone, and nobody says so")
        return
    found = messages_of(stream.store, readable=False)
    wrong = stream.store.check()
    if wrong:
        raise Violation(f"the store finds itself wrong: {wrong}")
    lines = [line for line in told.lines if any(life.slot + behind in line for behind in "/: ")]
    config = {name: getattr(stream.config, name) for name in LIMITS}
    _judge_messages(life, found, lines, cut, config)
    _judge_consumers(life, stream, set(found), lines, cut)


def _judge_messages(
    life: Life, found: dict[int, dict[str, Any]], lines: list[str], cut: int, config: dict[str, Any]
) -> None:
    """`config`: what it came back with. An older one, whose limits take messages away, looks like the last one."""
    history = life.history
    certain, sent = history.answered(cut, True), history.sent_by(cut)
    ever: dict[int, list[Any]] = {}
    for i in range(sent + 1):
        for seq, message in history.states[i].messages.items():
            ever.setdefault(seq, []).append(message)
        if i < sent:
            for seq, message in history._passing(i).items():
                ever.setdefault(seq, []).append(message)
    for seq, message in found.items():
        if not any(same(message, one) for one in ever.get(seq, ())):
            raise Violation(f"{seq} is {message}, was {ever.get(seq)}")
    state = history.states[certain].messages
    removed = _in_flight(life, cut)
    missing = [seq for seq in state if seq not in found and seq not in removed]
    said = named(lines)
    unsaid = [seq for seq in missing if seq not in said]
    if unsaid and history.limits_explain(Found(found, 0, max(found, default=0), config), unsaid, certain, sent):
        unsaid = []
    if unsaid and not any("write is torn" in line for line in lines):
        raise Violation(f"{unsaid} are lost, and nobody says so: {lines}")
    if said & found.keys():
        raise Violation(f"{sorted(said & found.keys())} are said to be lost, and are there: {lines}")


def _in_flight(life: Life, cut: int) -> set[int]:
    """What is being removed."""
    states = life.history.states[life.history.answered(cut, True) : life.history.sent_by(cut) + 1]
    return {seq for before, after in pairwise(states) for seq in before.messages.keys()
            - after.messages.keys()}  # fmt: skip


def _judge_consumers(life: Life, stream: Any, live: set[int], lines: list[str], cut: int) -> None:
    removed = _in_flight(life, cut)
    live = live & life.history.states[life.history.answered(cut, True)].messages.keys()    # others are back
    for name, lives in life.readers.lives.items():
        consumer = stream.consumers.get(name)
        there = [one for one in lives if one.sent <= cut]
        if consumer is None or not there:
            continue
        one = there[-1]
        if len(there) > 1 or one.deletion_sent <= cut:
            continue
        settled = {seq for seq, at in one.settled.items() if at <= cut} | one.perhaps
        info = consumer.state.info()
        floor, delivered = info["ack_floor"]["stream_seq"], info["delivered"]["stream_seq"]
        pending = {row[0] for row in consumer.state.pending()}
        passed = {seq for seq in live if seq <= floor or (seq <= delivered and seq not in pending)}
        subjects = {seq: message.subject for state in life.history.states for seq, message in state.messages.items()}
        wrong = {seq for seq in passed - settled - removed if seq in subjects and one.wants(subjects[seq])}
        if one.ack_all:
            wrong = {seq for seq in wrong if seq > max(settled, default=0)}
        if wrong:
            raise Violation(f"consumer {name} takes {sorted(wrong)} for acknowledged: {info}, {lines}")
