"""`millpond serve`: one server in this process until a signal stops it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from millpond.base.errors import MillpondError, OptionError
from millpond.cli import flags
from millpond.config.options import Options
from millpond.server import logs

HELP = """Usage: millpond serve [flags]      (nats-server's flags; one or two dashes, '=' or blank)

Server:
    -a, --addr, --net <host>        bind to this address (default 0.0.0.0)
    -p, --port <port>               client port (default 4222; -1: any free port)
    -n, --name, --server_name <n>   server name (default: the server id)
    -P, --pid <file>                write the process id here
    -m, --http_port <port>          monitoring over HTTP (default off; -1: any free port)
    --ports_file_dir <dir>          write <program>_<pid>.ports here
    --max_payload, --max_pending, --max_connections, --max_subscriptions, --max_control_line <n>
    --memory <size>                 budget, such as 64MiB (default: 3/4 of the container's limit or of the machine)
Authorization:
    --user <user> --pass <password> | --auth <token>
Logging:
    -l, --log <file>  -T, --logtime  -D, --debug  -V, --trace  -DV
Other:
    -h, --help   -v, --version
"""
VERSION = "nats-server: v2.15.1"


def main(argv: Sequence[str]) -> int:
    """Exit codes: 0 stopped cleanly, 1 could not start or failed, 2 wrong flags."""
    try:
        parsed = flags.parse(argv)
    except OptionError as error:
        print(f"millpond: {error}", file=sys.stderr)
        return 2
    if parsed.help:
        print(HELP, end="")
        return 0
    if parsed.version:
        print(VERSION)
        return 0
    logs.configure(parsed.options)
    try:
        return _run(parsed.options)
    except (MillpondError, OSError) as error:
        logs.fatal(str(error))
        return 1


def _run(options: Options) -> int:
    asyncio = lean_asyncio()
    from millpond.server.lifecycle import serve_forever

    return int(asyncio.run(serve_forever(options)))


def lean_asyncio() -> Any:
    """asyncio without OpenSSL, which would cost 4 MiB in a process that serves no TLS (docs/decisions/0001).

    A later `import ssl` works as ever; only asyncio's own TLS stays off in this process.
    """
    if "asyncio" not in sys.modules and "ssl" not in sys.modules:
        sys.modules["ssl"] = None  # type: ignore[assignment]
        try:
            import asyncio
        finally:
            del sys.modules["ssl"]
    import asyncio

    return asyncio
