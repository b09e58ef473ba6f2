"""The `millpond` command: dispatches to one module per subcommand, importing only that one.

Started under the name `nats-server` (a link, a copy), it is `millpond serve` and takes that program's command line.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from importlib import import_module
from os.path import basename

import millpond

USAGE = f"""millpond {millpond.__version__}: a NATS-compatible JetStream server

Usage: millpond serve [flags of nats-server]     start the server
       millpond check-config <file>              is the configuration file good? nothing is started
       millpond admin ask <page> | run <command> what an operator on this machine may ask, without credentials
       millpond doctor memory [options]          where the memory of a server, process or container is
       millpond bench memory [options]           the lock workload, and what a container is charged for it
       millpond bench <kind> [options]           rate, latency and CPU time, also beside nats-server
       millpond store verify|dump <dir>          what lies in a store directory, without writing to it
       millpond store repair|backup <dir>        make a damaged one sound; copy one, also of a running server
       millpond shim <dir>                       an executable nats-server there that starts this Millpond
       millpond version

Try:   millpond serve --dev
       millpond serve -a 127.0.0.1 -p 4333
"""

COMMANDS = ("admin", "doctor", "bench", "store", "shim")
"""Each one is a module beside this one with a `main(argv) -> exit code`."""


INTERRUPTED = 128 + 2
"""What a shell makes of SIGINT."""


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 good, 1 failed, 2 wrong usage, 130 interrupted while it loads."""
    try:
        if argv is not None:
            return _dispatch(list(argv))
        words = sys.argv[1:]
        if basename(sys.argv[0]).partition(".")[0] == "nats-server":
            return _serve(words, "nats-server")
        return _dispatch(words)
    except KeyboardInterrupt:  # while it loads: a running server has its own handler
        return INTERRUPTED


def _dispatch(words: list[str]) -> int:
    command = words.pop(0) if words else "help"
    if command == "serve":
        return _serve(words)
    if command == "check-config":
        if len(words) == 1 and not words[0].startswith("-"):
            return _serve(["-t", "-c", words[0]])
        print("Usage: millpond check-config <file>", file=sys.stderr)
        return 2
    if command in COMMANDS:
        return int(import_module(f"millpond.cli.{command}").main(words))
    if command in ("version", "--version", "-v"):
        # The second line is what starters look for: the release whose behaviour this server has.
        print(f"millpond: v{millpond.__version__}\n{import_module('millpond.cli.serve').VERSION}")
        return 0
    if command in ("help", "--help", "-h"):
        print(USAGE, end="")
        return 0
    if command.startswith("-"):
        return _serve([command, *words])
    print(f"millpond: unknown command {command!r}\n\n{USAGE}", end="", file=sys.stderr)
    return 2


def _serve(words: Sequence[str], program: str = "millpond") -> int:
    # The collector rests until the server is ready (server.lifecycle): what imports make stays, and to look through it
    # again and again takes 8 ms of the start. It works again also when no server has come of it.
    gc.disable()
    try:
        from millpond.cli import lean

        lean.load("msgspec")
        return int(import_module("millpond.cli.serve").main(words, program))
    finally:
        gc.enable()


if __name__ == "__main__":
    sys.exit(main())
