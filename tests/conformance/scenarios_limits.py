"""What a server's own limits refuse. The servers run with `CONFIG`."""

from __future__ import annotations

from .compare import Session

CONFIG = "jetstream { max_mem: 4096, max_file: 8192 }\n"


def full(s: Session) -> None:
    """Publishes until there is no room, in all streams together; what is removed makes room again."""
    s.stream("R", subjects=["r"])
    s.stream("OTHER", subjects=["other"])
    for _ in range(10):
        s.publish("r", b"x" * 1000)
    s.publish("other", b"x")
    s.publish("r", b"x", {"Nats-Expected-Last-Sequence": "77"})
    s.api("STREAM.MSG.DELETE.R", {"seq": 1})
    for _ in range(2):
        s.publish("other", b"x" * 1000)
    s.api("STREAM.PURGE.R")
    s.publish("other", b"x" * 1000, {"Nats-Msg-Id": "1"})
    s.publish("other", b"x" * 1000, {"Nats-Msg-Id": "1"})
    s.account()


def reserved(s: Session) -> None:
    for number, size in enumerate((4096, 1, 4097, 8192, 8193)):
        s.stream(f"S{number}", subjects=[f"s{number}"], max_bytes=size)
    s.account()
