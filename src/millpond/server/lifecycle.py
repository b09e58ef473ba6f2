"""A server as a process: signals, PID and ports files, reload, the banner for people.

    TERM, INT   stop, exit code 0          HUP    read the configuration file again
    USR1        open the log file again    USR2   lame duck mode, then exit code 0
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import millpond
from millpond.base import limits
from millpond.base.errors import MillpondError, OptionError
from millpond.config.options import Options
from millpond.monitor.memory_watch import budget_origin
from millpond.server import early, logs, service_manager
from millpond.server.collector import Collector
from millpond.server.logs import log
from millpond.server.server import Server
from millpond.server.trapped import Signals

if TYPE_CHECKING:
    from _socket import socket

SIGNAL_NAMES: Final = {
    signal.SIGTERM: "terminated",
    signal.SIGINT: "interrupt",
    signal.SIGHUP: "hangup",
    signal.SIGUSR1: "user defined signal 1",
    signal.SIGUSR2: "user defined signal 2",
}
"""As Go prints them."""


async def serve_forever(
    options: Options,
    reread: Callable[[], Options] | None = None,
    notices: Sequence[str] = (),
    listening: socket | None = None,
) -> int:
    """Run until TERM or INT. Returns the exit code.

    reread: gives the options anew for a reload, raising OptionError; None: there is no configuration file.
    notices: lines of warning for the log. listening: on the client port already (server.early).
    """
    raise_descriptor_limit()
    process = Process(Server.from_options(options, listening), reread)
    try:
        await process.start(notices)
        await process.stopped.wait()
        log.info("Initiating Shutdown...")
    finally:
        await process.stop()
    log.info("Server Exiting..")
    return 0


def raise_descriptor_limit() -> None:
    """As many open files as this process may have: one for each connection. The usual 1,024 are for `select`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):  # macOS says unlimited and means less
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Process:
    """One server and what belongs to its process. `stopped` is set when it is to end."""

    def __init__(self, server: Server, reread: Callable[[], Options] | None) -> None:
        self.server = server
        self.stopped = asyncio.Event()
        self._reread = reread
        self._collector = Collector(server.broker.gone_subscriptions, server.broker.subscriptions)
        self._pid_file: Path | None = None
        self._ports_file: Path | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._signals: Signals | None = None
        self._reloading = asyncio.Lock()
        self._reloads: set[asyncio.Task[None]] = set()
        if reread is not None:
            server.reload_asked = self._reload_or_raise

    async def start(self, notices: Sequence[str]) -> None:
        options = self.server.options
        self._take_signals()
        if options.pid_file:
            self._write_pid_file(options.pid_file)
        await self.server.start()
        early.release_signals()  # the others are about a server that runs
        self._collector.start()
        gc.enable()
        for notice in notices:
            log.warning("%s", notice)
        if options.config_file:
            log.info("Using configuration file: %s (%s)", options.config_file, options.config_digest)
        if sys.stderr.isatty():
            print(banner(self.server), file=sys.stderr)
        self.server.say_ready()
        # Starters wait for this file, or for this word: everything else is done.
        self._write_ports_file()
        service_manager.ready()

    async def stop(self) -> None:
        service_manager.stopping()
        if self._leaving is not None:
            self._leaving.cancel()
        for task in self._reloads:
            task.cancel()
        await self.server.stop()
        for path in (self._ports_file, self._pid_file):
            if path is not None:
                path.unlink(missing_ok=True)
        if self._signals is not None:
            self._signals.close()  # last: a second signal shall not cut this short

    # --- signals ---

    def _take_signals(self) -> None:
        actions: dict[signal.Signals, Callable[[], None]] = {
            signal.SIGTERM: self._terminate,
            signal.SIGINT: self.stopped.set,
            signal.SIGHUP: self._reload,
            signal.SIGUSR1: self._reopen_log,
            signal.SIGUSR2: self._lame_duck,
        }
        self._signals = Signals(asyncio.get_running_loop(), lambda number: self._trapped(number, actions[number]))
        self._signals.take(actions)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))

    def _trapped(self, number: signal.Signals, action: Callable[[], None]) -> None:
        log.info('Trapped "%s" signal', SIGNAL_NAMES[number])
        action()

    def _reopen_log(self) -> None:
        try:
            logs.reopen()
        except OSError as error:
            log.error("Failed to re-open the log file, going on in the old one: %s", error)

    def _terminate(self) -> None:
        if self._leaving is None:  # lame duck mode is not cut short by TERM, only by INT
            self.stopped.set()

    def _lame_duck(self) -> None:
        if self._leaving is None:
            self._leaving = asyncio.get_running_loop().create_task(self.server.lame_duck_mode())
            self._leaving.add_done_callback(lambda task: self.stopped.set())

    # --- reload ---

    def _reload(self) -> None:
        task = asyncio.get_running_loop().create_task(self._reload_and_tell())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reload_and_tell(self) -> None:
        service_manager.reloading()
        try:
            await self.server.reload_asked()
        except MillpondError as error:
            log.error("Failed to reload server configuration: %s", error)
        finally:
            service_manager.ready()

    async def _reload_or_raise(self) -> None:
        """One at a time, in the order in which they were asked for."""
        assert self._reread is not None, "it is asked for only then"
        async with self._reloading:
            # A file of ten thousand users takes a second to read: in a thread, while the loop goes on.
            self._use(await asyncio.to_thread(self._reread))

    def _use(self, options: Options) -> None:
        from millpond.server import reload  # its rules are for those who reload

        names = {change.name for change in reload.changes(self.server.asked, options)}
        if names & set(reload.LOGGING):
            logs.configure(options)
        for change in reload.apply(self.server, options):
            if change.name not in reload.SILENT:
                log.info("Reloaded: %s", change)
        if "pid_file" in names and options.pid_file:
            self._rewrite_pid_file(options.pid_file)
        if "ports_file_dir" in names:
            self._write_ports_file()
        log.info("Reloaded server configuration (%s)", options.config_digest)

    # --- files ---

    def _write_pid_file(self, name: str) -> None:
        try:
            Path(name).write_text(str(os.getpid()))
        except OSError as error:
            raise OptionError(f"Could not write pidfile: open {name}: {error.strerror}") from None
        self._pid_file = Path(name)

    def _rewrite_pid_file(self, name: str) -> None:
        try:
            self._write_pid_file(name)
        except OptionError as error:
            log.error("%s", error)

    def _write_ports_file(self) -> None:
        if self._ports_file is not None:
            self._ports_file.unlink(missing_ok=True)
            self._ports_file = None
        directory = self.server.options.ports_file_dir
        if not directory:
            return
        try:
            self._ports_file = write_ports_file(self.server, Path(directory))
        except OSError as error:
            log.error("Error writing ports file in %s: %s", directory, error.strerror)


def program_name() -> str:
    """What this process was started as: the executable's name, `millpond` for `python -m millpond`."""
    name = Path(sys.argv[0]).stem
    return "millpond" if name in ("", "__main__", "-c") else name


def write_ports_file(server: Server, directory: Path) -> Path:
    """`<program>_<pid>.ports` as test starters read it: URL lists by kind. Appears whole or not at all."""
    path = directory / f"{program_name()}_{os.getpid()}.ports"
    content: dict[str, list[str]] = {"nats": [server.client_url]}
    if server.monitor_url:
        content["monitoring"] = [server.monitor_url]
    if server.websocket_url:
        content["websocket"] = [server.websocket_url]
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content))
    partial.rename(path)
    return path


def banner(server: Server) -> str:
    """What a person on a terminal sees first."""
    lines = [f"millpond {millpond.__version__}  ·  {server.client_url}"]
    if server.monitor_url:
        lines[0] += f"  ·  monitoring {server.monitor_url}"
    jetstream = server.options.jetstream
    if jetstream is not None:
        durable = {"always": "yes", "interval": "no, every two minutes", "never": "no"}[jetstream.sync]
        data = jetstream.store_dir or "in a private directory, gone when the server stops"
        lines.append(f"JetStream on   data {data}   fsync before ack: {durable}")
    else:
        lines.append("JetStream off  (turn it on with --jetstream)")
    total_mib = server.budgets.total.bytes_max / limits.MIB
    lines.append(f"Memory budget {total_mib:,.0f} MiB ({budget_origin(server.options)})")
    if server.options.dev:
        lines.append("Dev server: this machine only, no credentials; the server commands of the nats CLI work")
        lines.append(f"Try:   nats -s {server.client_url} server list   (or: server report jetstream, events)")
    else:
        lines.append("Try:   nats pub hello world")
    lines.append("Press Ctrl+C to stop.")
    return "\n".join(lines)
