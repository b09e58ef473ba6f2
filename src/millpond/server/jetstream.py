"""JetStream as a part of a server: opened before the first client, closed after the last one.

Each account that has streams has an engine, an API and a part of the store directory of its own; the committer and
the read cache are the server's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from millpond.base.errors import StoreError
from millpond.broker.account import Account
from millpond.broker.broker import Broker
from millpond.config import exchange
from millpond.config.options import JetStreamOptions, Options
from millpond.config.security import GLOBAL_ACCOUNT, JetStreamLimits
from millpond.jetstream.account_streams import AccountStreams
from millpond.jetstream.advisories import Advisories
from millpond.jetstream.api.registry import Api
from millpond.jetstream.api.system_account import SystemApi
from millpond.jetstream.engine import Engine
from millpond.jetstream.pump import CommitPhase
from millpond.jetstream.storage import Storage
from millpond.server.full_disk import FullDisk
from millpond.server.logs import log
from millpond.server.machine_limits import FileLimit
from millpond.server.opening import Progress, in_slices
from millpond.server.scrubber import Scrubber
from millpond.server.testimonies import Testimonies
from millpond.store.directory import StoreDirectory
from millpond.subjects import pytokens
from millpond.transport.reactor import Reactor

if TYPE_CHECKING:
    from millpond.server.account_purge import Done, Purges


def limits_by_account(options: Options) -> dict[str, JetStreamLimits]:
    """The accounts that have streams. The global one has some by default only when no other is there."""
    found = {account.name: account.jetstream for account in options.accounts if account.jetstream is not None}
    if options.operator is not None:
        found.pop(options.system_account, None)
        return found
    others = [account.name for account in options.accounts if account.name != options.system_account]
    return found if others else {**found, GLOBAL_ACCOUNT: JetStreamLimits()}


def _asks_another(account: Account, domains: Mapping[str, str]) -> bool:
    """Does it import a part of the JetStream API, or mean a domain's (`default_js_domain`)? Then nothing else of it is
    answered, as on nats-server."""
    if domains.get(account.name):
        return True
    filters = [exchange.local_filter(each) for each in account.options.imports if each.service]
    return any(pytokens.overlap(each, "$JS.API.>") for each in filters)


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
        self.space = committer.space
        self._full_disk = FullDisk(committer, broker, reactor.loop, self._options.domain)
        self._testimonies = Testimonies(committer, reactor.loop)
        self._file_limit: FileLimit | None = None
        self._show: Callable[[JetStreamOptions], None] = lambda _: None
        self._sync_interval_s = self._options.sync_interval_ns / 1e9
        self._sync_timer: asyncio.TimerHandle | None = None
        self._scrubber: Scrubber | None = None
        self.accounts: dict[str, AccountStreams] = {}
        self.engines: list[Engine] = []
        self._disabled: dict[str, Api | SystemApi] = {}
        self._purges: Purges | None = None
        self._leftovers: dict[str, Storage] = {}
        """Of accounts that are not served, while they are removed."""
        log.info("Starting JetStream")
        log.info("---------------- JETSTREAM ----------------")
        log.info("  Store Directory: \"%s\"", self.directory / "jetstream")
        log.info("  Sync:            %s", self._options.sync)
        log.info("-------------------------------------------")
        self._later_options: Options | None = None
        """What became known while the streams were opened."""
        self._is_opening = self._is_closed = False

    async def open(self, options: Options) -> None:
        """Bring back the streams, while the loop lives; no turn may run meanwhile. Raises StoreError, OSError; then, or
        when it is cancelled, it is to be closed."""
        self._is_opening = True
        await in_slices(self._using(options))
        self._is_opening = False
        if self._later_options is not None:
            self.use_accounts(self._later_options)
        if self._options.sync == "interval":
            self._sync_later()
        self._scrubber = Scrubber(self._reactor.loop, lambda: self.engines, lambda: self._options.scrub)

    def _open_storage(self) -> Storage:
        """Holds the lock, the committer and the cache, and no streams: accounts have their own beside it."""
        try:
            return Storage(self._options, self.directory, has_streams=False)
        except BaseException as error:
            self._remove_private()
            if isinstance(error, OSError):
                reason = f"{error.filename or self.directory}: {error.strerror}"
                raise StoreError(f"could not create storage directory - {reason}") from None
            raise

    # --- accounts ---

    def use_accounts(self, options: Options) -> None:
        """Streams for the accounts that are to have some. Those of an account that is gone stay on disk."""
        if self._is_opening:
            self._later_options = options
            return
        for _ in self._using(options):
            pass

    def _using(self, options: Options) -> Iterator[None]:
        wanted = limits_by_account(options)
        for name in [name for name in self.accounts if name not in wanted]:
            self._close_account(name)
        for name, account in list(self._broker.accounts.items()):
            limits = wanted.get(name)
            if limits is not None and name in self.accounts:
                self.accounts[name].engine.use_account_limits(limits)
            elif limits is not None:
                yield from self._open_account(account, limits)
        self._refuse_others()

    def _open_account(self, account: Account, limits: JetStreamLimits) -> Iterator[None]:
        name = account.name
        self._end_purge(name)
        self._finish_removing(name)
        storage = Storage(self._options, self.directory, name, self._storage)
        broker = self._broker
        engine = Engine(
            self._options, storage, account.router, broker.turn, broker.server_name, account=name, account_limits=limits
        )
        engine.all = self.engines
        engine.payload_max = broker.options.max_payload
        self.engines.append(engine)
        if broker.system is not None:
            engine.server_advisories = Advisories(
                broker.system.router.publish, broker.clock, self._options.domain, broker.system.name
            )
        engine.pump.output = account.output
        progress = Progress(name)
        for done, total in engine.recovery():
            progress.step(done, total)
            broker.clock.refresh()
            yield
            if self._is_closed:
                raise StoreError("the server was stopped while its streams were opened")
        progress.end(len(engine.streams))
        if name in self._disabled:
            self._disabled.pop(name).close()
        api = self._api(engine, account, engine.advisories)
        self.accounts[name] = AccountStreams(engine, api, storage.unrecovered)

    def _close_account(self, name: str) -> None:
        part = self.accounts.pop(name)
        self._end_purge(name)
        part.api.close()
        self.engines.remove(part.engine)
        part.engine.stop()

    def _refuse_others(self) -> None:
        """Accounts without streams have an API that says so."""
        broker = self._broker
        domains = broker.options.default_js_domain
        for name in list(self._disabled):
            if name not in broker.accounts or _asks_another(broker.accounts[name], domains):
                self._disabled.pop(name).close()
        for name, account in broker.accounts.items():
            if name in self.accounts or name in self._disabled or _asks_another(account, domains):
                continue
            advisories = Advisories(account.router.publish, broker.clock, self._options.domain, account.name)
            if account is broker.system:
                self._disabled[name] = SystemApi(
                    account.router, advisories, self.purge_account, server_name=broker.server_name, account=name,
                    domain=self._options.domain,
                )  # fmt: skip
            else:
                self._disabled[name] = self._api(None, account, advisories)

    def _api(self, engine: Engine | None, account: Account, advisories: Advisories) -> Api:
        broker = self._broker
        return Api(
            engine, account.router, advisories, server_name=broker.server_name, domain=self._options.domain,
            served_by=broker.system.name if broker.system is not None else "",
        )  # fmt: skip

    def purge_account(self, name: str, done: Done) -> None:
        """Delete all that an account has, or has left on the disk."""
        from millpond.server.account_purge import Purges  # hardly any server is asked

        if self._purges is None:
            self._purges = Purges(self._engine_of, self._remove_rest, self._reactor.loop, self._broker.turn.wake)
        serving, known = self._engine_of(name), str(name in self._broker.accounts).lower()
        count = len(serving.names()) if serving is not None else 0
        log.info("Purge request for account %s (streams: %d, hasAccount: %s)", name, count, known)
        self._purges.add(name, done)

    def _engine_of(self, account: str) -> Engine | None:
        return self.accounts[account].engine if account in self.accounts else None

    def _end_purge(self, account: str) -> None:
        if self._purges is not None:
            self._purges.reconfigured(account)

    def _remove_rest(self, name: str, done: Done) -> None:
        """What could not be read at the start, or all that is left of an account that is not served."""
        serving = self._engine_of(name)
        if serving is not None:
            serving.remove_unrecovered(done)
        elif StoreDirectory.exists(self.directory, name):
            self._remove_leftovers(name, done)
        else:
            done("")

    def _remove_leftovers(self, name: str, done: Done) -> None:
        """Of an account that is not served."""
        from millpond.server.account_purge import remove_leftovers

        try:
            storage = Storage(self._options, self.directory, name, self._storage)
        except (OSError, StoreError) as error:
            done(str(error))
            return
        self._leftovers[name] = storage
        turn, phase = self._broker.turn, CommitPhase(storage.committer)
        turn.add_commit(phase)

        def ended(failure: str) -> None:
            turn.remove(phase)
            if self._leftovers.pop(name, None) is not None:
                storage.remove_folders()
            done(failure)

        remove_leftovers(storage, turn.wake, self._reactor.loop, ended)

    def _finish_removing(self, name: str) -> None:
        """What is left to do of that is done at once: somebody else comes."""
        leftovers = self._leftovers.pop(name, None)
        if leftovers is not None:
            leftovers.close()

    # --- the rest of its life ---

    def reload(self, options: Options) -> None:
        """Go on with other limits and accounts."""
        if options.jetstream is not None:
            self._options = options.jetstream
        for engine in self.engines:
            engine.use_options(self._options)
        self.use_accounts(options)

    def let_files_grow(self, show: Callable[[JetStreamOptions], None]) -> None:
        """`max_file` was taken from the disk: a larger one takes effect when there is more room, and is shown."""
        self._show = show
        room, limit = self._storage.rooms["file"], self._options.max_file
        self._file_limit = FileLimit(room, self.space, limit, self._use_file_limit)
        self._full_disk.on_room = self._file_limit.look

    def _use_file_limit(self, limit: int) -> None:
        self._options = msgspec.structs.replace(self._options, max_file=limit)
        for engine in self.engines:
            engine.use_options(self._options)
        self._show(self._options)

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
        if self._purges is not None:
            self._purges.close()
        self._let_go()

    def _let_go(self) -> None:
        self._is_closed = True
        if self._sync_timer is not None:
            self._sync_timer.cancel()
        self._testimonies.close()
        if self._scrubber is not None:
            self._scrubber.close()
        self._full_disk.close()
        for watch in self._watches:
            self._reactor.unwatch(watch)
        for name in list(self._leftovers):
            self._finish_removing(name)
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
