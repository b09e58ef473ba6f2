"""Mirrors and sources whose origins are on another server, while the link or one of the two fails."""

from __future__ import annotations

import threading

from .compare import Session
from .ends import EXTERNAL, FAR, LinkEnds
from .scenarios_sourcing import ask, fill, kept, shown, until, until_last
from .wire_client import Frame

QUEUE = {"name": "W", "external": EXTERNAL}
RENAMED = [{"src": "o.a", "dest": "t.a"}, {"src": "o.*.c", "dest": "t.$1.c"}]


def stream_seq(frame: Frame) -> int:
    """Of a delivery."""
    return int(frame.reply.split(".")[5])


class Once:
    """Loses the first copy of these messages (for each follower), and brings all others twice."""

    def __init__(self, *lost: int) -> None:
        self._lost = lost
        self._seen: set[tuple[str, int]] = set()

    def __call__(self, frame: Frame) -> int:
        message = frame.reply.split(".")[3].partition("-")[0], stream_seq(frame)
        again = message in self._seen
        self._seen.add(message)
        return 2 if again or message[1] not in self._lost else 0


class Gate:
    """Lets so many through, then nothing until it is opened."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._opened = threading.Event()

    def __call__(self, frame: Frame) -> int:
        if self._left == 0:
            self._opened.wait()
        else:
            self._left -= 1
        return 1

    def open(self) -> None:
        self._opened.set()


def lag(ends: LinkEnds) -> None:
    """How far behind a follower is, while nothing comes over."""
    s, other = ends.here, ends.there
    other.stream("O", subjects=["o.>"])
    fill(other, "o.a", 10)
    for name, config in (("M", {"mirror": FAR}), ("S", {"sources": [{**FAR, "filter_subject": "o.a"}]})):
        gate = Gate(4)
        ends.link(gate)
        try:
            s.stream(name, **config)
            until_last(s, name, 4)
        finally:
            gate.open()
        until_last(s, name, 10)
        s.api(f"STREAM.DELETE.{name}")


def gaps(ends: LinkEnds) -> None:
    """Single messages are lost on the way, all others come twice: what is stored has none of that."""
    s, other = ends.here, ends.there
    ends.link(Once(4, 8))
    other.stream("O", subjects=["o.>"])
    fill(other, "o.a", 6)
    other.api("STREAM.MSG.DELETE.O", {"seq": 3})
    s.stream("M", mirror=FAR)
    s.stream("S", sources=[FAR])
    until(s, "M", lambda info: info["state"]["last_seq"] == 6)
    until(s, "S", lambda info: info["state"]["last_seq"] == 5)
    # The last one is lost: only a heartbeat tells.
    fill(other, "o.b", 2)
    until_last(s, "M", 8)
    until_last(s, "S", 7)
    kept(s, "M", times_of="O", at=other)
    kept(s, "S")


def follow(ends: LinkEnds) -> None:
    s, other = ends.here, ends.there
    other.stream("O", subjects=["o.>"])
    other.stream("W", subjects=["w.>"], retention="workqueue")
    fill(other, "o.a", 4)
    fill(other, "o.b.c", 2)
    fill(other, "w.a", 3)
    other.api("STREAM.MSG.DELETE.O", {"seq": 2})
    s.stream("M", mirror=FAR)
    s.stream("S", sources=[{**FAR, "subject_transforms": RENAMED}, QUEUE])
    all_came(ends, 6, 8)


def all_came(ends: LinkEnds, mirrored: int, sourced: int) -> None:
    """Everything that the origins have is there, once."""
    s, other = ends.here, ends.there
    until(s, "M", lambda info: info["state"]["last_seq"] >= mirrored)
    until(s, "S", lambda info: info["state"]["last_seq"] >= sourced)
    until(other, "W", lambda info: info["state"]["messages"] == 0)
    kept(s, "M", times_of="O", at=other)
    kept(s, "S", ordered=False)
    for name in ("M", "S"):
        shown(s, name)


def more(other: Session) -> None:
    fill(other, "o.a", 2)
    fill(other, "o.c", 1)
    fill(other, "o.d.c", 1)
    fill(other, "w.b", 2)


def more_unseen(ends: LinkEnds) -> None:
    """While there is no link; one of them is gone again."""
    ends.cut()
    more(ends.there)
    last_seq = ask(ends.there, "STREAM.INFO.O")["state"]["last_seq"]
    ends.there.api("STREAM.MSG.DELETE.O", {"seq": last_seq - 3})


def cut(ends: LinkEnds) -> None:
    """The link is gone for a while; both servers live on."""
    follow(ends)
    more_unseen(ends)
    ends.link()
    all_came(ends, 10, 12)
    more(ends.there)
    all_came(ends, 14, 17)


def origin_killed(ends: LinkEnds) -> None:
    follow(ends)
    more_unseen(ends)
    ends.restart(ends.there)
    more(ends.there)
    all_came(ends, 14, 17)


def follower_killed(ends: LinkEnds) -> None:
    follow(ends)
    more_unseen(ends)
    ends.restart(ends.here)
    more(ends.there)
    all_came(ends, 14, 17)


def follower_stopped(ends: LinkEnds) -> None:
    follow(ends)
    more_unseen(ends)
    ends.restart(ends.here, kill=False)
    more(ends.there)
    all_came(ends, 14, 17)
