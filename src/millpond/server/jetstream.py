"""JetStream as a part of a server: opened before the first client, closed after the last one.

Each account that has streams has an engine, an API and a part of the store directory of its own; the committer and
the read cache are the server's.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from millpond.base.errors import StoreError
from millpond.broker.account import Account
from millpond.broker.broker import Broker
from millpond.config.options import JetStreamOptions, Options
from millpond.config.security import GLOBAL_ACCOUNT, JetStreamLimits
from millpond.jetstream.account_streams import AccountStreams
from millpond.jetstream.advisories import Advisories
from millpond.jetstream.api.registry import Api
from millpond.jetstream.engine import Engine
from millpond.jetstream.storage import Storage
from millpond.server.logs import log
from millpond.transport.reactor import Reactor


def limits_by_account(options: Options) -> dict[str, JetStreamLimits]:
    """The accounts that have streams. The global one has some by default only when no other is there."""
    found = {account.name: account.jetstream for account in options.accounts if account.jetstream is not None}
    others = [account.name for account in options.accounts if account.name != options.system_account]
    return found if others else {**found, GLOBAL_ACCOUNT: JetStreamLimits()}


class JetStream:
    """Owns the store directory while it is open; a private one is removed at the end."""

    def __init__(self, options: Options, broker: Broker, reactor: Reactor) -> None:
        assert options.jetstream is not None
        self._options: JetStreamOptions = options.jetstream
        self._broker = broker
        self._private = None if self._options.store_dir else _private_directory()
        self.directory = Path(self._options.store_dir or self._private or "")
        self._reactor = reactor
        self._storage = self._open_storage()
        committer, cache = self._storage.committer, self._storage.read_cache
        self.read_cache = cache
        self._watches = [
            reactor.watch(committer.event_fd, committer.collect),
            reactor.watch(cache.event_fd, cache.collect),
        ]
        self._sync_interval_s = self._options.sync_interval_ns / 1e9
        self._sync_timer: asyncio.TimerHandle | None = None
        self.accounts: dict[str, AccountStreams] = {}
        self.engines: list[Engine] = []
        self._disabled: dict[str, Api] = {}
        log.info("Starting JetStream")
        log.info("---------------- JETSTREAM ----------------")
        log.info("  Store Directory: \"%s\"", self.directory / "jetstream")
        log.info("  Sync:            %s", self._options.sync)
        log.info("-------------------------------------------")
        try:
            self.use_accounts(options)
        except BaseException:
            self._let_go()
            raise
        if self._options.sync == "interval":
            self._sync_later()

    def _open_storage(self) -> Storage:
        """Holds the lock, the committer and the cache, and no streams: accounts have their own beside it."""
        try:
            return Storage(self._options, self.directory)
        except BaseException as error:
            self._remove_private()
            if isinstance(error, OSError):
                reason = f"{error.filename or self.directory}: {error.strerror}"
                raise StoreError(f"could not create storage directory - {reason}") from None
            raise

    # --- accounts ---

    def use_accounts(self, options: Options) -> None:
        """Streams for the accounts that are to have some. Those of an account that is gone stay on disk."""
        wanted = limits_by_account(options)
        for name in [name for name in self.accounts if name not in wanted]:
            self._close_account(name)
        for name, account in self._broker.accounts.items():
            limits = wanted.get(name)
            if limits is not None and name in self.accounts:
                self.accounts[name].engine.use_account_limits(limits)
            elif limits is not None:
                self._open_account(account, limits)
        self._refuse_others()

    def _open_account(self, account: Account, limits: JetStreamLimits) -> None:
        name = account.name
        storage = Storage(self._options, self.directory, name, self._storage)
        broker = self._broker
        engine = Engine(
            self._options, storage, account.router, broker.turn, broker.server_name, account=name, account_limits=limits
        )
        engine.all = self.engines
        engine.payload_max = broker.options.max_payload
        self.engines.append(engine)
        engine.pump.output = broker.output
        engine.recover()
        if name in self._disabled:
            self._disabled.pop(name).close()
        api = Api(engine, account.router, engine.advisories)
        self.accounts[name] = AccountStreams(engine, api, storage.unrecovered)

    def _close_account(self, name: str) -> None:
        part = self.accounts.pop(name)
        part.api.close()
        self.engines.remove(part.engine)
        part.engine.stop()

    def _refuse_others(self) -> None:
        """Accounts without streams have an API that says so."""
        broker = self._broker
        for name in [name for name in self._disabled if name not in broker.accounts]:
            del self._disabled[name]
        for name, account in broker.accounts.items():
            if name in self.accounts or name in self._disabled or not self.engines or account is broker.system:
                continue
            advisories = Advisories(account.router.publish, broker.clock, self._options.domain, account.name)
            self._disabled[name] = Api(self.engines[0], account.router, advisories, enabled=False)

    # --- the rest of its life ---

    def reload(self, options: Options) -> None:
        """Go on with other limits and accounts."""
        if options.jetstream is not None:
            self._options = options.jetstream
        for engine in self.engines:
            engine.use_options(self._options)
        self.use_accounts(options)

    def _sync_later(self) -> None:
        self._sync_timer = self._reactor.loop.call_later(self._sync_interval_s, self._sync_now)

    def _sync_now(self) -> None:
        self._storage.committer.begin_sync_written()
        self._sync_later()

    def leave(self) -> None:
        """The server is about to close its connections."""
        for engine in self.engines:
            engine.leave()

    def close(self) -> None:
        """Stop answering, write and sync what is left, let the directory go."""
        for api in (*self._disabled.values(), *(part.api for part in self.accounts.values())):
            api.close()
        self._let_go()

    def _let_go(self) -> None:
        if self._sync_timer is not None:
            self._sync_timer.cancel()
        for watch in self._watches:
            self._reactor.unwatch(watch)
        for engine in self.engines:
            engine.stop()
        self._storage.close()
        self._remove_private()

    def _remove_private(self) -> None:
        if self._private:
            import shutil

            shutil.rmtree(self._private, ignore_errors=True)


def _private_directory() -> str:
    """A fresh one. The module that makes it costs a megabyte, and a server with a store directory has no need of it."""
    import tempfile

    return tempfile.mkdtemp(prefix="millpond-")
