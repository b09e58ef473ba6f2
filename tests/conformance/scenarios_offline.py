"""Streams and consumers that a newer server stored: what is left of them for a client.

A restore takes the API level that a configuration needs as it comes; the next start looks at it.
"""

from __future__ import annotations

import json
from typing import Any

from millpond.store.backup.archive import ArchiveWriter

from .backups import give, messages, take
from .compare import Session

TOO_NEW = {"_nats.req.level": "99"}


def newer(s: Session) -> None:
    """OWN needs more than the server knows, BY a consumer of it; OLD runs."""
    for name in ("OWN", "BY", "OLD"):
        s.stream(name, subjects=[f"{name}.>"], allow_direct=True, max_bytes=1 << 20)
        s.publish(f"{name}.a", b"x")
        for consumer in "CD":
            s.consumer(name, consumer, ack_policy="explicit")
    snapshots = {name: take(s.client, name) for name in ("OWN", "BY")}
    for name, snapshot in snapshots.items():
        s.api(f"STREAM.DELETE.{name}")
        config = snapshot.answer["config"]
        if name == "OWN":
            config = {**config, "metadata": TOO_NEW}
        archive = with_level(snapshot.archive, "D") if name == "BY" else snapshot.archive
        s.note(f"restored {json.dumps(give(s.client, name, config, archive))}")
    s.api("CONSUMER.INFO.BY.D")


def with_level(archive: bytes, consumer: str) -> bytes:
    """The same archive, in which that consumer needs more than the server knows."""
    writer = ArchiveWriter()
    for name, ts_ns, seq, content in messages(archive):
        if name == f"consumers/{consumer}":
            document: dict[str, Any] = json.loads(content)
            document["config"]["metadata"] = TOO_NEW
            writer.put_document(name.encode(), ts_ns, json.dumps(document).encode())
        elif seq:
            writer.put(name.encode(), seq, ts_ns, b"", content)
        elif name:
            writer.put_document(name.encode(), ts_ns, content)
    writer.end()
    return bytes(writer.take())


def restart(s: Session) -> None:
    s.client.close()
    s.target.restart()
    s.client, s.counted = s.target.connect(), (0, 0)


def offline(s: Session) -> None:
    newer(s)
    restart(s)
    s.account()
    for body in (b"", {"offset": 1}, {"offset": 2}, {"subject": "OWN.x"}):
        s.api("STREAM.LIST", body)
        s.api("STREAM.NAMES", body)
    for name in ("OWN", "BY"):
        same = {"name": name, "subjects": [f"{name}.>"]}
        for verb, body in (
            (f"STREAM.INFO.{name}", b""), (f"STREAM.INFO.{name}", {"subjects_filter": ">", "deleted_details": True}),
            (f"STREAM.UPDATE.{name}", same), (f"STREAM.CREATE.{name}", same),
            (f"STREAM.CREATE.{name}", {**same, "subjects": ["other"]}),
            ("STREAM.CREATE.ANOTHER", {"name": "ANOTHER", "subjects": [f"{name}.b"]}),
            ("STREAM.CREATE.M", {"name": "M", "mirror": {"name": name}}), ("STREAM.DELETE.M", b""),
            (f"STREAM.PURGE.{name}", b""), (f"STREAM.MSG.DELETE.{name}", {"seq": 1}),
            (f"STREAM.SNAPSHOT.{name}", {"deliver_subject": "x"}), (f"STREAM.SNAPSHOT.{name}", {"deliver_subject": ""}),
            (f"STREAM.RESTORE.{name}", {"config": same}),
            (f"CONSUMER.LIST.{name}", b""), (f"CONSUMER.LIST.{name}", {"offset": 1}), (f"CONSUMER.NAMES.{name}", b""),
            (f"CONSUMER.INFO.{name}.C", b""), (f"CONSUMER.INFO.{name}.D", b""), (f"CONSUMER.INFO.{name}.NONE", b""),
            (f"CONSUMER.DELETE.{name}.C", b""), (f"CONSUMER.DELETE.{name}.NONE", b""),
        ):  # fmt: skip
            s.api(verb, body)
        for consumer in ("D", "NEW"):
            s.consumer(name, consumer, ack_policy="explicit")
        for subject in (f"{name}.a", f"$JS.API.DIRECT.GET.{name}.{name}.a", f"$JS.API.CONSUMER.MSG.NEXT.{name}.D"):
            s.frame(subject, s.client.request(subject, b""), subject=False)
    deleted(s)


def deleted(s: Session) -> None:
    """A stream that is offline goes, and stays away."""
    for name in ("OWN", "BY"):
        s.api(f"STREAM.DELETE.{name}")
        s.api(f"STREAM.INFO.{name}")
        s.stream(name, subjects=[f"{name}.>"])
        s.publish(f"{name}.a", b"x")
    restart(s)
    s.api("STREAM.NAMES")
    s.pull("OLD", "D", {"batch": 1}, 1)


def same_after_restart(s: Session) -> None:
    """A consumer is made again as it is; its metadata makes no other one of it."""
    s.stream("S", subjects=["s"])
    config = {"name": "C", "durable_name": "C", "ack_policy": "explicit", "metadata": {"a": "b", **TOO_NEW}}
    for _ in range(2):
        for action in ("create", "update", ""):
            s.api("CONSUMER.CREATE.S.C", {"stream_name": "S", "action": action, "config": config})
        restart(s)
