"""The composition root: one server, from options to running parts and back.

    async with Server() as server:
        nc = await nats.connect(server.client_url)

Nothing is global: several servers may live in one process, in one loop. A `Server` grabs no signal handlers.
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from millpond.accounts.passwords import PasswordVerifier
from millpond.base import machine
from millpond.base.clock import Clock
from millpond.base.errors import OptionError
from millpond.broker.broker import Broker
from millpond.config.build import advertised, check
from millpond.config.options import JetStreamOptions, Options
from millpond.jetstream.memory import JetStreamMemory
from millpond.monitor.memory_watch import MemoryWatch, make_budgets
from millpond.monitor.view import JetStreamView, View
from millpond.server.jetstream import JetStream
from millpond.server.lame_duck import leave
from millpond.server.logs import log
from millpond.transport.reactor import Reactor
from millpond.transport.tcp import TcpListener

if TYPE_CHECKING:
    from millpond.monitor.monitor import Monitor


MEMORY_TICK_S = 1.0
MACHINE_LIMITS = ("max_memory", "max_file")
SHARE_NUMERATOR, SHARE_DENOMINATOR = 3, 4
"""Of memory and of free disk, for JetStream when nobody says how much; as nats-server."""


def with_machine_limits(options: Options) -> Options:
    """The options with JetStream's limits taken from the machine where they were left open."""
    jetstream = options.jetstream
    if jetstream is None:
        return options
    given = {}
    if jetstream.max_memory < 0:
        given["max_memory"] = machine.memory_bytes() // SHARE_DENOMINATOR * SHARE_NUMERATOR
    if jetstream.max_file < 0:
        place = jetstream.store_dir or "/tmp"
        given["max_file"] = machine.disk_free_bytes(place) // SHARE_DENOMINATOR * SHARE_NUMERATOR
    return msgspec.structs.replace(options, jetstream=msgspec.structs.replace(jetstream, **given))


class Server:
    """A NATS server inside this program's asyncio loop.

    port: 0 or -1 for any free one. jetstream: True for JetStream in a private temporary directory that is removed
    at stop, or its settings; store_dir: JetStream with its data there, kept. Further keywords are fields of `Options`.
    Raises OptionError for a setting that cannot be used, OSError when the port is taken.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        jetstream: bool | JetStreamOptions = True,
        store_dir: str | None = None,
        **settings: Any,
    ) -> None:
        if isinstance(jetstream, JetStreamOptions):
            settings["jetstream"] = jetstream
        elif jetstream or store_dir:
            settings["jetstream"] = JetStreamOptions(store_dir=store_dir)
        options = Options(host=host, port=port or -1, **settings)
        check(options)
        self._set_up(options)

    @classmethod
    def from_options(cls, options: Options) -> Self:
        """A server with exactly these settings."""
        server = cls.__new__(cls)
        server._set_up(options)
        return server

    def _set_up(self, options: Options) -> None:
        self.asked = options
        """The settings as they were given; `options` has what was left open filled in."""
        self.options = options = with_machine_limits(options)
        self.clock = Clock()
        self.budgets = make_budgets(options)
        self.broker = Broker(options, self.clock, self.budgets)
        self._reactor: Reactor | None = None
        self._listener: TcpListener | None = None
        self._jetstream: JetStream | None = None
        self.memory = MemoryWatch(self.budgets, self._subscriptions)
        self.view = View(options, self.broker, self.budgets, self.memory)
        self._memory_timer: asyncio.TimerHandle | None = None
        self._monitor: Monitor | None = None

    # --- life ---

    async def start(self) -> None:
        """Bind, recover, serve. Raises OSError when the address cannot be had."""
        if self._reactor is not None:
            raise OptionError("this server runs already; make another Server for a second one")
        options = self.options
        log.info("Starting nats-server")
        log.info("  Version:  2.15.1")
        log.info("  Name:     %s", self.broker.server_name)
        log.info("  ID:       %s", self.broker.server_id)
        self._reactor = Reactor(self.broker, asyncio.get_running_loop())
        self.broker.verifier = PasswordVerifier(asyncio.get_running_loop().call_soon_threadsafe)
        try:
            if options.http_port:
                await self._start_monitor(options.http_port)
            if options.jetstream is not None:
                self._jetstream = jetstream = JetStream(options, self.broker, self._reactor)
                store_dir = str(jetstream.directory / "jetstream")
                self.view.jetstream = JetStreamView(options.jetstream, jetstream.accounts, store_dir)
                cache, bound = jetstream.read_cache, self.budgets.named("read_cache").bytes_max
                self.memory.watch(JetStreamMemory(jetstream.engines, cache, bound))
            self._listener = TcpListener(self._reactor, options.host, options.port)
        except BaseException:
            await self.stop()
            raise
        self._tell_where()
        self.view.ready = True
        self.memory.ready()
        self._watch_memory()

    def _subscriptions(self) -> int:
        return int(self.broker.subscriptions())

    def _watch_memory(self) -> None:
        """Once a second, or less often when there is so much to count that it would take 1 % of the time."""
        began = time.monotonic()
        self.memory.tick(began)
        pause = max(MEMORY_TICK_S, 100 * (time.monotonic() - began))
        self._memory_timer = asyncio.get_running_loop().call_later(pause, self._watch_memory)

    async def _start_monitor(self, port: int) -> None:
        """HTTP comes with modules that a server without it does not need."""
        from millpond.monitor.monitor import Monitor

        self._monitor = Monitor(self.view)
        await self._monitor.start(port)

    def say_ready(self) -> None:
        """The log lines that test starters wait for."""
        log.info("Listening for client connections on %s:%d", bracketed(self.options.host), self.port)
        log.info("Server is ready")

    def reload(self, options: Options) -> None:
        """Go on with other settings; `server.reload` says which may differ from the ones in force."""
        self.asked = options
        before = self.options.jetstream
        if before is not None and options.jetstream is not None:
            # What the machine was asked for at the start stays.
            kept = {name: getattr(before, name) for name in MACHINE_LIMITS if getattr(options.jetstream, name) < 0}
            options = msgspec.structs.replace(options, jetstream=msgspec.structs.replace(options.jetstream, **kept))
        self.options = self.view.options = options
        self.view.config_loaded_ns = time.time_ns()
        self.broker.reload(options)
        if self._jetstream is not None and options.jetstream is not None:
            self._jetstream.reload(options)
            view = self.view.jetstream
            if view is not None:
                self.view.jetstream = JetStreamView(options.jetstream, view.accounts, view.store_dir)
        self._tell_where()

    def _tell_where(self) -> None:
        """INFO names the address that clients shall use."""
        if self._listener is None:
            return
        host, port = self.options.host, self.port
        if self.options.client_advertise:
            host, port = advertised(self.options.client_advertise, port)
        self.broker.listening_on(host, port)

    async def stop(self) -> None:
        """Close every connection and give everything back. Stopping twice is once."""
        if self._reactor is None:
            return
        self.view.ready = False
        if self._memory_timer is not None:
            self._memory_timer.cancel()
            self._memory_timer = None
        self.stop_accepting()
        if self._jetstream is not None:
            self._jetstream.leave()
        for session in list(self.broker.sessions.values()):
            session.close("Server Shutdown")
        if self._jetstream is not None:
            self.view.jetstream = None
            self.memory.watch(None)
            self._jetstream.close()
            self._jetstream = None
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None
        self.broker.verifier.close()
        self._reactor.close()
        self._reactor = None

    def stop_accepting(self) -> None:
        """No new connections from here; those that are there stay."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def lame_duck_mode(self) -> None:
        """Leave slowly: tell the clients, wait, close them one by one, stop (server/lame_duck)."""
        await leave(self)

    async def shutdown(self, timeout: float = 5.0) -> None:
        """The same as `stop`, by the name that nats-io's test server has. `timeout` is not needed: it never waits."""
        await self.stop()

    async def __aenter__(self) -> Self:
        if not self.is_running:
            await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # --- where it is ---

    @property
    def is_running(self) -> bool:
        """Started and not stopped."""
        return self._reactor is not None

    @property
    def host(self) -> str:
        """The address it listens on."""
        return self.options.host

    @property
    def jetstream_enabled(self) -> bool:
        """Does it serve streams?"""
        return self.options.jetstream is not None

    @property
    def port(self) -> int:
        """The client port in use. Raises OptionError before start."""
        if self._listener is None:
            raise OptionError("the server is not running; await server.start() first")
        return int(self._listener.port)

    @property
    def client_url(self) -> str:
        """nats://host:port for clients on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(self.options.host, self.options.host)
        return f"nats://{bracketed(host)}:{self.port}"

    @property
    def url(self) -> str:
        """The same as `client_url`, by the name that pytest-nats has."""
        return self.client_url

    @property
    def monitor_url(self) -> str:
        """http://host:port of the monitoring endpoints; "" when they are off."""
        return "" if self._monitor is None else self._monitor.url


def bracketed(host: str) -> str:
    """A host as it is written in front of a port."""
    return f"[{host}]" if ":" in host else host
