"""The composition root: one server, from options to running parts and back.

    async with Server() as server:
        nc = await nats.connect(server.client_url)

Nothing is global: several servers may live in one process, in one loop. A `Server` grabs no signal handlers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from millpond.accounts.passwords import PasswordVerifier
from millpond.base import limits
from millpond.base.clock import Clock
from millpond.base.errors import OptionError
from millpond.broker.broker import Broker
from millpond.config import dev
from millpond.config.build import advertised, check
from millpond.config.options import JetStreamOptions, Options
from millpond.jetstream.memory import JetStreamMemory
from millpond.monitor.memory_watch import MemoryWatch, make_budgets
from millpond.monitor.view import JetStreamView, View
from millpond.server.jetstream import JetStream
from millpond.server.lame_duck import leave
from millpond.server.logs import log
from millpond.server.machine_limits import MACHINE_LIMITS, with_machine_limits
from millpond.server.system import System
from millpond.server.tokens import with_operator
from millpond.transport.reactor import Reactor
from millpond.transport.tcp import TcpListener

if TYPE_CHECKING:
    from _socket import socket

    from millpond.config.security import AccountOptions
    from millpond.config.tls import TlsOptions
    from millpond.config.websocket import WebsocketOptions
    from millpond.monitor.monitor import Monitor
    from millpond.server.oidc import IssuerKeys
    from millpond.server.operator import OperatorRoom
    from millpond.transport.local import LocalListener
    from millpond.transport.tls_door import TlsDoor
    from millpond.transport.ws_door import WsDoor


MEMORY_TICK_S = 1.0


class Server:
    """A NATS server inside this program's asyncio loop.

    port: 0 or -1 for any free one. tls: a `TlsOptions`, for clients that come over TLS. jetstream: True for JetStream
    in a private temporary directory that is removed at stop, or its settings; store_dir: JetStream with its data there,
    kept. dev: clients may ask and hear what the system account may, and monitoring is on; on loopback only. Further
    keywords are fields of `Options`. Raises OptionError for a setting that cannot be used, OSError when
    the port is taken.
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
        if settings.get("dev"):
            dev.take_monitoring(settings)
        if settings.get("tls") is not None:
            settings.setdefault("auth_timeout_ns", settings["tls"].timeout_ns + limits.TLS_AUTH_EXTRA_NS)
        options = Options(host=host, port=port or -1, **settings)
        check(options)
        self._listening: socket | None = None
        self._set_up(options)

    @classmethod
    def from_options(cls, options: Options, listening: socket | None = None) -> Self:
        """A server with exactly these settings. listening: where they say, already; the server's from here."""
        server = cls.__new__(cls)
        server._listening = listening
        server._set_up(options)
        return server

    def _is_bounded(self) -> bool:
        """Were both limits of JetStream given?"""
        asked = self.asked.jetstream
        return asked is not None and min(asked.max_memory, asked.max_file) > 0

    def _set_up(self, options: Options) -> None:
        self.asked = options
        """The settings as they were given; `options` has what was left open filled in."""
        self.options = options = with_machine_limits(with_operator(options))
        self.clock = Clock()
        self.budgets = make_budgets(options)
        self.broker = Broker(options, self.clock, self.budgets)
        if options.dev:
            self.options = options = self._with_exchange(options)
            self.broker.use_accounts(options)
        self._reactor: Reactor | None = None
        self._stopping: asyncio.Event | None = None
        self._listener: TcpListener | None = None
        self._websocket: TcpListener | None = None
        self._local: LocalListener | None = None
        self._jetstream: JetStream | None = None
        self.memory = MemoryWatch(self.budgets, self._subscriptions)
        self.view = View(options, self.broker, self.budgets, self.memory)
        self._memory_timer: asyncio.TimerHandle | None = None
        self._monitor: Monitor | None = None
        self._system: System | None = None
        self._operator: OperatorRoom | None = None
        self._issuer_keys: IssuerKeys | None = None
        self.reload_asked: Callable[[], Awaitable[None]] = _no_file
        """What a request to reload does; raises MillpondError."""

    def _with_exchange(self, options: Options) -> Options:
        """What clients may in dev mode: it names the server."""
        from millpond.server.dev import with_exchange  # most servers are in none

        return with_exchange(options, self.broker.server_id)

    # --- life ---

    async def start(self) -> None:
        """Bind, recover, serve. Raises OSError when the address cannot be had."""
        if self._reactor is not None:
            raise OptionError("this server runs already; make another Server for a second one")
        options = self.options
        log.info("Starting nats-server")
        log.info("  Version:  %s", limits.SERVER_VERSION)
        log.info("  Name:     %s", self.broker.server_name)
        log.info("  ID:       %s", self.broker.server_id)
        if options.feature_flags:
            self._say_flags(options)
        self._reactor = Reactor(self.broker, asyncio.get_running_loop())
        self.broker.verifier = PasswordVerifier(asyncio.get_running_loop().call_soon_threadsafe)
        try:
            door = self._door(options)  # what is wrong with a certificate comes before anything is listening
            if options.http_port or options.https_port:
                await self._start_monitor(options)
            if options.operator is not None:
                options = await self._start_operator(options)
            if options.callout is not None or options.operator is not None:
                self._ask_others(options)
            if self.broker.issuer is not None:
                self._keep_keys()
            if options.jetstream is not None:
                self._jetstream = jetstream = JetStream(options, self.broker, self._reactor)
                self._reactor.hold()
                await jetstream.open(options)
                self._reactor.go_on()
                if self.asked.jetstream is not None and self.asked.jetstream.max_file < 0:
                    jetstream.let_files_grow(self._show_jetstream)
                store_dir = str(jetstream.directory / "jetstream")
                self.view.jetstream = JetStreamView(
                    options.jetstream, jetstream.accounts, store_dir, jetstream.space, self._is_bounded()
                )
                cache, bound = jetstream.read_cache, self.budgets.named("read_cache").bytes_max
                self.memory.watch(JetStreamMemory(jetstream.engines, cache, bound))
            if self.broker.system is not None:
                self._system = System(self.view, self._reload_asked, self._reactor.loop)
                if self._operator is not None:
                    self._operator.listen(self._system.envelopes)
            if options.admin_socket:
                self._listen_locally(options.admin_socket)
            if options.websocket is not None and options.websocket.port:
                self._listen_websocket(options.websocket)
            listening, self._listening = self._listening, None
            self._listener = TcpListener(self._reactor, options.host, options.port, door, listening)
        except BaseException:
            await self.stop()
            raise
        self._tell_where()
        self.view.ready = True
        self.memory.ready()
        self._watch_memory()

    @staticmethod
    def _say_flags(options: Options) -> None:
        from millpond.config import feature_flags

        for line in feature_flags.lines(options.feature_flags):
            log.info("%s", line)

    async def _start_operator(self, options: Options) -> Options:
        """The options with the accounts that are needed from the start."""
        from millpond.server.operator import OperatorRoom  # and JWTs with it

        self._operator = OperatorRoom(self.broker, options, self._use_accounts)
        store_dir = options.jetstream.store_dir if options.jetstream is not None else None
        await self._operator.start(Path(store_dir) / "jetstream" if store_dir else None)
        return self.options

    def _ask_others(self, options: Options) -> None:
        """Who is let in, where a service says so. Raises OptionError."""
        from millpond.server.callout import Callout, check

        check(options)
        self.broker.callout = Callout(self.broker, asyncio.get_running_loop())

    def _keep_keys(self) -> None:
        """Of the issuer whose tokens are believed. Raises OptionError."""
        from millpond.server.oidc import IssuerKeys  # OpenSSL, and h11

        self._issuer_keys = IssuerKeys(self.broker.issuer, asyncio.get_running_loop())

    def _use_accounts(self, accounts: tuple[AccountOptions, ...]) -> None:
        """Go on with other accounts, which are known by their claims."""
        self.options = self.view.options = options = msgspec.structs.replace(self.options, accounts=accounts)
        self.broker.use_accounts(options)
        if self._system is not None:
            self._system.use_accounts()
        if self._jetstream is not None:
            self._jetstream.use_accounts(options)

    async def _reload_asked(self) -> None:
        await self.reload_asked()

    def _subscriptions(self) -> int:
        return int(self.broker.subscriptions())

    def _watch_memory(self) -> None:
        """Once a second, or less often when there is so much to count that it would take 1 % of the time."""
        self._watch_on(self.memory.tick(time.monotonic()), 0.0)

    def _watch_on(self, steps: Iterator[None], spent_s: float) -> None:
        began = time.monotonic()
        is_over = next(steps, self) is self
        spent_s += time.monotonic() - began
        loop = asyncio.get_running_loop()
        if is_over:
            self._memory_timer = loop.call_later(max(MEMORY_TICK_S, 100 * spent_s), self._watch_memory)
        else:
            self._memory_timer = loop.call_later(0, self._watch_on, steps, spent_s)

    async def _start_monitor(self, options: Options) -> None:
        """HTTP comes with modules that a server without it does not need."""
        from millpond.monitor.monitor import Monitor

        self._monitor = Monitor(self.view)
        await self._monitor.start(options.http_port or options.https_port or -1)

    @staticmethod
    def _door(options: Options) -> TlsDoor | Callable[..., object] | None:
        """OpenSSL comes with the first server that has a certificate. Raises OptionError."""
        if options.tls is not None:
            from millpond.transport.tls_door import TlsDoor

            return TlsDoor(options.tls, allow_non_tls=options.allow_non_tls, proxied=options.proxy_protocol)
        if options.proxy_protocol:
            from millpond.transport.proxied import ProxiedConnection

            connection: Callable[..., object] = ProxiedConnection
            return connection
        return None

    def _listen_websocket(self, options: WebsocketOptions) -> None:
        from millpond.transport.ws_door import WsDoor

        door = WsDoor(options)
        self._websocket = TcpListener(self._reactor, options.host, options.port, door)
        door.port = self.view.websocket_port = int(self._websocket.port)

    def _listen_locally(self, path: str) -> None:
        from millpond.transport.local import LocalListener

        self._local = LocalListener(self._reactor, path)

    def say_ready(self) -> None:
        """The log lines that test starters wait for."""
        if self._local is not None:
            log.info("Listening for local operators on %s", self._local.path)
        if self._websocket is not None:
            log.info("Listening for websocket clients on %s", self.websocket_url)
            if self.websocket_url.startswith("ws://"):
                log.warning("Websocket not configured with TLS. DO NOT USE IN PRODUCTION!")
        log.info("Listening for client connections on %s:%d", bracketed(self.options.host), self.port)
        if self.options.proxy_protocol:
            log.info("PROXY protocol enabled for client connections")
        self._say_tls()
        log.info("Server is ready")

    def _say_tls(self) -> None:
        tls = self.options.tls
        if tls is None:
            return
        first_only = tls.handshake_first and not tls.fallback_ns
        choose = self.options.allow_non_tls and not first_only
        log.info("TLS %s for client connections", "available" if choose else "required")
        if first_only:
            log.warning('Clients that are not using "TLS Handshake First" option will fail to connect')

    def reload(self, options: Options) -> None:
        """Go on with other settings; `server.reload` says which may differ from the ones in force."""
        door = self._door(options)  # or nothing is changed
        ws_door = self._websocket_door(options)
        pins = _pins(self.options)
        asked = options
        if self._operator is not None:
            options = msgspec.structs.replace(with_operator(options), accounts=self.options.accounts)
            self._operator.check_reload(options)
        if options.dev:
            options = self._with_exchange(options)
        self.asked = asked
        before = self.options.jetstream
        if before is not None and options.jetstream is not None:
            # What the machine was asked for at the start stays.
            kept = {name: getattr(before, name) for name in MACHINE_LIMITS if getattr(options.jetstream, name) < 0}
            options = msgspec.structs.replace(options, jetstream=msgspec.structs.replace(options.jetstream, **kept))
        self.options = self.view.options = options
        self.view.config_loaded_ns = time.time_ns()
        self.broker.reload(options)
        if self._operator is not None and options.operator is not None:
            self._operator.reload(options.operator)
        if self._system is not None:
            self._system.use_accounts()
        if self._jetstream is not None and options.jetstream is not None:
            self._jetstream.reload(options)
            self._show_jetstream(options.jetstream)
        if self._monitor is not None:
            self._monitor.use_certificate()
        if self._websocket is not None and ws_door is not None:
            ws_door.port = self._websocket.port
            self._websocket.door = ws_door
        if self._listener is not None:
            self._listener.door = door
        self._check_pins(pins)
        self._tell_where()

    def _show_jetstream(self, jetstream: JetStreamOptions) -> None:
        """These are its settings from here."""
        self.options = self.view.options = msgspec.structs.replace(self.options, jetstream=jetstream)
        if self.view.jetstream is not None:
            self.view.jetstream = msgspec.structs.replace(self.view.jetstream, options=jetstream)

    def _websocket_door(self, options: Options) -> WsDoor | None:
        if options.websocket is None or self._websocket is None:
            return None
        from millpond.transport.ws_door import WsDoor

        return WsDoor(options.websocket)

    def _check_pins(self, before: tuple[frozenset[str], frozenset[str]]) -> None:
        """Connections stay as they are, but for those whose certificates their listener does not list any more."""
        blocks = self.options.tls, _websocket_tls(self.options)
        strangers = []
        for over_websocket, block in enumerate(blocks):
            if block is None or before[over_websocket] == block.pinned_certs:
                continue
            from millpond.transport.tls_door import is_pinned

            for session in self.broker.sessions.values():
                chain = session.origin.tls.chain if session.origin.tls is not None else ()
                if session.origin.is_local or session.origin.is_websocket != over_websocket:
                    continue
                if not is_pinned(block, chain):
                    strangers.append(session)
        if strangers:
            log.info("Disconnect %d clients due to pinned certs reload", len(strangers))
        for session in strangers:
            session.close("TLS Handshake Failure")

    def _tell_where(self) -> None:
        """INFO names the address that clients shall use."""
        if self._listener is None:
            return
        host, port = self.options.host, self.port
        if self.options.client_advertise:
            host, port = advertised(self.options.client_advertise, port)
        self.broker.listening_on(host, port)

    async def stop(self) -> None:
        """Close every connection and give everything back. Stopping twice is once; who stops it meanwhile waits."""
        if self._stopping is not None:
            await self._stopping.wait()
        if self._reactor is None:
            return
        self._stopping = asyncio.Event()
        try:
            await self._stop()
        finally:
            self._stopping.set()
            self._stopping = None

    async def _stop(self) -> None:
        self.view.ready = False
        if self._operator is not None:
            self._operator.close()
            self._operator = None
        if self._issuer_keys is not None:
            self._issuer_keys.close()
            self._issuer_keys = None
        if self._system is not None:
            self._system.close()
            self._system = None
        if self._memory_timer is not None:
            self._memory_timer.cancel()
            self._memory_timer = None
        self.stop_accepting()
        if self._local is not None:
            self._local.close()
            self._local = None
        if self._jetstream is not None:
            self._jetstream.leave()
        try:
            await self._end_sessions()
        finally:
            self._let_go()

    async def _end_sessions(self) -> None:
        """Some at a time. Cut short, the rest ends at once."""
        for number, session in enumerate(list(self.broker.sessions.values()), 1):
            session.close("Server Shutdown")
            if number % limits.SESSIONS_ENDED_PER_STEP == 0:
                await asyncio.sleep(0)

    def _let_go(self) -> None:
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
        assert self._reactor is not None, "nobody else stops it"
        self._reactor.close()
        self._reactor = None

    def stop_accepting(self) -> None:
        """No new connections from here; those that are there stay."""
        for listener in (self._listener, self._websocket):
            if listener is not None:
                listener.close()
        self._listener = self._websocket = None

    async def lame_duck_mode(self) -> None:
        """Leave slowly: tell the clients, wait, close them one by one, stop (server/lame_duck)."""
        if self._system is not None:
            self._system.lame_duck()
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
        """nats://host:port for clients on this machine; tls:// when they must come over TLS."""
        host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(self.options.host, self.options.host)
        scheme = "tls" if self.options.tls is not None and not self.options.allow_non_tls else "nats"
        return f"{scheme}://{bracketed(host)}:{self.port}"

    @property
    def url(self) -> str:
        """The same as `client_url`, by the name that pytest-nats has."""
        return self.client_url

    @property
    def websocket_url(self) -> str:
        """ws://host:port (or wss) of the listener for WebSocket; "" when there is none."""
        options = self.options.websocket
        if options is None or self._websocket is None:
            return ""
        scheme = "ws" if options.tls is None else "wss"
        return f"{scheme}://{bracketed(options.host)}:{self._websocket.port}"

    @property
    def monitor_url(self) -> str:
        """http://host:port of the monitoring endpoints; "" when they are off."""
        return "" if self._monitor is None else self._monitor.url


def _websocket_tls(options: Options) -> TlsOptions | None:
    return options.websocket.tls if options.websocket is not None else None


def _pins(options: Options) -> tuple[frozenset[str], frozenset[str]]:
    """Of the listener for clients, and of the one for WebSocket."""
    client, websocket = options.tls, _websocket_tls(options)
    return (
        client.pinned_certs if client is not None else frozenset(),
        websocket.pinned_certs if websocket is not None else frozenset(),
    )


async def _no_file() -> None:
    raise OptionError("can only reload config when a file is provided using -c or --config")


def bracketed(host: str) -> str:
    """A host as it is written in front of a port."""
    return f"[{host}]" if ":" in host else host
