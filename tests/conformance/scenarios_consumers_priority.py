"""Priority groups (ADR-42): overflow, pinned clients, priorities, and what refuses them."""

from __future__ import annotations

import json
from typing import Any

from .compare import Session
from .scenarios_consumers import MS_NS, SECOND_NS, filled, quiet
from .scenarios_consumers_pull import ask, waiting
from .wire_client import Frame

GROUP = {"group": "g"}


def _pin_of(frame: Frame) -> str:
    """The pin id that a delivery carries."""
    return frame.headers.split(b"Nats-Pin-Id: ")[1].split(b"\r\n")[0].decode()


def _group_info(s: Session, where: str) -> None:
    groups = quiet(s, f"CONSUMER.INFO.{where}")["priority_groups"]
    s.note(f"groups {json.dumps(groups) if len(groups) == 1 else groups}")


def priority_refusals(s: Session) -> None:
    filled(s, "PR", 1)
    for number, config in enumerate((
        {"priority_policy": "overflow"}, {"priority_policy": "overflow", "priority_groups": []},
        {"priority_policy": "overflow", "priority_groups": [""]},
        {"priority_policy": "overflow", "priority_groups": ["a b"]},
        {"priority_policy": "overflow", "priority_groups": ["a" * 17]},
        {"priority_policy": "overflow", "priority_groups": ["a/b_c=d-E", "b"]},
        {"priority_policy": "overflow", "priority_groups": ["\u00e9"]},
        {"priority_groups": ["a"]}, {"priority_timeout": SECOND_NS}, {"priority_policy": "none"},
        {"priority_policy": "none", "priority_groups": ["a"]}, {"priority_policy": "", "priority_groups": ["a"]},
        {"priority_policy": "pinned_client", "priority_groups": ["a"]},
        {"priority_policy": "pinned_client", "priority_groups": ["a"], "priority_timeout": SECOND_NS},
        {"priority_policy": "prioritized", "priority_groups": ["a"], "priority_timeout": SECOND_NS},
        {"priority_policy": "overflow", "priority_groups": ["a"], "deliver_subject": "deliver.pr"},
        {"priority_policy": "prioritized", "priority_groups": ["a", "a"]},
    )):
        s.consumer("PR", f"c{number}", ack_policy="explicit", **config)
        s.client.request(f"$JS.API.CONSUMER.DELETE.PR.c{number}")


def priority_requests(s: Session) -> None:
    """What a pull must and must not say under each policy."""
    filled(s, "PQ", 60)
    for policy in ("none", "overflow", "pinned_client", "prioritized"):
        groups = {} if policy == "none" else {"priority_groups": ["g", "h"]}
        quiet(s, f"CONSUMER.CREATE.PQ.{policy}",
              {"stream_name": "PQ", "config": {"name": policy, "priority_policy": policy, **groups}})
        for body in (b"{}", b'{"group":""}', b'{"group":"x"}', b'{"group":"G"}', b'{"group":"g","min_pending":5}',
                     b'{"group":"g","min_ack_pending":5,"no_wait":true}', b'{"group":"g","id":"wrong"}',
                     b'{"group":"g","priority":9}', b'{"group":"g","priority":10}'):
            ask(s, "PQ", policy, body)
            frame = s.client.next_message(sid="1")
            if b"Nats-Pin-Id: " in frame.headers:
                s.hide(_pin_of(frame), "<pin>")
            s.note(f"   {frame.status or 'delivered'}")


def overflow(s: Session) -> None:
    filled(s, "OV", 6)
    s.consumer("OV", "c", ack_policy="explicit", priority_policy="overflow", priority_groups=["g"])
    s.pull("OV", "c", {**GROUP, "batch": 1, "min_pending": 6, "expires": 5 * SECOND_NS}, 1)
    s.pull("OV", "c", {**GROUP, "batch": 1, "min_pending": 6, "expires": 50 * MS_NS}, 1)
    s.pull("OV", "c", {**GROUP, "batch": 1, "min_ack_pending": 2, "expires": 50 * MS_NS}, 1)
    s.pull("OV", "c", {**GROUP, "batch": 1, "min_ack_pending": 1, "expires": 50 * MS_NS}, 1)
    s.pull("OV", "c", {**GROUP, "batch": 1, "min_pending": 9, "min_ack_pending": 2, "expires": 50 * MS_NS}, 1)
    ask(s, "OV", "c", {**GROUP, "batch": 1, "min_pending": 5, "expires": 5 * SECOND_NS})
    waiting(s, "OV.c", until=1)
    s.pull("OV", "c", {**GROUP, "batch": 1, "expires": 5 * SECOND_NS}, 1)
    for number in range(3):
        s.client.request("OV.a", b"more %d" % number)
    s.frame("above the threshold", s.client.next_message(sid="1"))
    s.pull("OV", "c", {**GROUP, "batch": 1, "min_pending": 50, "no_wait": True}, 1)
    s.api("CONSUMER.INFO.OV.c")


def pinned(s: Session) -> None:
    """The first is pinned; others stand by, until the pin is given up."""
    filled(s, "PI", 9)
    advisories = s.client.subscribe("$JS.EVENT.ADVISORY.CONSUMER.*.PI.c")
    s.consumer("PI", "c", ack_policy="explicit", priority_policy="pinned_client", priority_groups=["g"],
               priority_timeout=20 * SECOND_NS)
    _group_info(s, "PI.c")
    ask(s, "PI", "c", {**GROUP, "batch": 2, "expires": 5 * SECOND_NS})
    first = s.client.next_message(sid="1")
    pin = _pin_of(first)
    s.hide(pin, "<pin>")
    s.frames("pinned", [first, s.client.next_message(sid="1")])
    s.frame("created", s.client.next_message(sid=advisories))
    s.frame("advisory", s.client.next_message(sid=advisories))
    _group_info(s, "PI.c")
    ask(s, "PI", "c", {**GROUP, "batch": 1, "expires": 5 * SECOND_NS})
    waiting(s, "PI.c", until=1)
    s.pull("PI", "c", {**GROUP, "batch": 1, "id": "wrong", "expires": 5 * SECOND_NS}, 1)
    s.pull("PI", "c", {**GROUP, "batch": 2, "id": pin, "expires": 5 * SECOND_NS}, 2)
    waiting(s, "PI.c", until=1)
    s.api("CONSUMER.UNPIN.PI.c", GROUP)
    s.frame("advisory", s.client.next_message(sid=advisories))
    second = s.client.next_message(sid="1")
    s.hide(_pin_of(second), "<pin 2>")
    s.frame("the one that stood by", second)
    s.frame("advisory", s.client.next_message(sid=advisories))
    s.note(f"another pin {_pin_of(second) != pin}")
    s.pull("PI", "c", {**GROUP, "batch": 1, "id": pin, "expires": 5 * SECOND_NS}, 1)
    s.api("CONSUMER.UNPIN.PI.c", GROUP)
    s.frame("advisory", s.client.next_message(sid=advisories))
    _group_info(s, "PI.c")
    s.pull("PI", "c", {**GROUP, "batch": 1, "id": pin, "expires": 5 * SECOND_NS}, 1)
    s.pull("PI", "c", b"1", 1)
    _group_info(s, "PI.c")


def pin_times_out(s: Session) -> None:
    filled(s, "PT", 4)
    advisories = s.client.subscribe("$JS.EVENT.ADVISORY.CONSUMER.UNPINNED.>")
    s.consumer("PT", "c", ack_policy="none", priority_policy="pinned_client", priority_groups=["g"],
               priority_timeout=200 * MS_NS)
    ask(s, "PT", "c", {**GROUP, "batch": 1, "expires": 5 * SECOND_NS})
    first = s.client.next_message(sid="1")
    s.hide(_pin_of(first), "<pin>")
    s.frame("pinned", first)
    ask(s, "PT", "c", {**GROUP, "batch": 1, "expires": 5 * SECOND_NS})
    s.frame("advisory", s.client.next_message(sid=advisories))
    second = s.client.next_message(sid="1")
    s.hide(_pin_of(second), "<pin 2>")
    s.frame("then the other", second)


def unpin_answers(s: Session) -> None:
    filled(s, "UN", 1)
    s.consumer("UN", "c", ack_policy="explicit", priority_policy="pinned_client", priority_groups=["g"])
    s.consumer("UN", "none", ack_policy="explicit")
    for body in (b"", b"{}", b'{"group":""}', b'{"group":"h"}', b'{"group":"g"}', b'{"group":"a b"}', b'{"group":5}',
                 b'{"group":"g","x":1}', b"{", b"null", b"junk", b'{"group":"g"}x'):
        s.api("CONSUMER.UNPIN.UN.c", body)
    s.api("CONSUMER.UNPIN.UN.none", GROUP)
    s.api("CONSUMER.UNPIN.UN.absent", GROUP)
    s.api("CONSUMER.UNPIN.NONE.c", GROUP)
    s.api("CONSUMER.UNPIN.UN.absent", b"{}")
    s.api("CONSUMER.UNPIN.UN.c", GROUP, {"Nats-Required-Api-Level": "99"})


def pinned_and_too_small(s: Session) -> None:
    """A request that cannot take the message does not stay pinned; headers are added to stored ones."""
    filled(s, "PS", 0)
    s.client.request("PS.a", b"x" * 300, {"A": "b"})
    s.consumer("PS", "c", ack_policy="none", priority_policy="pinned_client", priority_groups=["g"], headers_only=True)
    s.pull("PS", "c", {**GROUP, "batch": 1, "max_bytes": 20}, 1)
    _group_info(s, "PS.c")
    ask(s, "PS", "c", {**GROUP, "batch": 1, "max_bytes": 2000})
    frames = [s.client.next_message(sid="1") for _ in range(2)]
    s.hide(_pin_of(frames[0]), "<pin>")
    s.frame("pinned", frames[0])
    s.note(f"{frames[1].status}")


def prioritized(s: Session) -> None:
    """Lowest number first, in turn among equals; what is not JSON comes last."""
    filled(s, "PZ", 0)
    s.consumer("PZ", "c", ack_policy="none", priority_policy="prioritized", priority_groups=["g"])
    sids: dict[str, str] = {}

    def wait_as(name: str, body: Any) -> None:
        sids[s.client.subscribe(f"inbox.pz.{name}")] = name
        data = body if isinstance(body, bytes) else json.dumps({**GROUP, "expires": 5 * SECOND_NS, **body}).encode()
        s.client.publish("$JS.API.CONSUMER.MSG.NEXT.PZ.c", data, f"inbox.pz.{name}")

    wait_as("plain", b"9")
    wait_as("five", {"batch": 2, "priority": 5})
    wait_as("one", {"batch": 2, "priority": 1})
    wait_as("uno", {"batch": 2, "priority": 1})
    wait_as("nine", {"batch": 1, "priority": 9})
    wait_as("zero", {"batch": 1})
    for _ in range(50):
        quiet(s, "CONSUMER.INFO.PZ.c")
    for number in range(10):
        s.client.request("PZ.a", b"%d" % number)
    got = [s.client.next_message(subject="PZ.a") for _ in range(10)]
    s.note(f"{[(sids[frame.sid], frame.payload.decode()) for frame in got]}")
    waiting(s, "PZ.c", until=1)
