"""The servers of the core protocol's scenarios: raw sockets, any setting, and the reason of every close.

nats-server runs as a process with a configuration file. Millpond runs in a thread of this process, so that each
scenario may have its own server with its own settings, and may be asked for what monitoring would show.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import tempfile
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Protocol

import millpond
from millpond.config.build import build
from millpond.config.file import read
from millpond.config.options import Options
from millpond.server import reload

from .target import MILLPOND, READY_SECONDS, REFERENCE, Target

Settings = dict[str, Any]

# setting -> (how nats-server's file writes it, the field of Options, what its value is multiplied by)
NAMES: dict[str, tuple[str, str, int]] = {
    "user": ("authorization { user: %s", "username", 1),
    "password": ("password: %s }", "password", 1),
    "token": ("authorization { token: %s", "token", 1),
    "token_timeout_s": ("timeout: %s }", "auth_timeout_ns", 1_000_000_000),
    "max_payload": ("max_payload: %s", "max_payload", 1),
    "max_pending": ("max_pending: %s", "max_pending", 1),
    "max_control_line": ("max_control_line: %s", "max_control_line", 1),
    "max_connections": ("max_connections: %s", "max_connections", 1),
    "max_subscriptions": ("max_subscriptions: %s", "max_subscriptions", 1),
    "max_sub_tokens": ("max_subscription_tokens: %s", "max_sub_tokens", 1),
    "ping_interval_ms": ('ping_interval: "%sms"', "ping_interval_ns", 1_000_000),
    "ping_max": ("ping_max: %s", "ping_max", 1),
    "write_deadline_ms": ('write_deadline: "%sms"', "write_deadline_ns", 1_000_000),
    "write_timeout": ("write_timeout: %s", "write_timeout", 1),
    "no_header_support": ("no_header_support: %s", "no_header_support", 1),
    "no_fast_producer_stall": ("no_fast_producer_stall: %s", "no_fast_producer_stall", 1),
}
CONFIG = "config"
"""A setting that is a whole configuration file; STORE in it stands for a directory."""


class CoreTarget(Protocol):
    """A running server."""

    kind: str
    port: int

    def closed_reason(self, cid: int) -> str:
        """Why that connection was closed; waits until the server knows it."""
        ...

    def is_closed(self, cid: int) -> bool: ...

    def reload(self, settings: Settings) -> None:
        """Go on with another configuration file; it is in force when this returns."""
        ...

    def stop(self) -> None: ...


class KnowsClosed:
    """Waits for what `_reason` knows."""

    def _reason(self, cid: int) -> str | None:
        raise NotImplementedError

    def is_closed(self, cid: int) -> bool:
        return self._reason(cid) is not None

    def closed_reason(self, cid: int) -> str:
        deadline = time.monotonic() + READY_SECONDS
        while (reason := self._reason(cid)) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"connection {cid} is not closed")
            time.sleep(0.002)
        return reason


class ReferenceTarget(KnowsClosed):
    """nats-server as a process."""

    kind = REFERENCE

    def __init__(self, settings: Settings) -> None:
        self._target = Target(REFERENCE, jetstream=False)
        config = self._config = self._target.root / "core.conf"
        rows = [NAMES[name][0] % json.dumps(value) for name, value in settings.items() if name != CONFIG]
        config.write_text("\n".join([with_store(settings, self._target.root), *rows]))
        if "token" in settings and "token_timeout_s" not in settings:
            config.write_text(config.read_text() + " }")
        self._target.flags = ("-c", str(config))
        self._target.start()
        self.port = self._target.port

    def _reason(self, cid: int) -> str | None:
        rows = json.loads(self._target.http(f"/connz?state=closed&cid={cid}")[1])["connections"]
        return str(rows[0]["reason"]) if rows else None

    def reload(self, settings: Settings) -> None:
        before = self._load_time()
        self._config.write_text(with_store(settings, self._target.root))
        assert self._target.process is not None
        self._target.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + READY_SECONDS
        while self._load_time() == before:
            assert time.monotonic() < deadline, f"nats-server did not reload:\n{self._target.log()[-2000:]}"
            time.sleep(0.002)

    def _load_time(self) -> str:
        return str(json.loads(self._target.http("/varz")[1])["config_load_time"])

    def stop(self) -> None:
        self._target.discard()


class MillpondTarget(KnowsClosed):
    """Millpond in a thread with a loop of its own."""

    kind = MILLPOND

    def __init__(self, settings: Settings) -> None:
        self._root = Path(tempfile.mkdtemp(prefix="conformance-millpond-core-"))
        self._options = self._read(settings)
        started: Future[int] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(started)), daemon=True)
        self._thread.start()
        self.port = started.result(READY_SECONDS)

    def _read(self, settings: Settings) -> Options:
        config = self._root / "core.conf"
        config.write_text(with_store(settings, self._root))
        fields = {NAMES[n][1]: _scaled(value, NAMES[n][2]) for n, value in settings.items() if n != CONFIG}
        given = {"host": "127.0.0.1", "port": -1, "server_name": "conformance", "config_file": str(config)}
        return build({**read(config).settings, **given, **fields})

    def reload(self, settings: Settings) -> None:
        done: Future[None] = Future()

        def act() -> None:
            try:
                reload.apply(self.server, self._read(settings))
                done.set_result(None)
            except BaseException as error:
                done.set_exception(error)

        self._loop.call_soon_threadsafe(act)
        done.result(READY_SECONDS)

    async def _serve(self, started: Future[int]) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with millpond.Server.from_options(self._options) as self.server:
                started.set_result(self.server.port)
                await self._stop.wait()
        except BaseException as error:
            if not started.done():
                started.set_exception(error)
            raise

    def _reason(self, cid: int) -> str | None:
        return next((str(row.reason) for row in list(self.server.broker.closed) if row.cid == cid), None)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(READY_SECONDS)
        assert not self._thread.is_alive(), "the server did not stop"
        shutil.rmtree(self._root, ignore_errors=True)


def with_store(settings: Settings, root: Path) -> str:
    return str(settings.get(CONFIG, "")).replace("STORE", str(root / "store"))


def _scaled(value: Any, factor: int) -> Any:
    return int(value * factor) if factor != 1 else value


def start(kind: str, settings: Settings) -> CoreTarget:
    return ReferenceTarget(settings) if kind == REFERENCE else MillpondTarget(settings)
