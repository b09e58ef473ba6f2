"""num_pending is exact, whatever happens to the stream under the consumer, and so are positions."""

from __future__ import annotations

from .compare import Session
from .scenarios_consumers import SECOND_NS, filled, named, quiet
from .scenarios_consumers_pull import ask

FILTERS: dict[str, dict[str, object]] = {
    "all": {"filter_subject": "CO.>"}, "zero": {"filter_subject": "CO.0"}, "star": {"filter_subject": "CO.*"},
    "nine": {"filter_subject": "CO.9"},
    "two": {"filter_subjects": ["CO.0", "CO.2"]}, "wide": {"filter_subjects": ["CO.1", "CO.sub.>"]},
    "last": {"deliver_policy": "last_per_subject", "filter_subject": "CO.*"}, 
    "new": {"deliver_policy": "new", "filter_subject": "CO.>"},
    "third": {"deliver_policy": "by_start_sequence", "opt_start_seq": 3, "filter_subject": "CO.>"},
}


def _counts(s: Session, label: str, but: tuple[str, ...] = ()) -> None:
    """Positions and counts of all consumers, when nats-server has told them of what was published: it tells them one
    message after the other, so the delivery of a mark says that they know what came before."""
    shown = {}
    ask(s, "CO", "mark", {"batch": 1, "expires": 5 * SECOND_NS})
    s.client.request("mark", b"mark")
    s.client.next_message(subject="mark")
    for name in FILTERS:
        if name in but:
            continue
        info = quiet(s, f"CONSUMER.INFO.CO.{name}")
        shown[name] = (info["num_pending"], info["num_ack_pending"], info["delivered"]["stream_seq"],
                       info["ack_floor"]["stream_seq"])
    s.note(f"{label}: {shown}")


def _three_subjects(s: Session, count: int = 9, **config: object) -> None:
    quiet(s, "STREAM.CREATE.CO", {"name": "CO", "subjects": ["CO.>", "mark"], "storage": s.storage or "memory",
                                   **config})
    quiet(s, "CONSUMER.CREATE.CO.mark", {"stream_name": "CO", "config": {"name": "mark", "filter_subject": "mark"}})
    for number in range(count):
        s.client.request(f"CO.{number % 3}", b"%d" % number)
    for name, fields in FILTERS.items():
        config = {"durable_name": name, "ack_policy": "explicit", **fields}
        quiet(s, f"CONSUMER.DURABLE.CREATE.CO.{name}", {"stream_name": "CO", "config": config})


def counts_while_publishing(s: Session) -> None:
    _three_subjects(s)
    _counts(s, "at first")
    for subject in ("CO.0", "CO.9", "CO.sub.a.b", "CO.2"):
        s.client.request(subject, b"x")
    _counts(s, "four more")
    for name in FILTERS:
        s.pull("CO", name, {"batch": 2, "no_wait": True}, 2)
    _counts(s, "two delivered")


def counts_under_deletes(s: Session) -> None:
    _three_subjects(s)
    for name in ("all", "two", "last"):
        s.pull("CO", name, b"1", 1)
    for seq in (1, 2, 9, 5):
        quiet(s, "STREAM.MSG.DELETE.CO", {"seq": seq})
        _counts(s, f"without {seq}")
    for name in FILTERS:
        s.pull("CO", name, {"batch": 1, "no_wait": True}, 1)
    _counts(s, "one delivered")


def counts_under_purges(s: Session) -> None:
    for label, purge in (
        ("subject", {"filter": "CO.0"}), ("wildcard", {"filter": "CO.*"}), ("seq", {"seq": 4}), ("keep", {"keep": 2}),
        ("subject keep", {"filter": "CO.2", "keep": 1}), ("subject seq", {"filter": "CO.1", "seq": 5}), ("all", {}),
        ("beyond", {"seq": 50}),
    ):
        _three_subjects(s)
        for name in ("all", "star", "two"):
            s.client.publish(f"$JS.API.CONSUMER.MSG.NEXT.CO.{name}", b"2", s.client.new_reply())
            s.frames(name, [s.client.next_message(sid="1") for _ in range(2)])
        quiet(s, "STREAM.PURGE.CO", purge)
        _counts(s, label, but=("last",))
        s.client.request("CO.0", b"x")
        _counts(s, f"{label}, then one more", but=("last",))
        s.pull("CO", "all", {"batch": 1, "no_wait": True}, 1)
        quiet(s, "STREAM.DELETE.CO")


def counts_under_limits(s: Session) -> None:
    _three_subjects(s, max_msgs=9)
    s.pull("CO", "star", b"2", 2)
    for number in range(4):
        s.client.request(f"CO.{number % 3}", b"x")
        _counts(s, f"evicted {number + 1}")
    quiet(s, "STREAM.UPDATE.CO", {"name": "CO", "subjects": ["CO.>", "mark"],
                                   "storage": s.storage or "memory", "max_msgs": 2})
    _counts(s, "only two kept")
    for name in sorted(set(FILTERS) - {"last"}):                 # one whose whole list is gone says 404 at first
        s.pull("CO", name, {"batch": 1, "no_wait": True}, 1)


def counts_with_limits_per_subject(s: Session) -> None:
    _three_subjects(s, max_msgs_per_subject=2)
    _counts(s, "at first")
    s.pull("CO", "all", b"2", 2)
    for number in range(5):
        s.client.request(f"CO.{number % 2}", b"x")
        _counts(s, f"replaced {number + 1}")


def counts_under_rollups(s: Session) -> None:
    _three_subjects(s, allow_rollup_hdrs=True)
    s.pull("CO", "all", b"2", 2)
    s.client.request("CO.0", b"x", {"Nats-Rollup": "sub"})
    _counts(s, "subject rolled up")
    s.client.request("CO.1", b"x", {"Nats-Rollup": "all"})
    _counts(s, "all rolled up")


def counts_after_age(s: Session) -> None:
    _three_subjects(s, count=6, max_age=SECOND_NS // 2)
    s.pull("CO", "all", b"2", 2)
    ask(s, "CO", "nine", {"batch": 1, "expires": 5 * SECOND_NS})
    while quiet(s, "STREAM.INFO.CO")["state"]["messages"]:
        pass
    s.client.request("CO.9", b"x")
    s.frame("waited", s.client.next_message(subject="CO.9"))
    _counts(s, "all but one expired", but=("last",))


def counts_after_filter_changes(s: Session) -> None:
    _three_subjects(s)
    s.pull("CO", "zero", b"1", 1)
    for fields in ({"filter_subject": "CO.1"}, {"filter_subjects": ["CO.0", "CO.2"]}, {"filter_subject": "CO.9"}, {}):
        s.consumer("CO", "zero", ack_policy="explicit", **fields)
    s.pull("CO", "zero", {"batch": 9, "no_wait": True}, 9)


def last_per_subject_goes_on(s: Session) -> None:
    """The last ones of its beginning, then everything."""
    filled(s, "LP", 0)
    for number in range(8):
        s.client.request(f"LP.{number % 4}", b"%d" % number)
    config = {"ack_policy": "none", "deliver_policy": "last_per_subject", "filter_subject": "LP.*"}
    named(s, "LP", "c", **config)
    s.pull("LP", "c", b"1", 1)
    s.client.request("LP.1", b"new 1")
    s.client.request("LP.1", b"newer 1")
    s.pull("LP", "c", {"batch": 9, "no_wait": True}, 6)


def pending_in_ack_subjects(s: Session) -> None:
    """The last token counts down to 0, the end mark of key-value watchers."""
    filled(s, "PT", 7, max_msgs_per_subject=3)
    for fields in ({}, {"filter_subject": "PT.0"}, {"deliver_policy": "last_per_subject", "filter_subject": "PT.*"}):
        name = f"c{len(str(fields))}"
        info = s.consumer("PT", name, ack_policy="none", **fields)
        got = s.pull("PT", name, {"batch": 9, "no_wait": True}, info["num_pending"] + 1)
        s.note(f"{[frame.reply.rsplit('.', 1)[-1] for frame in got[:-1]]}")
