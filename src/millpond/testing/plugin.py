"""pytest fixtures: a real server for a test, in this process, with no binary to install.

    async def test_publish(nats_server):
        nc = await nats.connect(nats_server.url)

    nats_server = nats_server_fixture(jetstream=False, scope="session")      # in conftest.py: another one

The names are those of pytest-nats, so that a test suite changes one import. The server has its own thread and
its own event loop: synchronous and asynchronous tests use it alike, whatever loop they run. pytest loads this
module in every run, therefore nothing else is imported before a fixture is asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future

    from millpond.server.server import Server

Scope = Literal["session", "package", "module", "class", "function"]
STOP_S = 10.0


class NatsServer:
    """A running server. Raises OSError or MillpondError from the constructor when it cannot start.

    jetstream: with streams, in a private directory that goes away at shutdown unless `store_dir` is given;
    max_memory_store, max_file_store: bytes they may hold. settings: further arguments of `millpond.Server`.
    """

    host: str
    port: int
    url: str
    monitor_url: str
    """http://host:port of the monitoring endpoints; "" without an `http_port`."""
    jetstream_enabled: bool
    resolved_version: str
    """The nats-server release whose behaviour it has."""

    def __init__(
        self,
        *,
        jetstream: bool = True,
        store_dir: str | None = None,
        max_memory_store: int | None = None,
        max_file_store: int | None = None,
        **settings: Any,
    ) -> None:
        from concurrent.futures import Future

        started: Future[None] = Future()
        self._settings: dict[str, Any] = {"jetstream": jetstream, "store_dir": store_dir, **settings}
        if jetstream and (max_memory_store is not None or max_file_store is not None):
            from millpond.config.options import JetStreamOptions

            self._settings["jetstream"] = JetStreamOptions(
                store_dir=store_dir,
                max_memory=-1 if max_memory_store is None else max_memory_store,
                max_file=-1 if max_file_store is None else max_file_store,
            )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, args=(started,), name="millpond", daemon=True)
        self._thread.start()
        started.result()

    @property
    def client_url(self) -> str:
        """nats://host:port, the same as `url`."""
        return self.url

    def shutdown(self) -> None:
        """Stop and wait for it. A second call does nothing."""
        if self._loop is None or not self._thread.is_alive():
            return
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(STOP_S)
        assert not self._thread.is_alive(), f"the server did not stop within {STOP_S} s"

    def _run(self, started: Future[None]) -> None:
        import asyncio

        try:
            asyncio.run(self._serve(started))
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    async def _serve(self, started: Future[None]) -> None:
        import asyncio

        from millpond.base import limits
        from millpond.server.server import Server

        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server: Server = Server(**self._settings)
        async with server:
            self.host, self.port, self.url = server.host, server.port, server.client_url
            self.monitor_url = server.monitor_url
            self.jetstream_enabled, self.resolved_version = server.jetstream_enabled, limits.SERVER_VERSION
            started.set_result(None)
            await self._stop.wait()


def nats_server_fixture(
    *, jetstream: bool = True, scope: Scope = "function", **settings: Any
) -> Callable[..., Iterator[NatsServer]]:
    """A fixture that gives a `NatsServer`; assign it to the name that tests shall use.

    settings: further arguments of `NatsServer`, for instance `store_dir`, `max_memory_store` or `http_port`.
    """

    @pytest.fixture(scope=scope)
    def server() -> Iterator[NatsServer]:
        running = NatsServer(jetstream=jetstream, **settings)
        try:
            yield running
        finally:
            running.shutdown()

    return server


nats_server = nats_server_fixture()
"""A fresh server on a free port for each test."""
