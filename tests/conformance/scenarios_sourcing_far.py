"""Mirrors and sources of a stream that is elsewhere: in another account, or on another server (see `ends`).

In all of them `s` is the end where streams follow and `other` that of their origins.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from .compare import Session, show_payload
from .ends import EXTERNAL, FAR, Ends
from .scenarios_sourcing import SECOND_NS, ask, fill, kept, shown, until, until_last
from .scenarios_streams import update

BIG = 20_000


def consumers(other: Session, name: str = "O") -> list[dict[str, Any]]:
    """What the origin shows of who follows it, without the names that are of one run."""
    found = ask(other, f"CONSUMER.LIST.{name}")["consumers"] or []
    for each in found:
        for secret, shown_as in ((each["name"], "<consumer>"), (each["config"].get("deliver_subject"), "<deliver>")):
            if secret:
                other.hide(secret, shown_as)
        other.note(f"FOLLOWER {show_payload(json.dumps(each['config']).encode())}")
    return found


def bodies(s: Session, name: str) -> list[int]:
    """How long the messages of a stream are, whatever their order."""
    state = ask(s, f"STREAM.INFO.{name}")["state"]
    found = []
    for stream_seq in range(state["first_seq"], state["last_seq"] + 1):
        message = ask(s, f"STREAM.MSG.GET.{name}", {"seq": stream_seq}).get("message", {})
        found.append(len(base64.b64decode(message.get("data", ""))))
    return found


def far_mirror(ends: Ends) -> None:
    """Gaps, filters, transforms; what has gone at the origin while nobody looked; what both ends show."""
    s, other = ends.here, ends.there
    other.stream("O", subjects=["o.>"])
    fill(other, "o.a", 4)
    fill(other, "o.b", 2)
    other.api("STREAM.MSG.DELETE.O", {"seq": 2})
    s.stream("M", mirror=FAR)
    until_last(s, "M", 6)
    kept(s, "M")
    consumers(other)
    s.stream("F", mirror={**FAR, "filter_subject": "o.b"})
    until_last(s, "F", 6)
    kept(s, "F")
    s.stream("T", mirror={**FAR, "subject_transforms": [{"src": "o.a", "dest": "t.a"}]})
    until_last(s, "T", 4)
    other.publish("o.a", b"7", {"Nats-Msg-Id": "seven"})
    other.api("STREAM.PURGE.O", {"filter": "o.b"})
    other.publish("o.a", b"8")
    for name in ("M", "T"):
        until_last(s, name, 8)
        kept(s, name)


def far_sources(ends: Ends) -> None:
    """Two accounts in one stream; then another origin of the same name on this side."""
    s, other = ends.here, ends.there
    other.stream("O", subjects=["o.>"])
    s.stream("O", subjects=["own.>"])
    fill(other, "o.a", 2)
    fill(s, "own.a", 2)
    s.stream("S", sources=[FAR, {"name": "O"}])
    until_last(s, "S", 4)
    kept(s, "S", ordered=False)
    fill(other, "o.b", 1)
    until_last(s, "S", 5)
    update(s, "S", sources=[{"name": "O"}])
    fill(other, "o.c", 2)
    fill(s, "own.c", 1)
    until_last(s, "S", 6)
    update(s, "S", sources=[{"name": "O"}, FAR])
    until_last(s, "S", 8)
    kept(s, "S", ordered=False)


def far_flow(ends: Ends) -> None:
    """More than one window of flow control: it goes on only when it is answered across the accounts."""
    s, other = ends.here, ends.there
    other.stream("O", subjects=["o.>"])
    for number in range(120):
        other.client.request("o.a", b"x" * (BIG + number))
    s.stream("M", mirror=FAR)
    s.stream("S", sources=[FAR])
    for name in ("M", "S"):
        until(s, name, lambda info: info["state"]["messages"] == 120)
        s.note(f"{name} {bodies(s, name)}")
        until(s, name, lambda info: (info.get("mirror") or info["sources"][0])["lag"] == 0)
        shown(s, name)


def far_work_queue(ends: Ends) -> None:
    """What was taken over leaves the origin."""
    s, other = ends.here, ends.there
    other.stream("O", subjects=["o.>"], retention="workqueue")
    fill(other, "o.a", 3)
    s.stream("S", sources=[FAR])
    until_last(s, "S", 3)
    until(other, "O", lambda info: info["state"]["messages"] == 0)
    fill(other, "o.b", 2)
    until_last(s, "S", 5)
    until(other, "O", lambda info: info["state"]["messages"] == 0)
    kept(s, "S")
    consumers(other)


def far_durable(ends: Ends) -> None:
    """The consumer was made before, by those who own the origin."""
    s, other = ends.here, ends.there
    other.stream("O", subjects=["o.>"])
    fill(other, "o.a", 3)
    flow = {"ack_policy": "flow_control", "flow_control": True, "idle_heartbeat": SECOND_NS}
    other.consumer("O", "C", deliver_subject="from.in.c", **flow)
    s.stream("S", sources=[{**FAR, "consumer": {"name": "C", "deliver_subject": "from.in.c"}}])
    until_last(s, "S", 3)
    fill(other, "o.a", 2)
    until_last(s, "S", 5)
    kept(s, "S")
    until(other, "O", lambda info: ask(other, "CONSUMER.INFO.O.C")["ack_floor"]["stream_seq"] == 5)


def far_without(ends: Ends) -> None:
    """Nothing is imported under that name; the origin is not there; its messages are not let through."""
    s, other = ends.here, ends.there
    other.stream("O", subjects=["o.>"])
    fill(other, "o.a", 2)
    s.stream("M1", mirror={"name": "O", "external": {"api": "none.API", "deliver": "from.in"}})
    s.stream("M2", mirror={"name": "NONE", "external": EXTERNAL})
    s.stream("M3", mirror={"name": "O", "external": {"api": "from.API", "deliver": "closed.in"}})
    s.stream("S2", sources=[{"name": "NONE", "external": EXTERNAL}])
    until(s, "M2", lambda info: "error" in info["mirror"])
    until(s, "S2", lambda info: "error" in info["sources"][0])
    for name in ("M1", "M2", "S2"):
        shown(s, name)
    s.note(f"M3 {ask(s, 'STREAM.INFO.M3')['state']}")
    # There is an origin after all, made while it was asked for.
    other.stream("NONE", subjects=["n"])
    fill(other, "n", 2)
    until_last(s, "M2", 2)
    until_last(s, "S2", 2)


def far_killed(ends: Ends) -> None:
    """Both ends die and go on where they were."""
    s, other = ends.here, ends.there
    other.stream("O", subjects=["o.>"])
    other.stream("W", subjects=["w.>"], retention="workqueue")
    fill(other, "o.a", 3)
    fill(other, "w.a", 2)
    s.stream("M", mirror=FAR)
    s.stream("S", sources=[FAR, {"name": "W", "external": EXTERNAL}])
    until(s, "M", lambda info: info["state"]["last_seq"] == 3)
    until(s, "S", lambda info: info["state"]["last_seq"] == 5)
    ends.kill()
    fill(other, "o.b", 2)
    fill(other, "w.b", 1)
    until_last(s, "M", 5)
    until_last(s, "S", 8)
    kept(s, "M")
    kept(s, "S", ordered=False)


def far_made_anew(ends: Ends) -> None:
    """The origin goes and comes again under its name: a source begins at its first message."""
    s, other = ends.here, ends.there
    other.stream("O", subjects=["o"])
    fill(other, "o", 3)
    s.stream("S", sources=[FAR])
    until_last(s, "S", 3)
    other.api("STREAM.DELETE.O")
    other.stream("O", subjects=["o"])
    fill(other, "o", 2)
    until_last(s, "S", 5)
    kept(s, "S")


def far_consumer_deleted(ends: Ends) -> None:
    """Who owns the origin deletes the consumers that followers made: they make others."""
    s, other = ends.here, ends.there
    made = other.client.subscribe("$JS.EVENT.ADVISORY.CONSUMER.CREATED.O.*")
    other.stream("O", subjects=["o"])
    fill(other, "o", 2)
    for name, config in (("M", {"mirror": FAR}), ("S", {"sources": [FAR]})):
        s.stream(name, **config)
        consumer = other.client.next_message(sid=made).subject.rpartition(".")[2]
        other.hide(consumer.rpartition("_")[2], "<name>")
        until(s, name, lambda info: info["state"]["last_seq"] == 2)
        other.api(f"CONSUMER.DELETE.O.{consumer}")
    fill(other, "o", 2)
    for name in ("M", "S"):
        until_last(s, name, 4)
        kept(s, name)
