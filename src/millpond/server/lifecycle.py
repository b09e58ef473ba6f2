"""A server as a process: signals, PID and ports files, the banner for people."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import millpond
from millpond.base import limits
from millpond.config.options import Options
from millpond.monitor.memory_watch import budget_origin
from millpond.server.logs import log
from millpond.server.server import Server


async def serve_forever(options: Options) -> int:
    """Run until TERM or INT. Returns the exit code."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = Server.from_options(options)
    ports: Path | None = None
    try:
        await server.start()
        if options.pid_file:
            Path(options.pid_file).write_text(f"{os.getpid()}\n")
        if options.ports_file_dir:
            ports = write_ports_file(server, Path(options.ports_file_dir))
        if sys.stderr.isatty():
            print(banner(server), file=sys.stderr)
        server.say_ready()
        await stop.wait()
        log.info("Initiating Shutdown...")
    finally:
        await server.stop()
        if ports is not None:
            ports.unlink(missing_ok=True)
        if options.pid_file:
            Path(options.pid_file).unlink(missing_ok=True)
    log.info("Server Exiting..")
    return 0


def write_ports_file(server: Server, directory: Path) -> Path:
    """`<program>_<pid>.ports` as test starters read it: URL lists by kind."""
    path = directory / f"{Path(sys.argv[0]).stem or 'millpond'}_{os.getpid()}.ports"
    content: dict[str, list[str]] = {"nats": [server.client_url]}
    if server.monitor_url:
        content["monitoring"] = [server.monitor_url]
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
        lines.append(f"JetStream on   data {jetstream.store_dir}   fsync before ack: {durable}")
    else:
        lines.append("JetStream off  (turn it on with --jetstream)")
    total_mib = server.budgets.total.bytes_max / limits.MIB
    lines.append(f"Memory budget {total_mib:,.0f} MiB ({budget_origin(server.options)})")
    lines.append("Try:   nats pub hello world")
    lines.append("Press Ctrl+C to stop.")
    return "\n".join(lines)
