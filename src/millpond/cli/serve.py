"""`millpond serve`: one server in this process until a signal stops it.

Exit codes: 0 stopped cleanly (or nothing to do), 1 could not start or failed, 2 wrong flags.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from millpond.base import limits
from millpond.base.errors import MillpondError, OptionError
from millpond.cli import flags, lean
from millpond.config import build
from millpond.config.options import Options
from millpond.server import early
from millpond.server.tokens import judge_token, with_operator

if TYPE_CHECKING:
    from _socket import socket

HELP: Final = """Usage: millpond serve [flags]      (nats-server's flags; one or two dashes, '=' or blank)

Server:
    -a, --addr, --net <host>        bind to this address (default 0.0.0.0)
    -p, --port <port>               client port (default 4222; -1: any free port)
    -n, --name, --server_name <n>   server name (default: the server id)
    -P, --pid <file>                write the process id here
    -m, --http_port <port>          monitoring over HTTP (default off; -1: any free port)
    -ms, --https_port <port>        the same over TLS
    -c, --config <file>             configuration file; flags override it
    -t                              check the configuration file and exit
    -sl, --signal <name>[=<pid>]    send a signal to a running server: ldm, stop, quit, term, reopen, reload
                                    (<pid>: a number, the path of a PID file, or a prefix ending in *)
    --client_advertise <host:port>  the address that clients are told
    --admin_socket <path>           Unix socket for operators on this machine, of this user or root: millpond admin
    --ports_file_dir <dir>          write <program>_<pid>.ports here
    --max_payload, --max_pending, --max_connections, --max_subscriptions, --max_control_line <n>
    --memory <size>                 budget, such as 64MiB (default: 3/4 of the container's limit or of the machine)
Local development:
    --dev                           on loopback only, for clients without credentials: the server and events commands of
                                    the nats CLI work; JetStream, in a private directory that goes with the server (or
                                    in -sd); monitoring on any free port (or on -m)
Authorization:
    --user <user> --pass <password> | --auth <token>
TLS:
    --tls --tlscert <file> --tlskey <file>   --tlsverify --tlscacert <file>   (--help_tls: as a configuration file)
JetStream:
    -js, --jetstream   -sd, --store_dir <dir> (default ./millpond-data)   --sync always|interval|never
Logging:
    -l, --log <file>   --log_size_limit <bytes>   -s, --syslog   -r, --remote_syslog <url>
    -T, --logtime   --logtime_utc   -D, --debug   -V, --trace   -DV   -VV   -DVV
Other:
    -h, --help   -v, --version
"""
HELP_TLS: Final = """TLS is configured in the tls section of a configuration file:

    tls {
        cert_file: "./certs/server-cert.pem"
        key_file:  "./certs/server-key.pem"
        ca_file:   "./certs/ca.pem"       # who signs the certificates of clients
        verify:    true                   # clients must show one
        verify_and_map: true              # and it says which user they are
        timeout:   2                      # seconds for the handshake
        handshake_first: auto             # true, false, auto or a duration: before INFO
        min_version: "1.2"
        cipher_suites: ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]
        curve_preferences: ["CurveP256"]
        pinned_certs: ["<sha256 of a client's public key, hexadecimal>"]
    }
    allow_non_tls: true                   # clients may choose

Cipher suites: {ciphers}
Curves: {curves}
"""
VERSION: Final = f"nats-server: v{limits.SERVER_VERSION}"


def main(argv: Sequence[str], program: str = "millpond") -> int:
    """Returns the exit code. `program` is what messages call us: nats-server when started under that name."""
    try:
        parsed = flags.parse(argv)
    except OptionError as error:
        print(f"{program}: {error}; see --help", file=sys.stderr)
        return 2
    if parsed.help or parsed.version:
        print(HELP if parsed.help else VERSION, end="" if parsed.help else "\n")
        return 0
    if parsed.help_tls:
        from millpond.config import tls

        ciphers, curves = ", ".join([*tls.TLS_13_CIPHERS, *tls.OPENSSL_CIPHERS]), ", ".join(tls.OPENSSL_CURVES)
        print(HELP_TLS.replace("{ciphers}", ciphers).replace("{curves}", curves), end="")
        return 0
    try:
        if parsed.signal:
            from millpond.cli import signals

            signals.send(parsed.signal)
            return 0
        if parsed.check:
            return check(parsed, program)
        start = Start(parsed)
        early.hold_signals()
        listening = early.listen(start.options)
        lean.load()
        from millpond.server import logs

        logs.configure(start.options)
    except MillpondError as error:
        from millpond.config.source import ConfigErrors

        text = error.explained() if isinstance(error, ConfigErrors) else str(error)
        print(f"{program}: {text}", file=sys.stderr)
        early.release_signals()
        return 1
    for warning in start.warnings:
        print(warning, file=sys.stderr)
    return _run(start, listening)


def check(parsed: flags.Flags, program: str) -> int:
    """`-t`: is the file good? Warnings count, as for nats-server. Raises OptionError."""
    if not parsed.config:
        raise OptionError("must specify [-c, --config] option to check configuration file syntax")
    start = Start(parsed)
    if start.warnings:
        raise OptionError("\n".join(start.warnings))
    with_operator(start.options)
    print(f"{program}: configuration file {parsed.config} is valid ({start.options.config_digest})", file=sys.stderr)
    return 0


class Start:
    """What to start with: flags over the configuration file. Raises OptionError."""

    def __init__(self, parsed: flags.Flags) -> None:
        self._parsed = parsed
        self.warnings: list[str] = []
        self.options = self._read()
        self.notices = build.notices(self._settings, self.options)

    def _read(self) -> Options:
        self._settings: dict[str, Any] = dict(self._parsed.settings)
        if self._parsed.config:
            lean.load("pathlib")
            from millpond.config.file import read

            file = read(self._parsed.config, judge=judge_token)
            self.warnings = file.warnings
            source = {"config_file": file.path, "config_digest": file.digest}
            self._settings = {**file.settings, **self._parsed.settings, **source}
        return build.build(self._settings)

    @property
    def reread(self) -> Callable[[], Options] | None:
        """Reads it all again, for a reload; None when there is no file."""
        return self._read if self._parsed.config else None


def _run(start: Start, listening: socket | None) -> int:
    import asyncio
    import signal

    from millpond.server import logs
    from millpond.server.lifecycle import serve_forever

    # The server sets its own handler at once. asyncio.run would set one before, and `signal` describes what it
    # replaces: down to the lines of the task's source, with 0.8 MiB of modules.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return int(asyncio.run(serve_forever(start.options, start.reread, start.notices, listening)))
    except MillpondError as error:
        logs.fatal(str(error))
    except OSError as error:
        logs.fatal(explained(error, start.options.port))
    finally:
        early.release_signals()
    return 1


def explained(error: OSError, port: int) -> str:
    """What went wrong with the world, and who holds the port when that is it."""
    import errno

    text = error.strerror or str(error)
    if error.filename is not None:
        text = f"{error.filename}: {text}"
    if error.errno == errno.EADDRINUSE:
        from millpond.server.port_holder import holder

        who = holder(port)
        text += f"; it is held by {who}" if who else ""
    return text
