"""`await millpond.run(port=0, jetstream=True)`: a server in this program, started as nats-io's `nats.server.run` is.

Switching is one import; nothing is downloaded and no process is started. What a configuration file says about a
process (its log, its PID file) does not belong to a server inside a program and is refused by name.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

import msgspec

from millpond.base.errors import MillpondError, OptionError
from millpond.config.build import build
from millpond.config.file import read
from millpond.server.server import Server
from millpond.server.tokens import judge_token

HOST: Final = "127.0.0.1"
PORT: Final = 4222
OF_A_PROCESS: Final = (
    "log_file", "log_size_limit", "log_max_num", "logtime", "logtime_utc", "syslog", "remote_syslog", "trace",
    "trace_verbose", "trace_headers", "pid_file", "ports_file_dir",
)  # fmt: skip


class ServerError(MillpondError):
    """The server could not be started; the text says why."""


async def run(
    *,
    host: str | None = None,
    port: int | None = None,
    debug: bool = False,
    jetstream: bool = False,
    store_dir: str | None = None,
    config_path: str | None = None,
    timeout: float = 10.0,
    **settings: Any,
) -> Server:
    """Start a server and return it when it accepts clients; `await server.shutdown()` ends it.

    host: 127.0.0.1 when not given (nats-io's: 0.0.0.0). port: 4222 when not given, any free one for 0.
    debug: lowers the level of the `millpond` logger. jetstream without store_dir: in a private directory that
    goes away with the server. config_path: a configuration file; arguments win over it. settings: fields of
    `Options`. Raises ServerError, TimeoutError.
    """
    given: dict[str, Any] = {"host": host, "port": -1 if port == 0 else port, "store_dir": store_dir, **settings}
    given = {name: value for name, value in given.items() if value is not None}
    if jetstream:
        given["jetstream"] = True
    try:
        merged = {"host": HOST, "port": PORT, **_from_file(config_path), **given}
        options = build(merged)
        if options.jetstream is not None and "store_dir" not in merged:
            private = msgspec.structs.replace(options.jetstream, store_dir=None)
            options = msgspec.structs.replace(options, jetstream=private)
        server = Server.from_options(options)
        await asyncio.wait_for(server.start(), timeout)
    except (MillpondError, OSError, TypeError) as error:
        if isinstance(error, TimeoutError):
            raise
        raise ServerError(str(error)) from error
    if debug:
        logging.getLogger("millpond").setLevel(logging.DEBUG)
    return server


def _from_file(path: str | None) -> dict[str, Any]:
    if path is None:
        return {}
    settings = read(path, judge=judge_token).settings
    for name in OF_A_PROCESS:
        if name in settings:
            raise OptionError(f"{path}: {name} belongs to a process; run `millpond serve -c {path}` for it")
    if settings.pop("debug", False):
        logging.getLogger("millpond").setLevel(logging.DEBUG)
    return settings
