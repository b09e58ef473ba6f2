"""JetStream as a part of a server: opened before the first client, closed after the last one."""

from __future__ import annotations

import asyncio
from pathlib import Path

from millpond.base.errors import StoreError
from millpond.broker.broker import Broker
from millpond.config.options import JetStreamOptions
from millpond.jetstream.api.registry import Api
from millpond.jetstream.engine import Engine
from millpond.jetstream.storage import Storage
from millpond.server.logs import log
from millpond.transport.reactor import Reactor


class JetStream:
    """Owns the store directory while it is open; a private one is removed at the end."""

    def __init__(self, options: JetStreamOptions, broker: Broker, reactor: Reactor) -> None:
        self._private = None if options.store_dir else _private_directory()
        self.directory = Path(options.store_dir or self._private or "")
        self._reactor = reactor
        try:
            self._storage = Storage(options, self.directory)
        except BaseException as error:
            self._remove_private()
            if isinstance(error, OSError):
                reason = f"{error.filename or self.directory}: {error.strerror}"
                raise StoreError(f"could not create storage directory - {reason}") from None
            raise
        committer, cache = self._storage.committer, self._storage.read_cache
        self.read_cache, self.unrecovered = cache, self._storage.unrecovered
        self._watches = [
            reactor.watch(committer.event_fd, committer.collect),
            reactor.watch(cache.event_fd, cache.collect),
        ]
        self._sync_interval_s = options.sync_interval_ns / 1e9
        self._sync_timer: asyncio.TimerHandle | None = None
        self.engine = Engine(options, self._storage, broker.router, broker.turn, broker.server_name)
        self.engine.payload_max = broker.options.max_payload
        log.info("Starting JetStream")
        log.info("---------------- JETSTREAM ----------------")
        log.info("  Store Directory: \"%s\"", self.directory / "jetstream")
        log.info("  Sync:            %s", options.sync)
        log.info("-------------------------------------------")
        try:
            self.engine.recover()
            self.api = Api(self.engine, broker.router, self.engine.advisories)
        except BaseException:
            self._let_go()
            raise
        if options.sync == "interval":
            self._sync_later()

    def _sync_later(self) -> None:
        self._sync_timer = self._reactor.loop.call_later(self._sync_interval_s, self._sync_now)

    def _sync_now(self) -> None:
        self._storage.committer.begin_sync_written()
        self._sync_later()

    def close(self) -> None:
        """Stop answering, write and sync what is left, let the directory go."""
        self.api.close()
        self._let_go()

    def _let_go(self) -> None:
        if self._sync_timer is not None:
            self._sync_timer.cancel()
        for watch in self._watches:
            self._reactor.unwatch(watch)
        self.engine.stop()
        self._remove_private()

    def _remove_private(self) -> None:
        if self._private:
            import shutil

            shutil.rmtree(self._private, ignore_errors=True)


def _private_directory() -> str:
    """A fresh one. The module that makes it costs a megabyte, and a server with a store directory has no need of it."""
    import tempfile

    return tempfile.mkdtemp(prefix="millpond-")
