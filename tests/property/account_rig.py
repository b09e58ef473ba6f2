"""An account in one process - engine, API, storage - on a clock that only tests move, asked as a client asks.

A request takes effect when it is sent; its answers leave in the turns after it. `crash` is the store directory as
it is at that moment, opened again; `crash_in_write` lets the next turn write no more than a part of its bytes.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from millpond.base.clock import ManualClock
from millpond.broker.router import Router
from millpond.broker.sink import CallableSink
from millpond.broker.turn import Turn
from millpond.testing.model_store import finish
from stream_model_rules import Answer, Operation, Publish, Update, api_request, block, understood

from millpond.config.options import JetStreamOptions
from millpond.jetstream.api.registry import Api
from millpond.jetstream.engine import Engine
from millpond.jetstream.storage import Storage

INBOX = b"in."
HEAD_BYTES = 128
Taken = dict[int, list[Answer]]
"""By request."""


class AccountRig:
    """Stream `S`."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.folder, self.clock, self.config = folder / "0", ManualClock(), config
        self.requests = self.copies = 0
        self.taken: Taken = {}
        self._open()
        assert self.ask("STREAM.CREATE.S", config) == {"success": True}

    def _open(self) -> None:
        self.turn, self.router = Turn(self.clock), Router()
        options = JetStreamOptions(store_dir=str(self.folder), sync="never")
        self.storage = Storage(options, self.folder)
        self.engine = Engine(options, self.storage, self.router, self.turn, "rig")
        self.engine.recover()
        self.api = Api(self.engine, self.router, self.engine.advisories, server_name="", domain="")
        self._inbox = self.router.subscribe(INBOX + b">", CallableSink(self._take))

    def _take(self, subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: object) -> None:
        self.taken.setdefault(int(subject.split(b".")[1]), []).append(understood(body))

    def close(self) -> None:
        self.api.close()
        self.engine.stop()
        self.router.unsubscribe(self._inbox)
        for _ in range(2):                       # its cache, which no collector sees, lets go of all that has gone
            self.router.publish(b"nobody", b"")

    # --- time and turns ---

    def turns(self) -> None:
        """Until nothing is left to do, on disk neither."""
        for _ in range(3):
            while finish(self.turn):
                pass
            self.storage.read_cache.drain()
            self.storage.committer.drain()

    def advance(self, ns: int) -> None:
        self.clock.advance(ns / 1e9)
        self.turns()

    # --- requests ---

    def send(self, operation: Operation) -> int:
        """The number of the request, under which its answers come."""
        if isinstance(operation, Publish):
            return self._publish(operation)
        if isinstance(operation, Update):
            self.config = {**self.config, **dict(operation.changes)}
        return self._request(*api_request(operation, self.config))

    def _publish(self, publish: Publish) -> int:
        reply = self._reply() + (f".{publish.place}.$FI".encode() if publish.place else b"")
        self.router.publish(publish.subject.encode(), publish.body, reply, block(publish.headers))
        return self.requests

    def _request(self, verb: str, body: dict[str, Any]) -> int:
        self.router.publish(b"$JS.API." + verb.encode(), json.dumps(body).encode(), self._reply())
        return self.requests

    def _reply(self) -> bytes:
        self.requests += 1
        return INBOX + str(self.requests).encode()

    def ask(self, verb: str, body: dict[str, Any]) -> Answer:
        number = self._request(verb, body)
        self.turns()
        (answer,) = self.taken.pop(number)
        return answer

    # --- restarts ---

    def restart(self) -> None:
        self.close()
        self._open()

    def crash(self) -> None:
        """What no turn has written yet is gone."""
        self._go_on_in(self._image())

    def crash_in_write(self, share: float) -> None:
        """The turn writes, and the process dies in the middle of it: of one file a first part of what changed is
        there, of the others all or nothing."""
        before = self._image()
        self.turns()
        after = self._image()
        changed = sorted(path.relative_to(after) for path in after.rglob("*") if path.is_file() and _differs(
            path, before / path.relative_to(after)
        ))  # fmt: skip
        if len(changed) == 1 and (before / changed[0]).exists():
            _write_part(before / changed[0], after / changed[0], share)
            after, before = before, after
        shutil.rmtree(before)
        self._go_on_in(after)

    def _go_on_in(self, image: Path) -> None:
        """Nobody hears what the one that died had to say."""
        self.close()
        shutil.rmtree(self.folder)
        self.folder = image
        self._open()
        self.taken.clear()

    def _image(self) -> Path:
        self.copies += 1
        image = self.folder.with_name(str(self.copies))
        shutil.copytree(self.folder, image)
        return image

    # --- what is there ---

    @property
    def stream(self) -> Any:
        return self.engine.streams["S"]

    def state(self) -> dict[str, Any]:
        assert self.stream.store.check() == []
        return dict(self.stream.state())

    def live(self) -> list[int]:
        store = self.stream.store
        seqs, seq = [], store.next_message(1)
        while seq:
            seqs.append(seq)
            seq = store.next_message(seq + 1)
        return seqs

    def message(self, seq: int) -> dict[str, Any]:
        return dict(self.stream.store.load_message(seq))


def _differs(path: Path, before: Path) -> bool:
    return not before.exists() or before.read_bytes() != path.read_bytes()


def _write_part(path: Path, whole: Path, share: float) -> None:
    """`path` gets a first part of the bytes in which `whole` differs; 1.0: all. A file's head is there or not: no disk
    tears a sector."""
    old, new = path.read_bytes(), whole.read_bytes()
    size = min(len(old), len(new))
    first = next((at for at in range(size) if old[at] != new[at]), size)
    last = next((at for at in range(len(new), first, -1) if at > len(old) or old[at - 1] != new[at - 1]), first)
    cut = first + round(share * (last - first))
    cut = first if cut < HEAD_BYTES else cut
    path.write_bytes(new[:cut] + old[cut:])
