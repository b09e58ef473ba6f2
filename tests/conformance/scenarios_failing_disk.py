"""A disk that refuses: an obstacle stands where the server wants to write, of which each kind has its own place.

What the error says is the system's and differs; codes and what is there afterwards are compared.
"""

from __future__ import annotations

import json
import shutil
from typing import Any

from .compare import Session
from .scenarios_offline import restart
from .target import REFERENCE

NAME = "FD"


def block_consumers(s: Session) -> None:
    """Where the consumers of the only stream are kept, nothing can be from now on."""
    streams = s.target.root / "store" / "jetstream" / "$G" / "streams"
    if s.target.kind == REFERENCE:
        shutil.rmtree(streams / NAME / "obs", ignore_errors=True)
        (streams / NAME / "obs").write_text("in the way")
    else:
        (slot,) = {path.parent for path in streams.glob("*/stream.*") if NAME in path.read_text("latin-1")}
        for name in ("consumers.0", "consumers.1"):
            (slot / name).unlink(missing_ok=True)
            (slot / name).mkdir()


def code(s: Session, verb: str, body: Any = b"") -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    error = json.loads(s.client.request(f"$JS.API.{verb}", data).payload).get("error", {})
    s.note(f'{verb} {data!r} -> {error.get("code")} "err_code": {error.get("err_code", 0)}')


def no_new_consumers(s: Session) -> None:
    s.api(f"STREAM.CREATE.{NAME}", {"name": NAME, "subjects": ["fd.>"], "storage": "file"})
    s.publish("fd.a", b"x")
    block_consumers(s)
    for name in ("ONE", "TWO"):
        consumer = {"stream_name": NAME, "config": {"durable_name": name, "ack_policy": "explicit"}}
        s.api(f"CONSUMER.DURABLE.CREATE.{NAME}.{name}", consumer)
        s.api(f"CONSUMER.INFO.{NAME}.{name}")
    s.api(f"CONSUMER.NAMES.{NAME}")
    s.publish("fd.b", b"y")
    s.api(f"STREAM.MSG.GET.{NAME}", {"seq": 2})


def no_pause(s: Session) -> None:
    """After a restart, with which Millpond begins another file."""
    s.api(f"STREAM.CREATE.{NAME}", {"name": NAME, "subjects": ["fd.>"], "storage": "file"})
    s.consumer(NAME, "C", ack_policy="explicit")
    restart(s)
    block_consumers(s)
    for _ in range(2):
        code(s, f"CONSUMER.PAUSE.{NAME}.C", {"pause_until": "2100-01-01T00:00:00Z"})
    code(s, f"CONSUMER.DURABLE.CREATE.{NAME}.NEW", {"stream_name": NAME, "config": {"durable_name": "NEW"}})
